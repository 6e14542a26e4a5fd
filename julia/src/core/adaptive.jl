# Adaptive integration of all conditions with one step size: blocks of conditions make the same
# step one after the other, or on threads, and their errors decide together.

"One block of conditions: its tape, and what it finds."
mutable struct AdaptiveBlock{T,P,V}
    forward::Forward{T,P,V}
    seeds::Vector{T}
    columns::Vector{Int}
    squares::Float64
    # For the first step: sums of squares of the state and of the derivative, in tolerances.
    state_squares::Float64
    total::Float64
    finite::Bool
end

function AdaptiveBlock(
    network::Network{T}, lowering::Lowering, width::Int, times::Int
) where {T}
    forward = Forward{T}(network, lowering, 6, width)
    seeds = zeros(T, network.M.n * width * times)
    return AdaptiveBlock(forward, seeds, Int[], 0.0, 0.0, 0.0, true)
end

"""
What all integrations of a problem with [`Tsit5`](@ref) share.

The blocks lie one after the other in `blocks`; the first `used` of them have conditions, and
`threads` threads take a range of them each.
"""
mutable struct Ensemble{T,E,B}
    lowering::Lowering
    network::Network{T,E}
    solver::Tsit5
    perturbation::Matrix{T}
    times::Vector{Float64}
    blocks::Vector{B}
    limit::Union{Nothing,Int}
    used::Int
    threads::Int
    columns::Int
    keep::Bool
    # Steps that were made, and after how many of them each requested time was reached.
    sizes::Vector{Float64}
    steps_at::Vector{Int}
    # Of the step control:
    longest::Float64
    h::Float64
    last_error::Float64
    attempts::Int
end

# OrdinaryDiffEq's PI controller for Tsit5 (Hairer, Nørsett, Wanner I, II.4).
const BETA_1, BETA_2, SAFETY, SHRINK, GROW = 7 / 50, 2 / 25, 0.9, 0.2, 10.0

function Ensemble(
    structure::Structure, solver::Tsit5, u::Matrix{T}, times; chunks=nothing, seeds=false
) where {T<:AbstractFloat}
    check_perturbation(structure, u)
    lowering, grid = Lowering(structure), Grid(times, 1.0)  # for its check of the times
    network, (n, c) = Network{T}(lowering), size(u)
    limit = _chunks(chunks)
    width = block_width(n, max(cld(c, threads_for(n, c, limit)), 1))
    block = AdaptiveBlock(network, lowering, max(width, 1), seeds ? length(grid.times) : 0)
    return Ensemble(
        lowering, network, solver, u, grid.times, [block], limit, 0, 0, 0, false, Float64[],
        Int[], Inf, 0.0, 1e-4, 0,
    )
end

"Threads that c conditions are worth: they wait for each other after every step."
function threads_for(n::Int, c::Int, limit)
    limit === nothing || return parts(c, 1, limit)
    return parts(c, worthwhile_columns(n, 7, 1), Threads.nthreads())
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
    n, c = run.network.M.n, length(index)
    run.threads = threads_for(n, c, run.limit)
    width = run.blocks[1].forward.width
    # As many blocks for each thread.
    run.used = min(run.threads * cld(cld(c, run.threads), width), c)
    while length(run.blocks) < run.used
        times = length(run.blocks[1].seeds) ÷ (n * width)
        push!(run.blocks, AdaptiveBlock(run.network, run.lowering, width, times))
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
    run.longest = TSIT5_REACH / max(jacobian_bound(run.network), floatmin(Float64))
    run.h, run.last_error, run.attempts = 0.0, 1e-4, 0
    resize!(run.sizes, 0)
    resize!(run.steps_at, 0)
    return run
end

"Entry of `block`'s tape behind which the record lies from which step `step` (from 0) starts."
function record_at(run::Ensemble, block, step::Int)
    return (run.keep ? step : step % 2) * 6 * block.forward.m
end

"""
    integrate!(run, reached, count=length(run.times))

Integrate from t = 0 through the first `count` requested times, each the end of a step. `reached(k, block,
at)` is called for every block at the k-th of them, with the state behind entry `at`.
"""
function integrate!(run::Ensemble, reached::R, count::Int=length(run.times)) where {R}
    now = 0.0
    for k in 1:count
        advance!(run, now, run.times[k])
        now = run.times[k]
        step = length(run.sizes)
        push!(run.steps_at, step)
        each_block(run) do block
            reached(k, block, record_at(run, block, step))
        end
    end
    return run
end

function advance!(run::Ensemble, start::Float64, stop::Float64)
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
        guard!(run, h, now)
        error = attempt!(run, h)
        if error <= 1
            push!(run.sizes, h)
            now = last ? stop : now + h
            grown = h * step_factor(run, error)
            # A step cut short to meet a requested time says nothing against a longer one.
            run.h = min(run.longest, h < run.h ? max(grown, run.h) : grown)
            run.last_error = max(error, 1e-4)
        else
            factor = isfinite(error) ? step_factor(run, error) : SHRINK
            run.h = h * min(factor, SAFETY)
        end
    end
    return nothing
