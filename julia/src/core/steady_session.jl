# Steady states of all conditions, and a steady-state problem held for repeated evaluation.

"""
    steady_states(structure, solver::SteadyState, parameters, perturbation, horizon)

Returns `(states, residual, settled)`: the steady state of every condition (n × conditions), the
largest change over the nodes that the fixed-point map makes to it, and whether it is proven to be
where the trajectory from x(0) goes. Conditions without a proof have their state at `horizon`.
"""
function steady_states(
    structure::Structure, solver::SteadyState, parameters, perturbation::AbstractMatrix{T}, horizon
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
mutable struct SteadySession{T,N,L,S,B,G}
    structure::Structure
    lowering::Lowering
    network::N
    solver::S
    loss::L
    horizon::Float64
    perturbation::Matrix{T}
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
    # Integrates what does not settle; made when first needed.
    integrated::Any
    gradient::G
    total::G
    owners::Vector{Any}
end

function SteadySession(
    structure::Structure, perturbation::AbstractMatrix{T}, response, weight, times, loss::Loss,
    solver::SteadyState,
) where {T<:AbstractFloat}
    check_perturbation(structure, perturbation)
    length(times) == 1 || throw(
        SolverError("SteadyState gives steady states only, and $(length(times)) times were given.")
    )
    n, c = size(perturbation)
    y = _observed("response", dense(T, response), (n, 1, c))
    w = _observed("weight", dense(T, weight), (n, 1, c))
    lowering = Lowering(structure)
    # About thirty products and passes an evaluation.
    least = worthwhile_columns(n, 1, 30)
    used = parts(c, least, Threads.nthreads())
    width = block_width(n, max(cld(c, used), 1))
    blocks = [SteadyBlock{T}(lowering, n, width) for _ in 1:used]
    return SteadySession(
        structure, lowering, Network{T}(lowering), solver, loss, Float64(times[1]),
        dense(T, perturbation), y, w, [count(!iszero, view(w, :, :, j)) for j in 1:c],
        collect(1:c), least, blocks, zeros(T, n, c), zeros(T, n, c), zeros(T, c), fill(false, c),
        nothing, zero_parameters(T, structure), zero_parameters(T, structure),
        Any[perturbation, response, weight],
    )
end

"""
Call f(block, columns) for all of the conditions `index`: a share of them on each thread, and so
many at a time as stay in the processor's cache. Returns the number of threads.
"""
function on_blocks(f::F, session::SteadySession, index) where {F}
    isempty(index) && return 0
    used = parts(length(index), session.least, length(session.blocks))
    width = length(session.blocks[1].tolerance)
    on_threads(used) do q
        share = span(length(index), used, q)
        for first in first(share):width:last(share)
            f(session.blocks[q], view(index, first:min(first + width - 1, last(share))))
        end
    end
    return used
end

"Find the states of the conditions `index` and write them into the session."
function find!(session::SteadySession{T}, parameters, index) where {T}
    check_parameters(session.structure, parameters)
    load!(session.network, session.lowering, parameters)
    shared = Contraction(session.network)
    if shared.contracting
        on_blocks(session, index) do block, columns
            begin!(block, session.network, shared, session.lowering, session.perturbation, columns)
            gather!(block.x, session.states, columns)
            roots!(block, session.network, session.solver)
            for (j, column_) in enumerate(columns)
                keep!(session, block, j, column_, block.residual[j] <= 2 * block.tolerance[j])
            end
        end
        return shared
    end
    left = unique(index)
    session.settled[left] .= false
    if shared.solvable
        lead = session.solver.lead / Float64(minimum(shared.decay))
        # Not longer: on the divide between two states the exact solution stays, and what leaves
        # it in the end is rounding.
        for time in (lead, 4 * lead)
            # Eigenvalues and factorisations run on this thread alone.
            search!(session, shared, parameters, left, time)
            left = filter(column_ -> !session.settled[column_], left)
            isempty(left) && return shared
        end
    end
    give_up!(session, shared, parameters, left)
    return shared
end

function keep!(session, block, j, column_, settled)
    n = block.n
    session.states[:, column_] .= column(block.x, n, j)
    session.residual[column_] = block.residual[j]
    session.settled[column_] = settled
    return nothing
end

function gather!(x::Vector, states::Matrix, columns)
    n = size(states, 1)
    for (j, column_) in enumerate(columns)
        copyto!(x, (j - 1) * n + 1, states, (column_ - 1) * n + 1, n)
    end
    return x
end

"Integrate the conditions `left` to `time`, look for roots from there, and keep the proven ones."
function search!(session::SteadySession{T}, shared, parameters, left, time) where {T}
    reached = integrate_to(session, parameters, left, time)
    position = Dict(column_ => q for (q, column_) in enumerate(left))
    on_blocks(session, left) do block, columns
        network = session.network
        begin!(block, network, shared, session.lowering, session.perturbation, columns)
        gather!(block.x, reached, [position[column_] for column_ in columns])
        roots!(block, network, session.solver)
        slopes!(block, network, block.x)
        for (j, column_) in enumerate(columns)
            block.residual[j] <= 2 * block.tolerance[j] || continue
            state = view(reached, :, position[column_])
            proven = in_contracting_ball(block, network, shared, j, state) ||
                near_and_stable(block, network, shared, j, state)
            proven && keep!(session, block, j, column_, true)
        end
    end
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
        session.perturbation[:, columns], [time],
    )
    return reshape(states, size(states, 1), :)
