# Steady states of all conditions, and a steady-state problem held for repeated evaluation.

"""
    steady_states(structure, solver::SteadyState, parameters, perturbation, horizon)

Returns `(states, residual, settled)`: the steady state of every condition (n × conditions), the
largest change over the nodes that the fixed-point map makes to it, and whether it is proven to be
where the trajectory from x(0) goes. Conditions without a proof have their state at `horizon`.
"""
function steady_states(
    structure::Structure, solver::SteadyState, parameters, perturbation::Inputs{T}, horizon
) where {T<:AbstractFloat}
    y = zeros(T, nodes(structure), 1, size(perturbation, 2))
    session = SteadySession(structure, perturbation, y, y, [Float64(horizon)], Loss(), solver)
    find!(session, parameters, session.every_row)
    return session.states, session.residual, session.settled
end

"""
    SteadySession(structure, perturbation, response, weight, times, loss, solver::SteadyState)

Hold steady-state data for repeated evaluation, as [`Session`](@ref) does. The states and adjoints
of one evaluation are the start of the next where the network is contracting, and so has one steady
state. Which conditions did not settle in the last evaluation is in `settled`.
"""
mutable struct SteadySession{T,N,L,S,U<:Inputs{T},B,G} <: Held
    structure::Structure
    lowering::Lowering
    network::N
    solver::S
    loss::L
    horizon::Float64
    perturbation::U
    response::Array{T,3}
    weight::Array{T,3}
    measured::Vector{Int}
    every_row::Vector{Int}
    least::Int
    blocks::Vector{B}
    states::Matrix{T}
    adjoints::Matrix{T}
    residual::Vector{T}
    settled::Vector{Bool}
    correction::Correction{T}
    # Integrates what does not settle; made when first needed.
    integrated::Any
    gradient::G
    total::G
    owners::Vector{Any}
end

function SteadySession(
    structure::Structure, perturbation::Inputs{T}, response, weight, times, loss::AnyLoss,
    solver::SteadyState,
) where {T<:AbstractFloat}
    check_perturbation(structure, perturbation)
    length(times) == 1 || throw(
        SolverError("SteadyState gives steady states only, and $(length(times)) times were given.")
    )
    check_horizon(perturbation, times[1])
    n, c = size(perturbation)
    y = _observed("response", dense(T, response), (n, 1, c))
    w = _observed("weight", dense(T, weight), (n, 1, c))
    lowering = Lowering(structure)
    # About thirty products and passes an evaluation.
    least = worthwhile_columns(n, 1, 30)
    used = parts(c, least, usable_threads())
    width = block_width(n, max(cld(c, used), 1))
    blocks = [SteadyBlock{T}(lowering, n, width) for _ in 1:used]
    return SteadySession(
        structure, lowering, Network{T}(lowering), solver, loss, Float64(times[1]),
        held_where_it_lies(T, perturbation), y, w, [count(!iszero, view(w, :, :, j)) for j in 1:c],
        collect(1:c), least, blocks, zeros(T, n, c), zeros(T, n, c), zeros(T, c), fill(false, c),
        Correction{T}(n), nothing, zero_parameters(T, structure), zero_parameters(T, structure),
        Any[perturbation, response, weight],
    )
end

"""
Call f(block, columns, range) for all of the conditions `index`, `columns` being those of the range:
a share of them on each thread, and so many at a time as stay in the processor's cache. Returns the
number of threads.
"""
function on_blocks(f::F, session::SteadySession, index) where {F}
    isempty(index) && return 0
    used = parts(length(index), session.least, length(session.blocks))
    width = length(session.blocks[1].tolerance)
    on_threads(used) do q
        share = span(length(index), used, q)
        for first in first(share):width:last(share)
            range = first:min(first + width - 1, last(share))
            f(session.blocks[q], view(index, range), range)
        end
    end
    return used
end

