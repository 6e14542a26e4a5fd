# Adaptive integration of all conditions with one step size: blocks of conditions make the same
# step one after the other, or on threads, and their errors decide together.

"One block of conditions: its tape, and what it finds."
mutable struct AdaptiveBlock{T,F<:Forward{T}}
    forward::F
    seeds::Vector{T}
    columns::Vector{Int}
    squares::Float64
    total::Float64
    finite::Bool
end

function AdaptiveBlock(
    network::Network{T}, lowering::Lowering, width::Int, times::Int, source
) where {T}
    forward = Forward{T}(network, lowering, 6, width, source)
    seeds = zeros(T, network.M.n * width * times)
    return AdaptiveBlock(forward, seeds, Int[], 0.0, 0.0, true)
end

"""
An integration with one step size for all conditions. It has the `solver`, the `sizes` of the steps
made, and of the step control `longest`, `largest`, `h`, `attempts` and `began`; `attempt!(run, h)` tries
a step, `accepted!(run)` follows one that is taken, `first_step!(run, stop)` begins.
"""
abstract type AdaptiveRun end

"What is due when a step has been taken; by default nothing."
accepted!(run::AdaptiveRun) = nothing

"""
What all integrations of a problem with [`Tsit5`](@ref) share.

The blocks lie one after the other in `blocks`; the first `used` of them have conditions, and
`threads` threads take a range of them each.
"""
mutable struct Ensemble{T,E,U<:Inputs{T},B} <: AdaptiveRun
    lowering::Lowering
    network::Network{T,E}
    solver::Tsit5
    perturbation::U
    stops::Stops
    blocks::Vector{B}
    limit::Union{Nothing,Int}
    used::Int
    threads::Int
    columns::Int
    keep::Bool
    # Steps that were made, and after how many of them each stop was reached.
    sizes::Vector{Float64}
    steps_at::Vector{Int}
    # Of the step control:
    longest::Float64
    largest::Float64
    h::Float64
    attempts::Int
    # When the segment at hand began, since which time is counted.
    began::Float64
end

# The elementary controller (Hairer, Nørsett, Wanner I, II.4): the bound on the step is what the
# smoother ones are for, and they take a third more steps to grow from those of the beginning.
const SAFETY, SHRINK, GROW = 0.9, 0.2, 10.0
# Of the first step, h·|λ| is this times the fifth root of rtol.
const FIRST = 2.0

function Ensemble(
    structure::Structure, solver::Tsit5, u::Inputs{T}, times; chunks=nothing, seeds=false
) where {T<:AbstractFloat}
    check_perturbation(structure, u)
    lowering, stops = Lowering(structure), Stops(times, starts_of(u))
    network, (n, c) = Network{T}(lowering), size(u)
    limit = _chunks(chunks)
    width = block_width(n, max(cld(c, threads_for(n, c, limit)), 1))
    block = AdaptiveBlock(network, lowering, max(width, 1), seeds ? length(stops.times) : 0, u)
    return Ensemble(
        lowering, network, solver, u, stops, [block], limit, 0, 0, 0, false, Float64[],
        Int[], Inf, 0.0, 0.0, 0, 0.0,
    )
end

"Threads that c conditions are worth: they wait for each other after every step."
function threads_for(n::Int, c::Int, limit)
    limit === nothing || return parts(c, 1, limit)
    return parts(c, worthwhile_columns(n, 7, 1), usable_threads())
end

"Call `f(block)` for every block with conditions, on threads where that pays."
function each_block(f::F, run::Ensemble) where {F}
    on_threads(run.threads) do q
        for b in span(run.used, run.threads, q)
            f(run.blocks[b])
        end
    end
    return nothing
end

"Get ready for the conditions `index`: blocks of equal width, the initial states, the bound."
function begin!(run::Ensemble, parameters, index::AbstractVector{Int}, keep::Bool)
    load!(run.network, run.lowering, parameters; reverse=keep)
    set_off!(run.perturbation, parameters, index)
    n, c = run.network.M.n, length(index)
    run.threads = threads_for(n, c, run.limit)
    width = run.blocks[1].forward.width
    # As many blocks for each thread.
    run.used = min(run.threads * cld(cld(c, run.threads), width), c)
    while length(run.blocks) < run.used
        times = length(run.blocks[1].seeds) ÷ (n * width)
        push!(run.blocks, AdaptiveBlock(run.network, run.lowering, width, times, run.perturbation))
    end
    for b in 1:(run.used)
        block = run.blocks[b]
        share = span(c, run.used, b)
        resize!(block.columns, length(share))
        copyto!(block.columns, view(index, share))
        begin!(block.forward, run.lowering, run.perturbation, block.columns)
        block.total, block.finite = 0.0, true
    end
    run.columns, run.keep = c, keep
    run.longest, run.largest = longest_step(run.network)
    begin_segment!(run, 1)
    resize!(run.sizes, 0)
    resize!(run.steps_at, 0)
    return run
end

"Entry of `block`'s tape behind which the record lies from which step `step` (from 0) starts."
function record_at(run::Ensemble, block, step::Int)
    return (run.keep ? step : step % 2) * 6 * block.forward.m
end

"""
    integrate!(run, reached, count=length(run.stops.since))

Integrate through the first `count` stops, each the end of a step. `reached(k, block, at)` is called for
every block at the k-th of the requested times, with the state behind entry `at`. At the start of a
segment all begins anew: no step or stage goes across.
"""
function integrate!(
    run::Ensemble, reached::R, count::Int=length(run.stops.since)
) where {R}
    stops, now = run.stops, 0.0
    check_reach(run, count)
    for k in 1:count
        advance!(run, now, stops.since[k])
        now = stops.since[k]
        step = length(run.sizes)
        push!(run.steps_at, step)
        each_block(run) do block
            at = record_at(run, block, step)
            stop!(block.forward, stops, k, at, (q, at) -> reached(q, block, at))
        end
        if stops.begins[k] != 0
            now = 0.0
            begin_segment!(run, stops.begins[k])
        end
    end
    return run
