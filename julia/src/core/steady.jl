# Steady states as fixed points of G(x) = (a∘φ(Mx + p) + b∘v)/c, and the proofs that a root is the
# one that the trajectory from x(0) goes to:
#
# 1. The whole network is contracting: with B = S diag(a·sup|φ'|/c) M S⁻¹ and a positive diagonal
#    S, ‖B‖₂ < 1. Then V = Σ s²e²/c of the difference e of any two trajectories falls for ever,
#    and there is one steady state.
# 2. The same with the steepest slopes in the ball V ≤ V(x(t) − x*): the trajectory, in that ball
#    at time t, cannot leave it and ends in x*.
# 3. The trajectory has come close to x* and the Jacobian there has no eigenvalue with Re ≥ 0.

using LinearAlgebra: Symmetric, cholesky, eigvals, issuccess, ldiv!, lu!

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

# "Close" in proof 3, relative to 1 + |x*|, and the change of slope that still counts as linear.
const CLOSE, SAME_SLOPE = 1e-2, 0.05
const NEWTON_STEPS = 30

"Upper bound of |φ'| over [z − radius, z + radius]."
steepest_within(φ::Envelope, z, radius) = oftype(z, steepest(φ))
function steepest_within(φ::Union{Tanh,Linear,Clip,Sigmoid}, z, radius)
    nearest = max(abs(z) - radius, zero(z))
    return slope(φ, nearest, value(φ, nearest))
end

"What all conditions share: a/c, and the balanced matrix of the proofs."
mutable struct Contraction{T}
    # Held nodes (clamped drugs) keep their initial state and have decay 1 here.
    held::Vector{Bool}
    decay::Vector{T}
    gain::Vector{T}
    # A node that moves without decay has no steady state.
    solvable::Bool
    contracting::Bool
    # s/√c, Σⱼ (Mᵢⱼ/weightⱼ)² under the root, and BBᵀ without slopes; empty where contracting.
    weight::Vector{T}
    reach::Vector{T}
    square::Matrix{T}
end

function Contraction(network::Network{T}) where {T}
    k = network.coefficients
    held = k.c .== 0
    decay = ifelse.(held, one(T), k.c)
    gain = k.a ./ decay
    solvable = !any(held .& ((k.a .!= 0) .| (k.b .!= 0)))
    shared = Contraction{T}(held, decay, gain, solvable, false, T[], T[], zeros(T, 0, 0))
    solvable || return shared
    top = T(steepest(network.envelope))
    # ‖B‖₂² ≤ ‖B‖₁‖B‖_∞ settles the easy cases.
    sizes = abs.(gain .* k.M) .* top
    if maximum(sum(sizes; dims=1)) * maximum(sum(sizes; dims=2)) < 1
        shared.contracting = true
        return shared
    end
    s = balance(sizes)
    B = s .* gain .* k.M ./ s'
    shared.square = B * B'
    shared.contracting = below_one(shared.square, fill(top, length(s)))
    shared.weight = s ./ sqrt.(decay)
    shared.reach = vec(sqrt.(sum(abs2, k.M ./ shared.weight'; dims=2)))
    return shared
end

"""
Positive s that makes the norm of diag(s) B diag(1/s) small. With the Perron vectors of |B|,
Bv = ρv and uB = ρu, s = √(u/v) brings it down to ρ at most.
"""
function balance(sizes::Matrix{T}) where {T}
    # A little of everything keeps the vectors positive where rows or columns are zero.
    A = sizes .+ (T(1e-6) * maximum(sizes) + floatmin(T))
    u, v = ones(T, size(A, 1)), ones(T, size(A, 1))
    for _ in 1:10
        u, v = A' * u, A * v
        u ./= maximum(u)
        v ./= maximum(v)
    end
    return sqrt.(u ./ v)
end

"Whether ‖diag(σ)B‖ < 1, from BBᵀ."
function below_one(square::Matrix{T}, σ) where {T}
    return issuccess(cholesky(Symmetric(one(square) - σ .* square .* σ'); check=false))
end

"The equations of some conditions with the buffers of their solution, for one thread."
mutable struct SteadyBlock{T,P,V}
    n::Int
    columns::Int
    inside::P
    outside::V
    initial::Vector{T}
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
    gradient::Coefficients{T}
    total::Float64
end

function SteadyBlock{T}(lowering::Lowering, n::Int, width::Int) where {T}
    block() = zeros(T, n * width)
    inside = lowering.u_inside ? block() : nothing
    outside = lowering.u_outside ? block() : nothing
    return SteadyBlock(
        n, width, inside, outside, block(), block(), block(), block(), block(), block(), block(),
        block(), block(), block(), zeros(T, n * width + panel_rows(T)), zeros(T, width),
        zeros(T, width), Anderson{T}(n * width), Coefficients{T}(n), 0.0,
    )
end

"Give the block the conditions `columns` of the perturbation `u`."
function begin!(block::SteadyBlock{T}, network, shared, lowering, u, columns) where {T}
    block.columns = length(columns)
    drive!(block.inside, block.outside, block.initial, lowering, u, columns)
    b, n = network.coefficients.b, block.n
    for j in 1:block.columns, i in 1:n
        e = (j - 1) * n + i
        block.gain[e] = shared.gain[i]
        outside = block.outside === nothing ? zero(T) : b[i] / shared.decay[i] * block.outside[e]
        block.offset[e] = shared.held[i] ? block.initial[e] : outside
    end
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
    return block
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

column(v::Vector, n::Int, j::Int) = view(v, ((j - 1) * n + 1):(j * n))

"Replace `block.x` by roots near it; `block.residual` and `block.tolerance` say how good they are."
function roots!(block::SteadyBlock{T}, network, solver::SteadyState) where {T}
    n = block.n
    tol = T(max(solver.tol, 20 * eps(T)))
    for j in 1:block.columns
        block.tolerance[j] = tol * (1 + maximum(abs, column(block.x, n, j)))
    end
    start = copy(block.x)
    G = FixedPointMap(block, network)
    fixed_point!(
        block.x, G, block.anderson, n, block.columns, block.tolerance, block.residual,
        solver.max_iterations,
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

"Whether proof 2 holds for condition `j` with `state` on its trajectory; `slopes!` was called."
function in_contracting_ball(block::SteadyBlock{T}, network, shared, j::Int, state) where {T}
    n = block.n
    root, z = column(block.x, n, j), column(block.z, n, j)
    radius = sqrt(sum(i -> (shared.weight[i] * (state[i] - root[i]))^2, 1:n))
    σ = [steepest_within(network.envelope, z[i], radius * shared.reach[i]) for i in 1:n]
    return below_one(shared.square, σ)
end

"Whether proof 3 holds for condition `j`."
function near_and_stable(block::SteadyBlock, network, shared, j::Int, state)
    n, k, φ = block.n, network.coefficients, network.envelope
    root, there = column(block.x, n, j), column(block.slope, n, j)
    maximum(abs, state .- root) < CLOSE * (1 + maximum(abs, root)) || return false
    z = k.M * state
    block.inside === nothing || (z .+= column(block.inside, n, j))
    here = slope.(Ref(φ), z, value.(Ref(φ), z))
    maximum(abs, here .- there) < SAME_SLOPE || return false
    free = findall(.!shared.held)
    isempty(free) && return true
    jacobian = (k.a .* there .* k.M)[free, free]
    for (q, i) in enumerate(free)
        jacobian[q, q] -= k.c[i]
    end
    all(isfinite, jacobian) || return false
    return maximum(real, eigvals(jacobian)) < -1e-9 * maximum(k.c)
end
