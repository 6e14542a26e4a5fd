# Proofs that a steady state is the one that a trajectory goes to.
#
# With e the difference of two trajectories, y = Se for a positive diagonal S, and
# B = S diag(a/c) M S⁻¹, V = Σ y²/c changes by dV/dt = 2yᵀ(−y + DBy), where D is diagonal and holds
# slopes of φ. If each of them is in [m − r, m + r],
#
#     dV/dt ≤ −yᵀ N y ,   N = 2 − DₘB − (DₘB)ᵀ − t Dᵣ − BᵀDᵣB/t   for every t > 0 ,
#
# because 2|yᵀDᵣΔBy| ≤ t yᵀDᵣy + yᵀBᵀDᵣBy/t for |Δ| ≤ 1 (the circle criterion; Khalil, Nonlinear
# Systems, 3rd ed., section 7.1, with V for its Lyapunov function). Where N is positive definite
#
# 1. for all slopes that φ has, the network is contracting: every trajectory goes to one state;
# 2. for the slopes in the ball V ≤ V(x(t) − x*) around a steady state x*, a trajectory that is in
#    the ball at time t cannot leave it and ends in x*.
#
# Where neither is shown, there is
#
# 3. the trajectory has come close to x*, and the Jacobian there has no eigenvalue with Re ≥ 0.

using LinearAlgebra: I, Symmetric, cholesky, diag, diagind, eigvals, issuccess, norm

# "Close" in proof 3, relative to 1 + |x*|, and the change of slope that still counts as linear.
const CLOSE, SAME_SLOPE = 1e-2, 0.05
# Up to this many nodes a proof is tried for each condition by itself. It takes n³ and eigenvalues
# many times that: beyond, an integration costs less.
const NODES_FOR_EACH = 256
const POWER_STEPS = 5

"Bounds of φ' over [z − radius, z + radius]: the lower, the upper."
slopes_within(φ::Envelope, z, radius) = (zero(z), oftype(z, steepest(φ)))
function slopes_within(φ::Union{Tanh,Linear,Clip,Sigmoid}, z, radius)
    far, near = abs(z) + radius, max(abs(z) - radius, zero(z))
    return slope(φ, far, value(φ, far)), slope(φ, near, value(φ, near))
end

"What the proofs share for one network. In Float64, for the sign of N's smallest eigenvalue."
struct Proofs{E<:Envelope}
    envelope::E
    decay::Vector{Float64}
    # M, and diag(a/c)M, without the columns of nodes that are held: no two trajectories differ there.
    M::Matrix{Float64}
    gained::Matrix{Float64}
    # S, B, a bound of ‖B‖, and about ‖B‖: any t proves what it proves, and this is a good one.
    s::Vector{Float64}
    B::Matrix{Float64}
    bound::Float64
    t::Float64
end

function Proofs(network::Network, shared)
    M = Matrix{Float64}(network.coefficients.M)
    M[:, shared.held] .= 0
    gained = shared.gain .* M
    s, bound = balance(abs.(gained))
    B = s .* gained ./ s'
    t = bound * steepest(network.envelope) < 1 ? bound : about_norm(B)
    return Proofs(network.envelope, Vector{Float64}(shared.decay), M, gained, s, B, bound, t)
end

"""
Positive s that makes the norm of diag(s) G diag(1/s) small, and a bound of that norm, from |G|.

For any positive u and v and s = √(u/v), its square is at most max (|G|v)ᵢ/vᵢ · max (u|G|)ⱼ/uⱼ
(Schur's test). Both are |G|'s spectral radius where u and v are its Perron vectors, which a few
steps of the power method come near to.
"""
function balance(sizes::Matrix{Float64})
    # A little of everything keeps the vectors positive where rows or columns are zero.
    sizes .+= 1e-6 * maximum(sizes) + 1e-300
    u, v = ones(size(sizes, 1)), ones(size(sizes, 1))
    for _ in 1:POWER_STEPS
        u, v = sizes' * u, sizes * v
        u ./= maximum(u)
        v ./= maximum(v)
    end
    bound = sqrt(maximum((sizes * v) ./ v) * maximum((sizes' * u) ./ u))
    return sqrt.(u ./ v), bound
end

function about_norm(B::Matrix{Float64})
    y = 1 .+ 0.1 .* cos.(axes(B, 1))
    for _ in 1:POWER_STEPS
        y = B' * (B * y)
        y ./= norm(y)
    end
    return norm(B * y)
end

"Whether proof 1 holds, for every condition at once."
function contracting(proofs::Proofs)
    n, top = length(proofs.s), steepest(proofs.envelope)
    return proofs.bound * top < 1 || dissipative(proofs, zeros(n), fill(Float64(top), n))
end

"Whether N is positive definite for slopes between two bounds."
function dissipative(proofs::Proofs, flattest, steepest_)
    check_interrupt()
    B, t = proofs.B, proofs.t
    middle, half = (steepest_ .+ flattest) ./ 2, (steepest_ .- flattest) ./ 2
    rows = sqrt.(half ./ t) .* B
    N = rows' * rows
    D = middle .* B
    N .= .-(N .+ D .+ D')
    view(N, diagind(N)) .+= 2 .- t .* half
    factor = cholesky(Symmetric(N); check=false)
    # NaN goes through without an error.
    return issuccess(factor) && all(isfinite, diag(factor.factors))
end

for_each(proofs::Proofs) = length(proofs.s) <= NODES_FOR_EACH

"""
Columns of the roots `x` for which proof 2 holds, with z = Mx + p, `states` on the trajectories, and
only those that are `candidates`; all n × columns. Nodes that stay where `stays` says so do not differ,
whatever their slopes.
"""
function in_ball(
    proofs::Proofs, x, z, states, candidates, stays=falses(size(x)...)
)
    n, c = size(x)
    proven = fill(false, c)
    any(candidates) || return proven
    weight = proofs.s ./ sqrt.(proofs.decay)
    reach = [sqrt(sum(j -> (proofs.M[i, j] / weight[j])^2, 1:n)) for i in 1:n]
    flattest, steepest_ = zeros(n, c), zeros(n, c)
    for j in findall(candidates)
        radius = sqrt(sum(i -> (weight[i] * (states[i, j] - x[i, j]))^2, 1:n))
        for i in 1:n
            stays[i, j] && continue
            flattest[i, j], steepest_[i, j] = slopes_within(
                proofs.envelope, Float64(z[i, j]), radius * reach[i]
            )
        end
    end
    # One matrix for all of them, before one for each.
    low = vec(minimum(flattest[:, candidates]; dims=2))
    high = vec(maximum(steepest_[:, candidates]; dims=2))
    if dissipative(proofs, low, high)
        proven .= candidates
    elseif for_each(proofs)
        for j in findall(candidates)
            proven[j] = dissipative(proofs, view(flattest, :, j), view(steepest_, :, j))
        end
    end
    return proven
end

"Whether proof 3 holds for a root `x`, with slopes `there`, and a state with slopes `here`."
function near_and_stable(proofs::Proofs, x, state, there, here)
    for_each(proofs) || return false
    check_interrupt()
    maximum(abs, state .- x) < CLOSE * (1 + maximum(abs, x)) || return false
    maximum(abs, here .- there) < SAME_SLOPE || return false
    jacobian = proofs.decay .* (there .* proofs.gained - I)
    all(isfinite, jacobian) || return false
    return maximum(real, eigvals(jacobian)) < -1e-9 * maximum(proofs.decay)
end
