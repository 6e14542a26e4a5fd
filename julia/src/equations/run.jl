# Integration of a generated equation: fixed steps, and Tsit5 with one step for all conditions. The
# same steps as in the NumPy backend (pycellbox/backends/numpy/generic.py).

# Of the power method along a trajectory, whose vectors go on from one step to the next.
const BOUND_STEPS = 3

"""
What an integration of an equation needs: `p` (parameters × conditions) is read where it lies, `u`
(inputs × conditions × segments) and `moves` (states × conditions × segments, 0 where a state stays) are
of the conditions at hand.

A record of a step has the states of all its stages, m = states·conditions numbers each; records lie one
after the other on the tape, all of them where they are kept for the way back, else two in turn.
"""
mutable struct EquationRun{T,S,G} <: AdaptiveRun
    equation::Equation{T}
    solver::S
    stops::G
    p::Matrix{T}
    u::Array{T,3}
    moves::Array{T,3}
    tape::Vector{T}
    k::Vector{T}
    # The vectors of the power method, and how large each of the other nodes' entries is there.
    seen::Vector{T}
    product::Vector{T}
    others::Float64
    # One for each thread.
    rooms::Vector{Vector{T}}
    columns::Int
    m::Int
    segment::Int
    keep::Bool
    sizes::Vector{Float64}
    steps_at::Vector{Int}
    longest::Float64
    largest::Float64
    h::Float64
    attempts::Int
    began::Float64
    # A condition in which an equation had no value at a finite state, and that state.
    fault::Int
    fault_state::Vector{T}
    # Of solvers that keep their steps themselves.
    solutions::Vector{Any}
end

function EquationRun(equation::Equation{T}, solver, times, starts, p::Matrix{T}) where {T}
    stops = stops_of(solver, times, starts)
    none() = zeros(T, 0)
    return EquationRun(
        equation, solver, stops, p, zeros(T, 0, 0, 0), zeros(T, 0, 0, 0), none(), none(), none(),
        none(), 1.0, [none() for _ in 1:usable_threads()], 0, 0, 1, false, Float64[], Int[], Inf, 0.0,
        0.0, 0, 0.0, 0, none(), Any[],
    )
end

stops_of(solver::FixedStep, times, starts) = Grid(times, solver.dt, starts)
stops_of(solver, times, starts) = Stops(times, starts)

stages(run::EquationRun) = stages(tableau(run.solver))

"Entry of the tape behind which the record lies from which step `step` (from 0) starts."
record_at(run::EquationRun, step::Int) = (run.keep ? step : step % 2) * stages(run) * run.m

"Get ready for so many conditions, whose inputs and moves stand in `run`."
function begin!(run::EquationRun{T}, columns::Int, keep::Bool) where {T}
    run.columns, run.m, run.keep = columns, columns * length(run.equation.states), keep
    run.segment, run.fault = 1, 0
    needed = room(run.equation)
    foreach(w -> length(w) < needed && resize!(w, needed), run.rooms)
    resize!(run.k, (stages(run) + 1) * run.m)
    resize!(run.seen, run.m)
    resize!(run.product, run.m)
    lengthen!(run, 2)
    empty!(run.sizes)
    empty!(run.steps_at)
    return run
end

"Make room for the records of so many steps, and for the state after them."
function lengthen!(run::EquationRun, steps::Int)
    needed = (steps * stages(run) + 1) * run.m
    # Doubled, so that a long solve does not copy its tape at every step.
    needed > length(run.tape) && resize!(run.tape, max(needed, 2 * length(run.tape)))
    return nothing
end

"Address of what lies behind an entry."
@inline behind(array::Array{T}, at::Int) where {T} = pointer(array) + at * sizeof(T)

"Address of the inputs of the conditions in a segment."
@inline inputs_in(run::EquationRun, s::Int) = behind(run.u, (s - 1) * size(run.u, 1) * run.columns)

"Write dx/dt at the states behind `at` of the tape behind `to` of the increments."
function rate!(run::EquationRun{T}, at::Int, to::Int) where {T}
    no = Ptr{T}(0)
    call!(
        run.equation.value, 1, run.columns, behind(run.tape, at), inputs_in(run, run.segment), pointer(run.p), no,
        behind(run.k, to), no, no, pointer(run.rooms[1]),
    )
    isempty(run.moves) || mask!(run.k, to, run, 1:run.columns, run.segment)
    return nothing