end

function guard!(run::Ensemble, h, now)
    run.attempts += 1
    run.attempts > run.solver.max_steps && throw(
        DivergenceError(
            "Tsit5 gave up at t = $now after $(run.solver.max_steps) steps; the network is " *
            "stiff or unstable: loosen rtol and atol, raise max_steps, or shrink W.",
        ),
    )
    h <= 16 * eps(Float64) * max(now, 1e-8) && throw(
        DivergenceError(
            "Tsit5's step vanished at t = $now: the trajectory leaves the finite numbers or " *
            "the tolerances are below rounding.",
        ),
    )
    return nothing
end

function step_factor(run::Ensemble, error)
    error == 0 && return GROW
    return clamp(SAFETY * error^-BETA_1 * run.last_error^BETA_2, SHRINK, GROW)
end

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

"Hairer, Nørsett, Wanner I, II.4; also evaluates the first stage into the record."
function first_step!(run::Ensemble, stop::Float64)
    network, solver = run.network, run.solver
    each_block(run) do block
        ws = block.forward
        ws.slots < 2 && lengthen!(ws, network, 6, 2)
        set_step!(ws, network, 1.0)
        product_at!(ws, network, 0)
        evaluate_pass!(ws, network.envelope, 0, 0, ws.inside, ws.outside)
        block.state_squares = squares_of(ws.state, ws, solver)
        block.squares = squares_of(ws.increment, ws, solver)
        nothing
    end
    d0 = root_mean(run, block -> block.state_squares)
    d1 = root_mean(run, block -> block.squares)
    h0 = min((d0 < 1e-5 || d1 < 1e-5) ? 1e-6 : 0.01 * d0 / d1, stop)
    each_block(run) do block
        ws = block.forward
        m, h = ws.m, eltype(ws.state)(h0)
        for e in 1:m
            ws.state[m + e] = ws.state[e] + h * ws.increment[e]
        end
        product_at!(ws, network, m)
        evaluate_pass!(ws, network.envelope, m, m, ws.inside, ws.outside)
        for e in 1:m
            ws.increment[m + e] -= ws.increment[e]
        end
        block.squares = squares_of(view(ws.increment, (m + 1):(2m)), ws, solver)
        nothing
    end
    d2 = root_mean(run, block -> block.squares) / h0
    (isfinite(d1) && isfinite(d2)) || return h0
    steepest_ = max(d1, d2)
    h1 = steepest_ <= 1e-15 ? max(1e-6, h0 * 1e-3) : (0.01 / steepest_)^(1 / 5)
    return min(100 * h0, h1, stop)
end

"Sum of the squares of the first entries of `values`, in tolerances at the initial state."
function squares_of(values, ws::Forward{T}, solver::Tsit5) where {T}
    relative, absolute, total = T(solver.rtol), T(solver.atol), 0.0
    for e in 1:(ws.m)
        total += abs2(Float64(values[e] / (absolute + relative * abs(ws.state[e]))))
    end
    return total
end

function trajectory!(
    states::AbstractArray{T,3}, structure::Structure, solver::Tsit5, parameters,
    perturbation::AbstractMatrix, times; chunks=nothing,
) where {T<:AbstractFloat}
    check_parameters(structure, parameters)
    GC.@preserve perturbation begin
        run = Ensemble(structure, solver, dense(T, perturbation), times; chunks=chunks)
        n, c = size(perturbation)
        size(states) == (n, length(run.times), c) || throw(
            ModelError("states has shape $(size(states)); it needs $((n, length(run.times), c)).")
        )
        c == 0 && return states
        begin!(run, parameters, 1:c, false)
        integrate!(run, (k, block, at) -> copy_states!(states, k, block, at))
    end
    all(isfinite, states) && return states
    row = findfirst(j -> !all(isfinite, view(states, :, :, j)), axes(states, 3))
    return throw(diverged(row, run))
end

function trajectory(
    structure::Structure, solver::Tsit5, parameters, perturbation::AbstractMatrix{T}, times;
    chunks=nothing,
) where {T<:AbstractFloat}
    states = Array{T,3}(undef, nodes(structure), length(times), size(perturbation, 2))
    return trajectory!(
        states, structure, solver, parameters, perturbation, times; chunks=chunks
    )
end

function diverged(row, run::Ensemble)
    return DivergenceError(
        "the trajectory of condition number $row is not finite by t = $(run.times[end]): the " *
        "network is unstable; shorten the horizon, or shrink W.",
    )
end

function copy_states!(states, k, block::AdaptiveBlock, at)
    state, n = block.forward.state, block.forward.n
    for (q, column) in enumerate(block.columns), i in 1:n
        @inbounds states[i, k, column] = state[at + (q - 1) * n + i]
    end
    return nothing
end