end

"Have the next step find its size and its first stage by itself."
function begin_segment!(run::Ensemble, s::Int)
    starts = starts_of(run.perturbation)
    run.h, run.attempts, run.began = 0.0, 0, starts === nothing ? 0.0 : starts[s]
    return nothing
end

"Raise at once if even the longest stable steps are more than the solver may take."
function check_reach(run::Ensemble, count::Int)
    stop, most = maximum(view(run.stops.since, 1:count)), run.solver.max_steps
    stop <= run.longest * most && return nothing
    return throw(
        DivergenceError(
            "Tsit5 would give up: no step is stable beyond $(run.longest), so that t = $stop " *
            "takes more than $most steps, which is max_steps; the network is stiff or unstable: " *
            "shorten the horizon, shrink W, or raise max_steps.",
        ),
    )
end

function advance!(run::AdaptiveRun, start::Float64, stop::Float64)
    stop == start && return nothing  # a first requested time of 0
    now = start
    run.h == 0.0 && (run.h = first_step!(run, stop))
    while now < stop
        h = min(run.h, run.longest)
        last = h >= (stop - now) * (1 - 1e-9)
        if last
            h = stop - now
        elseif h > 0.5 * (stop - now)
            h = 0.5 * (stop - now)  # two even steps instead of a long one and a sliver
        end
        guard!(run, h, now, stop)
        error = attempt!(run, h)
        if error <= 1
            push!(run.sizes, h)
            accepted!(run)
            now = last ? stop : now + h
            grown = h * step_factor(error)
            # A step cut short to meet a requested time says nothing against a longer one.
            run.h = min(run.longest, h < run.h ? max(grown, run.h) : grown)
        else
            factor = isfinite(error) ? step_factor(error) : SHRINK
            run.h = h * min(factor, SAFETY)
        end
    end
    return nothing
end

function guard!(run::AdaptiveRun, h, now, stop)
    check_interrupt()
    run.attempts += 1
    run.attempts > run.solver.max_steps && throw(
        DivergenceError(
            "Tsit5 gave up at t = $(run.began + now) after $(run.solver.max_steps) steps; the network is " *
            "stiff or unstable: loosen rtol and atol, raise max_steps, or shrink W.",
        ),
    )
    h <= 16 * eps(Float64) * max(now, 1e-8 * stop) && throw(
        DivergenceError(
            "Tsit5's step vanished at t = $(run.began + now): the trajectory leaves the finite numbers or " *
            "the tolerances are below rounding.",
        ),
    )
    return nothing
end

step_factor(error) = error == 0 ? GROW : clamp(SAFETY * error^(-1 / 5), SHRINK, GROW)

"Try a step of size `h` from the last state; the root mean square of its error, in tolerances."
function attempt!(run::Ensemble, h::Float64)
    step = length(run.sizes)
    each_block(run) do block
        ws = block.forward
        slots = run.keep ? step + 2 : 2
        # Doubled, so that a long solve does not copy its tape at every step.
        slots > ws.slots && lengthen!(ws, run.network, 6, max(slots, 2 * ws.slots))
        old, new = record_at(run, block, step), record_at(run, block, step + 1)
        block.squares = attempt_step!(ws, run.network, h, old, new, run.solver)
        nothing
    end
    return root_mean(run, block -> block.squares)
end

# In the order of the blocks, so that the sum does not depend on which thread was faster.
function root_mean(run::Ensemble, part::F) where {F}
    total = 0.0
    for b in 1:(run.used)
        total += part(run.blocks[b])
    end
    return sqrt(total / (run.columns * run.network.M.n))
end

"""
Evaluate the first stage into the record of the step that comes next, and choose its size from that
of λ.

The trajectory starts at rest, where the usual estimate from x/f has nothing to go by. Along a mode
e^λt, which leaves rest as hλ does, the relative error is of order (hλ)⁵.
"""
function first_step!(run::Ensemble, stop::Float64)
    network, step = run.network, length(run.sizes)
    each_block(run) do block
        ws, at = block.forward, record_at(run, block, step)
        slots = run.keep ? step + 2 : 2
        slots > ws.slots && lengthen!(ws, network, 6, slots)
        set_step!(ws, network, 1.0)
        product_at!(ws, network, at)
        evaluate_pass!(ws, network.envelope, at, 0, ws.inside, ws.outside)
        nothing
    end
    return min(stop, FIRST * run.solver.rtol^(1 / 5) / run.largest)
end

function trajectory!(
    states::AbstractArray{T,3}, structure::Structure, solver::Tsit5, parameters,
    perturbation::Inputs, times; chunks=nothing, strict=true,
) where {T<:AbstractFloat}
    check_parameters(structure, parameters)
    GC.@preserve perturbation begin
        u = held_where_it_lies(T, perturbation)
        run = Ensemble(structure, solver, u, times; chunks=chunks)
        (n, c), t = size(perturbation), length(run.stops.times)
        size(states) == (n, t, c) ||
            throw(ModelError("states has shape $(size(states)); it needs $((n, t, c))."))
        c == 0 && return states
        begin!(run, parameters, 1:c, false)
        copied(k, block, at) = copy_states!(states, k, block.forward, block.columns, at)
        integrate!(run, copied)
    end
    strict && check_finite(states, run)
    return states
end

function diverged(row, run::Ensemble)
    return DivergenceError(
        "the trajectory of condition number $row is not finite by t = $(run.stops.times[end]): the " *
        "network is unstable; shorten the horizon, or shrink W.",
    )
end
