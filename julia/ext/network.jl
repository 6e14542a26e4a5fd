# The network as SciML wants it: a right-hand side and products over one parameter vector.

"""
The right-hand side dx/dt = a∘φ(Mx + p) + b∘v − c∘x on matrices (n × conditions), and its products,
over the parameter vector [vec(M); a; b; c; vec(shifts)], behind which are vec(p) and vec(v) where the
derivatives with respect to the drive are wanted too. What stands in its p and v is not read.

PycellboxCore's `Kernel` does the work for plain numbers of its own type, and for nodes that stay. It has packed copies of the
parameters: `loaded` tells of which vector, and where it is `ours` alone, nobody else changes it and
it is not compared at every call. Dual numbers and other types take plain loops.
"""
struct Network{T,K<:Kernel{T}}
    kernel::K
    loaded::Vector{T}
    ours::Bool
end

function Network(
    structure::Structure, parameters, u::AbstractMatrix{T}; ours::Bool, masked::Bool=false
) where {T}
    kernel = Kernel(structure, parameters, u; masked=masked)
    k = kernel.network.coefficients
    return Network(kernel, pack!(zeros(T, length(k)), k), ours)
end

n_nodes(net::Network) = size(net.kernel.initial, 1)

"The kernel with the parameters `p`, or `nothing` where the numbers are not of its type."
function kernel_at(net::Network{T}, p::AbstractVector{T}, arrays::AbstractArray{T}...) where {T}
    if !net.ours && net.loaded != p
        copyto!(net.loaded, p)
        load_coefficients!(net.kernel, p)
    end
    return net.kernel
end
kernel_at(net::Network, p, arrays...) = nothing

"M, a, b, c and shifts as views of the parameter vector."
function unpack(p::AbstractVector, net::Network)
    n, k = n_nodes(net), size(net.kernel.reach, 1)
    M = reshape(view(p, 1:(n * n)), n, n)
    at = n * n
    return M, view(p, (at + 1):(at + n)), view(p, (at + n + 1):(at + 2n)),
    view(p, (at + 2n + 1):(at + 3n)), reshape(view(p, (at + 3n + 1):(at + (3 + k) * n)), n, k)
end

"Mx + p by plain loops, n × conditions."
function inner_input(net::Network, M, shifts, X)
    z = M * X
    bare = net.kernel.bare
    bare === nothing || (z .+= reshape(bare, size(z)))
    isempty(shifts) || (z .+= shifts * net.kernel.reach)
    return z
end

outside(net::Network) =
    net.kernel.outside === nothing ? nothing : reshape(net.kernel.outside, n_nodes(net), :)

function (net::Network)(dx, x, p, t)
    kernel = kernel_at(net, p, dx, x)
    kernel === nothing || (rhs!(dx, x, kernel); return nothing)
    n = n_nodes(net)
    M, a, b, c, shifts = unpack(p, net)
    X, v = reshape(x, n, :), outside(net)
    z = inner_input(net, M, shifts, X)
    dX = reshape(dx, n, :)
    dX .= a .* value.(Ref(kernel_envelope(net)), z) .- c .* X
    v === nothing || (dX .+= b .* v)
    return nothing
end

kernel_envelope(net::Network) = net.kernel.network.envelope

"Write λᵀ∂f/∂x to `out`."
function vjp!(net::Network, out, λ, x, p, t)
    kernel = kernel_at(net, p, out, λ, x)
    kernel === nothing || (vjp_state!(out, λ, x, kernel); return nothing)
    M, _, _, c = unpack(p, net)
    Λ, _, g, _ = inner_adjoint(net, λ, x, p)
    dX = reshape(out, size(Λ))
    dX .= M' * g .- c .* Λ
    return nothing
end

"λ, φ(z), λ∘a∘φ'(z) and x as matrices, by plain loops."
function inner_adjoint(net::Network, λ, x, p)
    n, envelope = n_nodes(net), kernel_envelope(net)
    M, a, _, _, shifts = unpack(p, net)
    Λ, X = reshape(λ, n, :), reshape(x, n, :)
    z = inner_input(net, M, shifts, X)
    φ = value.(Ref(envelope), z)
    return Λ, φ, Λ .* a .* slope.(Ref(envelope), z, φ), X
end

"Write λᵀ∂f/∂p to `out`."
function vjp_p!(net::Network, out, λ, x, p, t)
    kernel = kernel_at(net, p, out, λ, x)
    if kernel !== nothing
        pack!(vec(out), vjp_coefficients!(λ, x, kernel))
        length(out) > length(net.loaded) && vjp_drive!(vec(out), λ, kernel, length(net.loaded))
        return nothing
    end
    Λ, φ, g, X = inner_adjoint(net, λ, x, p)
    dM, da, db, dc, dshifts = unpack(vec(out), net)
    v = outside(net)
    dM .= g * X'
    da .= vec(sum(Λ .* φ; dims=2))
    db .= v === nothing ? zero(eltype(db)) : vec(sum(Λ .* v; dims=2))
    dc .= .-vec(sum(Λ .* X; dims=2))
    isempty(dshifts) || (dshifts .= g * net.kernel.reach')
    return nothing
end

"Write λᵀ∂f/∂p = λ∘a∘φ', which `vjp_coefficients!` has left in the kernel, and λᵀ∂f/∂v behind `at`."
function vjp_drive!(out, λ, kernel, at)
    m, b = length(kernel.z), kernel.network.coefficients.b
    copyto!(out, at + 1, kernel.g, 1, m)
    for e in 1:m
        out[at + m + e] = moving(kernel.moves, e, λ[e]) * b[(e - 1) % length(b) + 1]
    end
    return nothing
end

"Write the Jacobian of one condition, diag(a∘φ')M − diag(c)."
function jacobian!(net::Network, J, x, p, t)
    n, envelope = n_nodes(net), kernel_envelope(net)
    M, a, _, c, shifts = unpack(p, net)
    z = vec(inner_input(net, M, shifts, reshape(x, n, 1)))
    factor = a .* slope.(Ref(envelope), z, value.(Ref(envelope), z))
    J .= factor .* M
    for i in 1:n
        J[i, i] -= c[i]
    end
    moves = net.kernel.moves
    moves === nothing || (J .*= moves)
    return nothing
end

function ode_function(net::Network; one_condition::Bool)
    vjp = (out, λ, x, p, t) -> vjp!(net, out, λ, x, p, t)
    vjp_p = (out, λ, x, p, t) -> vjp_p!(net, out, λ, x, p, t)
    if one_condition
        jac = (J, x, p, t) -> jacobian!(net, J, x, p, t)
        return ODEFunction{true,SciMLBase.FullSpecialize}(net; vjp=vjp, vjp_p=vjp_p, jac=jac)
    end
    return ODEFunction{true,SciMLBase.FullSpecialize}(net; vjp=vjp, vjp_p=vjp_p)
end

function SciMLBase.ODEProblem(
    structure::Structure, parameters, perturbation::AbstractMatrix{T}, tspan; kwargs...
) where {T<:AbstractFloat}
    net = Network(structure, parameters, perturbation; ours=false)
    span = (T(tspan[1]), T(tspan[2]))
    return ODEProblem(
        ode_function(net; one_condition=false), initial_state(net.kernel), span, copy(net.loaded);
        kwargs...,
    )
end
PycellboxCore.ode_problem(structure::Structure, args...; kwargs...) =
    ODEProblem(structure, args...; kwargs...)