end

"Set to 0 what belongs to states that stay in a segment, of a range of conditions, behind `at`."
function mask!(array::Vector{T}, at::Int, run::EquationRun{T}, range, s::Int) where {T}
    n, moves, from = length(run.equation.states), run.moves, (s - 1) * run.m
    @inbounds @simd ivdep for e in ((first(range) - 1) * n + 1):(last(range) * n)
        # Not a product: what stays may have no rate.
        array[at + e] = ifelse(moves[from + e] == 0, zero(T), array[at + e])
    end
    return nothing
end

"Write the state behind `from` and `h` times the weighted increments behind `to`."
@generated function combine!(
    tape::Vector{T}, k::Vector{T}, ::Val{W}, h::T, from::Int, to::Int, m::Int
) where {T,W}
    sum_ = :(zero(T))
    for (s, weight) in enumerate(W)
        weight == 0 && continue
        term = :(k[$(s - 1) * m + e])
        sum_ = sum_ == :(zero(T)) ? :(T($weight) * $term) : :(muladd(T($weight), $term, $sum_))
    end
    return quote
        @inbounds @simd ivdep for e in 1:m
            tape[to + e] = muladd(h, $sum_, tape[from + e])
        end
        return nothing
    end
end

"""
Make a step of size `h` from the record behind `old`, filling it, to a state behind `new`. With `known`
the first stage's increment is there.
"""
@generated function step!(
    run::EquationRun{T}, ::Tableau{S,A,B}, h::T, old::Int, new::Int, known::Bool
) where {T,S,A,B}
    body = quote
        m = run.m
        known || rate!(run, old, 0)
    end
    for s in 2:S
        push!(body.args, quote
            combine!(run.tape, run.k, $(Val(A[s])), h, old, old + $(s - 1) * m, m)
            rate!(run, old + $(s - 1) * m, $(s - 1) * m)
        end)
    end
    push!(body.args, :(combine!(run.tape, run.k, $(Val(B)), h, old, new, m)), :(return nothing))
    return body
end

"""
Integrate through the first `count` stops. `reached(k, at)` is called at the k-th of the requested
times, with the states behind entry `at` of the tape.
"""
function integrate!(run::EquationRun, starts, reached::R, count::Int) where {R}
    begin_segment!(run, starts, 1)
    now = 0.0
    for k in 1:count
        now = go_on!(run, run.solver, now, k)
        step = length(run.sizes)
        push!(run.steps_at, step)
        if run.stops.begins[k] != 0
            now = 0.0
            begin_segment!(run, starts, run.stops.begins[k])
        end
        run.stops.asked[k] == 0 || reached(run.stops.asked[k], record_at(run, step))
    end
    return run
end

"""
Begin a segment: with a step and a first stage that are found anew, or, where there was one before, with
its step, and with what it has seen of the Jacobian.
"""
function begin_segment!(run::EquationRun{T}, starts, s::Int) where {T}
    run.segment, run.attempts = s, 0
    run.began = starts === nothing ? 0.0 : starts[s]
    if s > 1 && run.h != 0
        rate!(run, record_at(run, length(run.sizes)), 0)
        return nothing
    end
    run.h, run.others = 0.0, 1.0
    fill!(run.seen, one(T))
    return nothing
end

function go_on!(run::EquationRun{T}, solver::FixedStep, now, k) where {T}
    h = run.stops.h[k]
    before = k == 1 ? 0 : run.stops.steps_at[k - 1]
    for _ in 1:(run.stops.steps_at[k] - before)
        check_interrupt()
        step = length(run.sizes)
        run.keep && lengthen!(run, step + 2)
        old, new = record_at(run, step), record_at(run, step + 1)
        step!(run, tableau(solver), T(h), old, new, false)
        run.fault == 0 && !is_finite(run, new) && look_for_fault!(run, old)
        push!(run.sizes, h)
    end
    return now
end

function go_on!(run::EquationRun, ::Tsit5, now, k)
    advance!(run, now, run.stops.since[k])
    return run.stops.since[k]
end

function attempt!(run::EquationRun{T}, h::Float64) where {T}
    step = length(run.sizes)
    run.keep && lengthen!(run, step + 2)
    old, new = record_at(run, step), record_at(run, step + 1)
    step!(run, tableau(run.solver), T(h), old, new, true)
    rate!(run, new, 6 * run.m)
    squares = errors(run, T(h), old, new)
    # Nodes that are no states have no error, and count.
    error = sqrt(squares / (run.columns * run.equation.nodes))
    isfinite(error) || look_for_fault!(run, old)
    return error
