# Steady states as fixed points of G(x) = (a∘φ(Mx + p) + b∘v)/c, for a block of conditions.

using LinearAlgebra: issuccess, ldiv!, lu!

"""
    SteadyState(; tol=1e-10, lead=5.0, integrator=Tsit5(; rtol=1e-6, atol=1e-8),
                max_iterations=100)

The steady state itself, for data at one time: a root of the right-hand side that is proven to be
where the trajectory from x(0) ends, and the derivative by the implicit function theorem.
Conditions without such a root are integrated to the horizon.

- `tol`: largest change |G(x) − x| of the fixed-point map, relative to 1 + |x|.
- `lead`: time integrated first, in units of the slowest decay time 1/min c; nothing is where the
  network is contracting.
- `integrator`: what integrates.
- `max_iterations`: accelerated iterations before Newton's method takes over.
"""
struct SteadyState{I}
    tol::Float64
    lead::Float64
    integrator::I
    max_iterations::Int

    function SteadyState(tol, lead, integrator, max_iterations)
        for (name, x) in (("tol", tol), ("lead", lead), ("max_iterations", max_iterations))
            x isa Real && 0 < x < Inf || throw(
                SolverError("SteadyState was given $name=$(repr(x)); it needs a number > 0.")
            )
        end
        return new{typeof(integrator)}(tol, lead, integrator, max_iterations)
    end
end
function SteadyState(;
    tol=1e-10, lead=5.0, integrator=Tsit5(; rtol=1e-6, atol=1e-8), max_iterations=100
)
    return SteadyState(tol, lead, integrator, max_iterations)
end

const NEWTON_STEPS = 30
# How far from 1 a system times its inverse may be that serves for another while longer.
const NEARLY = 0.1

"What all conditions share: a/c, and which nodes stay where they are."
struct Gains{T}
    # Held nodes (clamped drugs) keep their initial state; here they have the slowest decay of all
    # others, so that none of their own counts.
    held::Vector{Bool}
    decay::Vector{T}
    gain::Vector{T}
    # A node that moves without decay has no steady state.
    solvable::Bool
end

function Gains(k::Coefficients{T}) where {T}
    held = k.c .== 0
    slowest = all(held) ? one(T) : minimum(k.c[.!held])
    decay = ifelse.(held, slowest, k.c)
    solvable = !any(held .& ((k.a .!= 0) .| (k.b .!= 0)))
    return Gains{T}(held, decay, k.a ./ decay, solvable)
end

"""
About (1 − diag(a∘φ'/c)M)⁻¹, φ' being the mean over the conditions, and its transpose: with it the
iterations for states and adjoints are Newton's with one matrix for all conditions.
"""
mutable struct Correction{T}
    made::Bool
    inverse::Matrix{T}
    forward::Packed{T}
    backward::Packed{T}
end

Correction{T}(n::Integer) where {T} =
    Correction{T}(false, zeros(T, n, n), Packed{T}(n), Packed{T}(n))

"Make the correction for the mean slopes `slope`; what stands there stays while it is near."
function correct!(correction::Correction{T}, network, shared, slope) where {T}
    system = one(correction.inverse) - (shared.gain .* slope) .* network.coefficients.M
    if correction.made
        sum(abs2, system * correction.inverse - one(system)) < T(NEARLY)^2 && return nothing
    end
    factor = lu!(system; check=false)
    correction.made = issuccess(factor)
    correction.made || return nothing
    correction.inverse = inv(factor)
    pack!(correction)
    return nothing
end

function pack!(correction::Correction)
    pack!(correction.forward, correction.inverse, Val(false))
    pack!(correction.backward, correction.inverse, Val(true))
    return correction
end

"The equations of some conditions with the buffers of their solution, for one thread."
mutable struct SteadyBlock{T,P,V}
    n::Int
    columns::Int
    inside::P
    outside::V
    # How much of each shift is a part of p.
    reach::Matrix{T}
    initial::Vector{T}
    # Entries that stay at the initial state, and whether a treatment holds some of them.
    stays::Vector{Bool}
    holds::Bool
    # a/c and (b∘v)/c, or the held state, for every entry.
    gain::Vector{T}
    offset::Vector{T}
    x::Vector{T}
    z::Vector{T}
    phi::Vector{T}
    slope::Vector{T}
    seeds::Vector{T}
    mu::Vector{T}
    # a∘φ'/c while the adjoint is solved; g for the outer product, which reads a panel further.
    weight::Vector{T}
    g::Vector{T}
    tolerance::Vector{T}
    residual::Vector{T}
    anderson::Anderson{T}
    # Sums of φ' over conditions.
    slopes::Vector{T}
    gradient::Coefficients{T}
end

function SteadyBlock{T}(lowering::Lowering, n::Int, width::Int) where {T}
    k = length(shifts(lowering.structure.model))
    block() = zeros(T, n * width)
    inside = lowering.u_inside ? block() : nothing
    outside = lowering.u_outside ? block() : nothing
    return SteadyBlock(
        n, width, inside, outside, zeros(T, k, width), block(), fill(false, n * width), false, block(), block(), block(),
        block(), block(), block(), block(), block(), block(), zeros(T, n * width + panel_rows(T)), zeros(T, width),
        zeros(T, width), Anderson{T}(n * width), zeros(T, n), Coefficients{T}(n, k),
    )
end

