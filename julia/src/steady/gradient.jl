# Loss at the steady states, and its derivative by the implicit function theorem.

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

function value_and_gradient!(
    gradient, session::SteadySession{T}, parameters; rows=nothing, prefix=nothing, inputs=nothing
) where {T}
    index = _rows(session, rows)
    check_inputs(inputs, session.perturbation, length(index))
    shared = find!(session, parameters, index)
    total = loss_at(session, index)
    measured = max(mapreduce(row -> session.measured[row], +, index; init=0), 1)
    gradient_at!(gradient, session, shared, parameters, index, measured, inputs)
    check_gradient(
        gradient, inputs, session.structure.model,
        "a steady state is about to lose its stability, or the network is unstable; shrink W.",
    )
    return total, gradient
end

"Gradient of the sum of the loss over `measured` entries at the session's states."
function gradient_at!(
    gradient, session::SteadySession{T}, shared, parameters, index, measured, inputs
) where {T}
    positions = findall(row -> session.settled[row], index)
    settled = length(positions) == length(index) ? index : index[positions]
    k = settled_gradient!(session, shared, settled, measured, inputs, positions)
    pull_back!(gradient, session.lowering, k, session.network)
    if length(settled) < length(index)
        unsettled = findall(row -> !session.settled[row], index)
        add_integrated!(gradient, session, parameters, index[unsettled], measured, inputs, unsettled)
    end
    return gradient
end

"""
Gradient with respect to the coefficients from the conditions `settled`; those with respect to u and
x₀ go to the columns `positions` of `inputs`, unless that is `nothing`.
"""
function settled_gradient!(session::SteadySession, shared, settled, measured, inputs, positions)
    for block in session.blocks
        clear!(block.gradient)
    end
    forget_slopes!(session)
    used = on_blocks(session, settled) do block, columns, range
        begin!(block, session.network, shared, session.lowering, session.perturbation, columns)
        gather!(block.x, session.states, columns)
        slopes!(block, session.network, block.x)
        add_slopes!(block)
        gather!(block.mu, session.adjoints, columns)
        seeds!(block, session, columns, measured)
        adjoint!(block, session.network, session.solver, session.correction)
        n = block.n
        for (j, column_) in enumerate(columns)
            copyto!(session.adjoints, (column_ - 1) * n + 1, block.mu, (j - 1) * n + 1, n)
        end
        collect!(block, session.network, shared)
        inputs === nothing ||
            collect_inputs!(inputs, view(positions, range), block, session, shared, columns)
    end
    # In the order of the blocks, whichever thread was faster.
    for q in 2:used
        add!(session.blocks[1].gradient, session.blocks[q].gradient)
    end
    # For the next evaluation.
    correct_by_sums!(session, shared, length(settled))
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
function adjoint!(block::SteadyBlock{T}, network, solver, correction) where {T}
    n, m = block.n, entries(block)
    _multiply!(block.weight, block.gain, block.slope, m)
    tol = T(max(solver.tol, 20 * eps(T)))
    # Relative to the largest: all conditions add up to one gradient.
    largest = maximum(abs, view(block.seeds, 1:m))
    fill!(block.tolerance, tol * largest + floatmin(T))
    fixed_point!(
        block.mu, AdjointMap(block, network), block.anderson, n, block.columns, block.tolerance,
        block.residual, solver.max_iterations, correction.made ? correction.backward : nothing,
    )
    for j in 1:block.columns
        block.residual[j] <= block.tolerance[j] && continue
        check_interrupt()
        M, weight = network.coefficients.M, column(block.weight, n, j)
        system = lu!(one(M) - M' .* weight'; check=false)
        mu, seeds = column(block.mu, n, j), column(block.seeds, n, j)
        issuccess(system) ? copyto!(mu, ldiv!(system, collect(seeds))) : fill!(mu, T(NaN))
    end
    return block
end

"Add the gradient of the block's conditions to `block.gradient`."
function collect!(block::SteadyBlock{T}, network::Network{T}, shared::Gains{T}) where {T}
    n, k, dk = block.n, network.coefficients, block.gradient
    for j in 1:block.columns
        start = (j - 1) * n
        @inbounds for i in 1:n
            e = start + i
            λ = block.stays[e] ? zero(T) : block.mu[e] / shared.decay[i]
            block.g[e] = λ * k.a[i] * block.slope[e]
            dk.a[i] += λ * block.phi[e]
            dk.c[i] -= λ * block.x[e]
            block.outside === nothing || (dk.b[i] += λ * block.outside[e])
        end
    end
    add_outer_product!(dk.M, block.g, block.x, 0, block.columns, network.tiles)
    add_shifts!(dk.shifts, block.g, block.reach, block.columns)
    return nothing
end

"""
The derivatives with respect to u and x₀, after `collect!`. Where a trajectory settles does not depend
on where it starts, but held nodes stay at x₀.
"""
function collect_inputs!(inputs, positions, block::SteadyBlock{T}, session, shared, columns) where {T}
    b, n = session.network.coefficients.b, block.n
    for j in 1:block.columns, i in 1:n
        e = (j - 1) * n + i
        held = block.stays[e]
        # φ and φ' have done their work: v̄ and x̄₀ take their places; p̄ is g.
        block.phi[e] = held ? zero(T) : b[i] * block.mu[e] / shared.decay[i]
        block.slope[e] = held ? block.mu[e] : zero(T)
    end
    return write_inputs!(inputs, positions, block, session, session.perturbation, columns)
end

function write_inputs!(
    inputs::InputGradient, positions, block, session, u::AbstractMatrix, columns
)
    return pull_back_drive!(
        inputs, positions, session.lowering, u, columns, block.g, block.phi, block.slope
    )
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

release!(session::SteadySession) = release!(session.integrated)
release!(::Any) = nothing  # SciML's, and none

"Add the gradient of conditions that do not settle, through the integration."
function add_integrated!(
    gradient, session::SteadySession{T}, parameters, rows, measured, inputs, positions
) where {T}
    if session.integrated === nothing
        session.integrated = integrating_session(session, session.solver.integrator)
    end
    part = inputs === nothing ? nothing : gradient_for(session.perturbation, length(rows))
    value_and_gradient!(session.total, session.integrated, parameters; rows=rows, inputs=part)
    share = max(sum(row -> session.measured[row], rows), 1) / measured
    for name in keys(session.total)
        parameter(gradient, name) .+= share .* session.total[name]
    end
    part === nothing || take_share!(inputs, positions, part, share)
    return gradient
end