end

function value(session::SteadySession, parameters; rows=nothing, prefix=nothing)
    index = _rows(session, rows)
    find!(session, parameters, index)
    return loss_at(session, index)
end

"Loss at the session's states."
function loss_at(session::SteadySession, index)
    count_ = max(mapreduce(row -> session.measured[row], +, index; init=0), 1)
    total = 0.0
    for row in index, i in axes(session.states, 1)
        w = session.weight[i, 1, row]
        r = (session.states[i, row] - session.response[i, 1, row]) * w
        total += Float64(penalty(session.loss, r))
    end
    isfinite(total) || throw(
        DivergenceError("the loss is not finite: the states are finite but too large.")
    )
    return total / count_
end

value_and_gradient!(session::SteadySession, parameters; rows=nothing, prefix=nothing) =
    value_and_gradient!(session.gradient, session, parameters; rows=rows)

function value_and_gradient!(
    gradient, session::SteadySession{T}, parameters; rows=nothing, prefix=nothing
) where {T}
    index = _rows(session, rows)
    shared = find!(session, parameters, index)
    total = loss_at(session, index)
    measured = max(mapreduce(row -> session.measured[row], +, index; init=0), 1)
    settled = all(row -> session.settled[row], index) ? index :
        filter(row -> session.settled[row], index)
    k = settled_gradient!(session, shared, settled, measured)
    pull_back!(gradient, session.lowering, k)
    if length(settled) < length(index)
        restless = filter(row -> !session.settled[row], index)
        add_integrated!(gradient, session, parameters, restless, measured)
    end
    for name in (:W, rates(session.structure.model)...)
        all(isfinite, parameter(gradient, name)) || throw(
            DivergenceError(
                "the gradient with respect to $name is not finite: a steady state is about to " *
                "lose its stability, or the network is unstable; shrink W.",
            ),
        )
    end
    return total, gradient
end

"Gradient with respect to the coefficients from the conditions that settled."
function settled_gradient!(session::SteadySession, shared, settled, measured)
    for block in session.blocks
        clear!(block.gradient)
    end
    used = on_blocks(session, settled) do block, columns
        begin!(block, session.network, shared, session.lowering, session.perturbation, columns)
        gather!(block.x, session.states, columns)
        slopes!(block, session.network, block.x)
        gather!(block.mu, session.adjoints, columns)
        seeds!(block, session, columns, measured)
        adjoint!(block, session.network, session.solver)
        n = block.n
        for (j, column_) in enumerate(columns)
            copyto!(session.adjoints, (column_ - 1) * n + 1, block.mu, (j - 1) * n + 1, n)
        end
        collect!(block, session.network, shared)
    end
    # In the order of the blocks, whichever thread was faster.
    for q in 2:used
        add!(session.blocks[1].gradient, session.blocks[q].gradient)
    end
    return session.blocks[1].gradient