"Give the block the conditions `columns` of a perturbation, or of the last segment of a treatment."
function begin!(block::SteadyBlock{T}, network, shared, lowering, source, columns) where {T}
    block.columns = length(columns)
    drive!(
        block.inside, block.outside, block.initial, block.reach, lowering, last_input(source), columns
    )
    lay!(block.inside, block.inside, network.coefficients.shifts, block.reach, block.columns)
    b, n, v = network.coefficients.b, block.n, block.outside
    stays, gain, offset = block.stays, block.gain, block.offset
    @inbounds for j in 1:block.columns, i in 1:n
        e = (j - 1) * n + i
        stays[e], gain[e] = shared.held[i], shared.gain[i]
        outside = v === nothing ? zero(T) : b[i] / shared.decay[i] * v[e]
        offset[e] = shared.held[i] ? block.initial[e] : outside
    end
    hold!(block, source, columns)
    return block
end

entries(block::SteadyBlock) = block.n * block.columns

"G as something that can be called."
struct FixedPointMap{B,N}
    block::B
    network::N
end

function (G::FixedPointMap)(out, x)
    block, network = G.block, G.network
    product!(out, 0, network.M, x, 0, block.columns)
    _map_pass!(out, block.gain, block.offset, network.envelope, block.inside, entries(block))
    return nothing
end

function _map_pass!(out, gain, offset, φ, p, m)
    @inbounds @simd ivdep for e in 1:m
        z = p === nothing ? out[e] : out[e] + p[e]
        out[e] = muladd(gain[e], value(φ, z), offset[e])
    end
    return nothing
end

"Write φ and φ' at the block's states `x` to its buffers, z = Mx + p to `block.z`."
function slopes!(block::SteadyBlock, network, x)
    product!(block.z, 0, network.M, x, 0, block.columns)
    _slopes_pass!(
        block.z, block.phi, block.slope, network.envelope, block.inside, entries(block)
    )
    block.holds && still!(block.slope, block.stays)
    return block
end

"Nodes that are held do not answer: no slope."
function still!(slope, stays)
    for e in eachindex(slope)
        stays[e] && (slope[e] = 0)
    end
    return nothing
end

function _slopes_pass!(zs, phi, slopes, φ, p, m)
    @inbounds @simd ivdep for e in 1:m
        z = p === nothing ? zs[e] : zs[e] + p[e]
        zs[e] = z
        phi[e] = value(φ, z)
        slopes[e] = slope(φ, z, phi[e])
    end
    return nothing
end

"Add the block's φ' to its sums."
function add_slopes!(block::SteadyBlock)
    n = block.n
    @inbounds for j in 0:(block.columns - 1), i in 1:n
        block.slopes[i] += block.slope[j * n + i]
    end
    return nothing
end

column(v::Vector, n::Int, j::Int) = view(v, ((j - 1) * n + 1):(j * n))

"Replace `block.x` by roots near it; `block.residual` and `block.tolerance` say how good they are."
function roots!(block::SteadyBlock{T}, network, solver::SteadyState, correction) where {T}
    n = block.n
    tol = T(max(solver.tol, 20 * eps(T)))
    for j in 1:block.columns
        block.tolerance[j] = tol * (1 + maximum(abs, column(block.x, n, j)))
    end
    start = copy(block.x)
    G = FixedPointMap(block, network)
    fixed_point!(
        block.x, G, block.anderson, n, block.columns, block.tolerance, block.residual,
        solver.max_iterations, correction.made ? correction.forward : nothing,
    )
    for j in 1:block.columns
        block.residual[j] <= block.tolerance[j] && continue
        newton!(block, network, j, column(start, n, j))
    end
    return block
end

"Newton's method for condition `j` from `start`; keeps the best iterate."
function newton!(block::SteadyBlock{T}, network, j::Int, start) where {T}
    n, φ, M = block.n, network.envelope, network.coefficients.M
    gain, offset = column(block.gain, n, j), column(block.offset, n, j)
    inside = block.inside === nothing ? zeros(T, n) : column(block.inside, n, j)
    x, best = collect(start), column(block.x, n, j)
    block.residual[j] = T(Inf)
    for _ in 0:NEWTON_STEPS
        check_interrupt()
        z = M * x .+ inside
        values = value.(Ref(φ), z)
        difference = gain .* values .+ offset .- x
        largest = maximum(abs, difference)
        isfinite(largest) || return nothing
        if largest < block.residual[j]
            block.residual[j] = largest
            copyto!(best, x)
        end
        largest <= block.tolerance[j] && return nothing
        system = lu!(one(M) - (gain .* slope.(Ref(φ), z, values)) .* M; check=false)
        issuccess(system) || return nothing
        x .+= ldiv!(system, difference)
    end
    return nothing
end

"Which of the block's roots the trajectories through `states` (n × columns) go to."
function proven(block::SteadyBlock, network, proofs::Proofs, states)
    n, c, φ = block.n, block.columns, network.envelope
    good = [block.residual[j] <= 2 * block.tolerance[j] for j in 1:c]
    slopes!(block, network, block.x)
    matrix(v) = reshape(view(v, 1:entries(block)), n, c)
    x, z, there, stays = map(matrix, (block.x, block.z, block.slope, block.stays))
    result = in_ball(proofs, x, z, states, good, stays)
    for j in findall(good .& .!result)
        z_here = network.coefficients.M * states[:, j]
        block.inside === nothing || (z_here .+= column(block.inside, n, j))
        here = slope.(Ref(φ), z_here, value.(Ref(φ), z_here))
        block.holds && still!(here, view(stays, :, j))
        result[j] = near_and_stable(proofs, view(x, :, j), states[:, j], view(there, :, j), here)
    end
    return result
end