end

"The sum of the squared errors of a step, in units of the tolerance."
function errors(run::EquationRun{T}, h::T, old::Int, new::Int) where {T}
    tape, k, m, E = run.tape, run.k, run.m, map(T, TSIT5_ERROR)
    relative, absolute, total = T(run.solver.rtol), T(run.solver.atol), 0.0
    @inbounds @simd ivdep for e in 1:m
        x, before = tape[new + e], tape[old + e]
        sum_ = E[1] * k[e]
        sum_ = muladd(E[2], k[m + e], sum_)
        sum_ = muladd(E[3], k[2m + e], sum_)
        sum_ = muladd(E[4], k[3m + e], sum_)
        sum_ = muladd(E[5], k[4m + e], sum_)
        sum_ = muladd(E[6], k[5m + e], sum_)
        sum_ = muladd(E[7], k[6m + e], sum_)
        large = ifelse(abs(x) > abs(before), abs(x), abs(before))
        r = Float64(h * sum_ / muladd(relative, large, absolute))
        total += r * r
    end
    return total
end

"Whether the sum of the states behind `at` is finite."
function is_finite(run::EquationRun{T}, at::Int) where {T}
    total = zero(T)
    @inbounds @simd for e in (at + 1):(at + run.m)
        total += run.tape[e]
    end
    return isfinite(total)
end

"Keep the first condition that has no rate at a finite state of a stage of the last attempt."
function look_for_fault!(run::EquationRun, old::Int)
    n = length(run.equation.states)
    for s in 0:(stages(run) - 1), j in 1:(run.columns)
        at = s * run.m + (j - 1) * n
        states = view(run.tape, (old + at + 1):(old + at + n))
        if all(isfinite, states) && any(isnan, view(run.k, (at + 1):(at + n)))
            run.fault, run.fault_state = j, collect(states)
            return nothing
        end
    end
    return nothing
end

function accepted!(run::EquationRun)
    run.fault = 0  # that of a longer step, which was rejected
    copyto!(run.k, 1, run.k, 6 * run.m + 1, run.m)
    bound!(run, record_at(run, length(run.sizes)))
    return nothing
end

function first_step!(run::EquationRun, stop::Float64)
    at = record_at(run, length(run.sizes))
    bound!(run, at)
    rate!(run, at, 0)
    return min(stop, FIRST * run.solver.rtol^(1 / 5) / run.largest)
end

"Bound the steps near the states behind `at`: by the power method on the transposed Jacobian."
function bound!(run::EquationRun{T}, at::Int) where {T}
    n, no, largest = length(run.equation.states), Ptr{T}(0), 0.0
    seen, product, m = run.seen, run.product, run.m
    for _ in 1:BOUND_STEPS
        vector = pointer(seen)
        if !isempty(run.moves)  # the increments of the second stage are not needed any more
            copyto!(run.k, m + 1, seen, 1, m)
            mask!(run.k, m, run, 1:run.columns, run.segment)
            vector = behind(run.k, m)
        end
        call!(
            run.equation.transposed, 1, run.columns, behind(run.tape, at), inputs_in(run, run.segment),
            pointer(run.p), vector, pointer(product), no, no, pointer(run.rooms[1]),
        )
        largest, others = 0.0, run.others^2 * (run.equation.nodes - n)
        for j in 1:(run.columns)
            after, before = 0.0, others
            @inbounds for e in ((j - 1) * n + 1):(j * n)
                after += abs2(Float64(product[e]))
                before += abs2(Float64(seen[e]))
            end
            after = sqrt(after)
            largest = max(largest, after / max(sqrt(before), 1e-300))
            @inbounds for e in ((j - 1) * n + 1):(j * n)
                seen[e] = product[e] / T(max(after, floatmin(T)))
            end
        end
        run.others = 0.0
    end
    # A little of everything, so that no mode is lost for ever.
    seen .+= T(1e-3)
    run.others = 1e-3
    if isnan(largest)  # a derivative without a value: errors alone decide
        largest = 0.0
        fill!(seen, one(T))
    end
    run.largest = max(largest, floatmin(Float64))
    run.longest = REACH_87 / run.largest
    return nothing
end