end

function seeds!(block::SteadyBlock{T}, session, columns, measured) where {T}
    n, share = block.n, one(T) / T(measured)
    for (j, column_) in enumerate(columns), i in 1:n
        w = session.weight[i, 1, column_]
        r = (session.states[i, column_] - session.response[i, 1, column_]) * w
        block.seeds[(j - 1) * n + i] = penalty_slope(session.loss, r) * w * share
    end
    return nothing
end

"μ ↦ g + Mᵀ(a∘φ'/c∘μ), whose fixed point is c∘λ."
struct AdjointMap{B,N}
    block::B
    network::N
end

function (A::AdjointMap)(out, mu)
    block, m = A.block, entries(A.block)
    _multiply!(block.z, block.weight, mu, m)
    product!(out, 0, A.network.transposed, block.z, 0, block.columns)
    _add!(out, block.seeds, m)
    return nothing
end

function _multiply!(out, a, b, m)
    @inbounds @simd ivdep for e in 1:m
        out[e] = a[e] * b[e]
    end
    return nothing
end

function _add!(out, a, m)
    @inbounds @simd ivdep for e in 1:m
        out[e] += a[e]
    end
    return nothing
end

"Solve for μ = c∘λ in `block.mu`, from what stands there."
function adjoint!(block::SteadyBlock{T}, network, solver) where {T}
    n, m = block.n, entries(block)
    _multiply!(block.weight, block.gain, block.slope, m)
    tol = T(max(solver.tol, 20 * eps(T)))
    for j in 1:block.columns
        block.tolerance[j] = tol * maximum(abs, column(block.seeds, n, j)) + floatmin(T)
    end
    fixed_point!(
        block.mu, AdjointMap(block, network), block.anderson, n, block.columns, block.tolerance,
        block.residual, solver.max_iterations,
    )
    for j in 1:block.columns
        block.residual[j] <= block.tolerance[j] && continue
        M, weight = network.coefficients.M, column(block.weight, n, j)
        system = lu!(one(M) - M' .* weight'; check=false)
        mu, seeds = column(block.mu, n, j), column(block.seeds, n, j)
        issuccess(system) ? copyto!(mu, ldiv!(system, collect(seeds))) : fill!(mu, T(NaN))
    end
    return block
end

"Add the gradient of the block's conditions to `block.gradient`."
function collect!(block::SteadyBlock{T}, network::Network{T}, shared::Contraction{T}) where {T}
    n, k, dk = block.n, network.coefficients, block.gradient
    for j in 1:block.columns
        start = (j - 1) * n
        @inbounds for i in 1:n
            e = start + i
            λ = shared.held[i] ? zero(T) : block.mu[e] / shared.decay[i]
            block.g[e] = λ * k.a[i] * block.slope[e]
            dk.a[i] += λ * block.phi[e]
            dk.c[i] -= λ * block.x[e]
            block.outside === nothing || (dk.b[i] += λ * block.outside[e])
        end
    end
    add_outer_product!(dk.M, block.g, block.x, 0, block.columns, network.tiles)
    return nothing
end

function integrating_session(s::SteadySession, integrator::FixedStep)
    return Session(
        s.structure, s.perturbation, s.response, s.weight, [s.horizon];
        solver=integrator, loss=s.loss,
    )
end
function integrating_session(s::SteadySession, integrator::Tsit5)
    return adaptive_session(
        s.structure, s.perturbation, s.response, s.weight, [s.horizon], s.loss, integrator
    )
end

"Add the gradient of conditions that do not settle, through the integration."
function add_integrated!(gradient, session::SteadySession, parameters, rows, measured)
    if session.integrated === nothing
        session.integrated = integrating_session(session, session.solver.integrator)
    end
    value_and_gradient!(session.total, session.integrated, parameters; rows=rows)
    share = max(sum(row -> session.measured[row], rows), 1) / measured
    for name in keys(session.total)
        parameter(gradient, name) .+= share .* session.total[name]
    end
    return gradient
end