"Find the states of the conditions `index` and write them into the session."
function find!(session::SteadySession, parameters, index)
    check_parameters(session.structure, parameters)
    load!(session.network, session.lowering, parameters)
    shared = Gains(session.network.coefficients)
    left = unique(index)
    session.settled[left] .= false
    if shared.solvable
        proofs = Proofs(session.network, shared)
        single = contracting(proofs)
        single && (left = search!(session, shared, left, nothing))
        lead = session.solver.lead / Float64(minimum(shared.decay))
        from = last_start(session.perturbation)
        # Not longer: on the divide between two states the exact solution stays, and what leaves
        # it in the end is rounding.
        for time in (lead, 4 * lead)
            isempty(left) && break
            session.states[:, left] .= integrate_to(session, parameters, left, from + time)
            left = search!(session, shared, left, single ? nothing : proofs)
        end
    end
    isempty(left) || give_up!(session, shared, parameters, left)
    return shared
end

function keep!(session, block, j, column_)
    n = block.n
    session.states[:, column_] .= column(block.x, n, j)
    session.residual[column_] = block.residual[j]
    session.settled[column_] = true
    return nothing
end

function gather!(x::Vector, states::Matrix, columns)
    n = size(states, 1)
    for (j, column_) in enumerate(columns)
        copyto!(x, (j - 1) * n + 1, states, (column_ - 1) * n + 1, n)
    end
    return x
end

"""
Look for roots from the session's states, keep those that are proven, or all of them without
`proofs`, and return what is left.
"""
function search!(session::SteadySession, shared, left, proofs)
    correction, network, n = session.correction, session.network, size(session.states, 1)
    correction.made || on_slopes!(session, shared, left)
    on_blocks(session, left) do block, columns, _
        begin!(block, network, shared, session.lowering, session.perturbation, columns)
        gather!(block.x, session.states, columns)
        roots!(block, network, session.solver, correction)
        # Eigenvalues and factorizations run on this thread alone.
        good = proofs === nothing ? nothing :
            proven(block, network, proofs, session.states[:, columns])
        for (j, column_) in enumerate(columns)
            found = block.residual[j] <= 2 * block.tolerance[j]
            found && (good === nothing || good[j]) && keep!(session, block, j, column_)
        end
    end
    return filter(column_ -> !session.settled[column_], left)
end

"Make the correction for the slopes at the session's states."
function on_slopes!(session::SteadySession, shared, index)
    forget_slopes!(session)
    on_blocks(session, index) do block, columns, _
        begin!(block, session.network, shared, session.lowering, session.perturbation, columns)
        gather!(block.x, session.states, columns)
        slopes!(block, session.network, block.x)
        add_slopes!(block)
    end
    correct_by_sums!(session, shared, length(index))
    return nothing
end

_source(session::SteadySession) = session.perturbation

forget_slopes!(session::SteadySession) = foreach(block -> fill!(block.slopes, 0), session.blocks)

"Make the correction for the sums of slopes that stand in the blocks."
function correct_by_sums!(session::SteadySession, shared, count_)
    count_ == 0 && return nothing
    slope_ = sum(block -> block.slopes, session.blocks) ./ count_
    correct!(session.correction, session.network, shared, slope_)
    return nothing
end

"Conditions that do not settle have their state at the horizon."
function give_up!(session::SteadySession, shared, parameters, left)
    reached = integrate_to(session, parameters, left, session.horizon)
    session.states[:, left] .= reached
    for (block, column_) in ((session.blocks[1], c) for c in left)
        begin!(
            block, session.network, shared, session.lowering, session.perturbation, [column_]
        )
        gather!(block.x, session.states, [column_])
        FixedPointMap(block, session.network)(block.z, block.x)
        session.residual[column_] = maximum(
            i -> abs(block.z[i] - block.x[i]), 1:(block.n)
        )
    end
    return nothing
end

function integrate_to(session::SteadySession{T}, parameters, columns, time) where {T}
    states = Array{T,3}(undef, nodes(session.structure), 1, length(columns))
    trajectory!(
        states, session.structure, session.solver.integrator, parameters,
        conditions_of(session.perturbation, columns), [time],
    )
    return reshape(states, size(states, 1), :)
end
