# The right-hand side and its vector-Jacobian products on plain (node × condition) matrices, for
# people and solvers who bring their own time loop.

"""
    Kernel(structure, parameters, perturbation)

The right-hand side f(x) = a∘φ(Mx + p) + b∘v − c∘x of a model (any form, envelope, degree and
drug treatment) for all conditions of a perturbation u (n × conditions), with the buffers of
[`rhs!`](@ref), [`vjp_state!`](@ref) and [`vjp_parameters!`](@ref), which allocate nothing.

The number type is that of parameters and perturbation together; `Float64` and `Float32` are
fast, others (dual numbers, `BigFloat`) work. A kernel is for one task at a time;
[`load!`](@ref) gives it other parameters.

Raises `ModelError` for shapes that do not fit.
"""
struct Kernel{
    T,N<:Network{T},P<:Union{Nothing,Vector{T}},V<:Union{Nothing,Vector{T}},
    F<:Union{Nothing,Vector{T}},
}
    lowering::Lowering
    network::N
    inside::P
    # p without the shifts, and how much of each is a part of it.
    bare::P
    reach::Matrix{T}
    outside::V
    # 1 for entries that move and 0 for those that stay, where some may.
    moves::F
    initial::Matrix{T}
    unit::Spread{T}
    sums::Spread{T}
    gradient::Coefficients{T}
    z::Vector{T}
    # The outer product loads a whole panel of rows from the last column.
    g::Vector{T}
end

function Kernel(structure::Structure, parameters, perturbation::AbstractMatrix; masked=false)
    check_parameters(structure, parameters)
    check_perturbation(structure, perturbation)
    names = parameter_names(structure.model)
    T = float(
        promote_type(eltype(perturbation), map(p -> eltype(parameter(parameters, p)), names)...)
    )
    lowering, (n, c) = Lowering(structure), size(perturbation)
    inside = lowering.u_inside ? zeros(T, n * c) : nothing
    outside = lowering.u_outside ? zeros(T, n * c) : nothing
    initial = zeros(T, n, c)
    network = Network{T}(lowering)
    k = shifts(network)
    bare, reach = k == 0 ? inside : zeros(T, n * c), zeros(T, k, c)
    drive!(bare, outside, initial, reach, lowering, perturbation, 1:c)
    kernel = Kernel(
        lowering, network, inside, bare, reach, outside, masked ? ones(T, n * c) : nothing,
        initial, Spread{T}(n, c),
        Spread{T}(n, c), Coefficients{T}(n, k), zeros(T, n * c), zeros(T, n * c + panel_rows(T)),
    )
    return load!(kernel, parameters)
end

"""
    load!(kernel, parameters)

Give a kernel other parameters for the same perturbation.
"""
function load!(kernel::Kernel, parameters)
    load!(kernel.network, kernel.lowering, parameters)
    return loaded!(kernel)
end

"Bring what follows from the coefficients up to date."
function loaded!(kernel::Kernel)
    k = kernel.network.coefficients
    spread!(kernel.unit, k, 1)
    lay!(kernel.inside, kernel.bare, k.shifts, kernel.reach, _columns(kernel))
    return kernel
end

# The coefficients as one vector [vec(M); a; b; c; vec(shifts)], which solvers can hand around.
function load_coefficients!(kernel::Kernel, vector::AbstractVector)
    network = kernel.network
    k = unpack!(network.coefficients, vector)
    pack!(network.M, k.M, Val(false))
    pack!(network.transposed, k.M, Val(true))
    return loaded!(kernel)
end

function unpack!(k::Coefficients, vector::AbstractVector)
    at = 1
    for part in arrays(k)
        copyto!(part, 1, vector, at, length(part))
        at += length(part)
    end
    return k
end

function pack!(vector::AbstractVector, k::Coefficients)
    at = 1
    for part in arrays(k)
        copyto!(vector, at, part, 1, length(part))
        at += length(part)
    end
    return vector
end

Base.length(k::Coefficients) = sum(length, arrays(k))

"x(0) of all conditions, n × conditions: zero but for clamped drugs. A copy."
initial_state(kernel::Kernel) = copy(kernel.initial)

_columns(kernel) = size(kernel.initial, 2)

function _same_length(kernel, array)
    return length(array) == length(kernel.initial) || _wrong_length(kernel, array)
end

# Kept out of line: with the message inlined, Julia 1.10 allocates although nothing is raised.
@noinline function _wrong_length(kernel, array)
    return throw(
        ModelError(
            "an array has $(length(array)) entries; the kernel's states have shape " *
            "$(size(kernel.initial)).",
        ),
    )
end

"""
    rhs!(dx, x, kernel)

Write dx/dt at the states `x` (both n × conditions, or vectors of as many entries) to `dx`, which
must not share memory with `x`.
"""
function rhs!(dx::AbstractArray, x::AbstractArray, kernel::Kernel)
    check_interrupt()
    _same_length(kernel, dx)
    _same_length(kernel, x)
    product!(dx, 0, kernel.network.M, x, 0, _columns(kernel))
    _rhs_pass!(dx, x, kernel, kernel.network.envelope, kernel.inside, kernel.outside)
    return dx
end

# What is left of the e-th number where that node may stay.
@inline moving(::Nothing, e, x) = x
@inline moving(moves::Vector, e, x) = moves[e] * x

function _rhs_pass!(dx, x, kernel, φ, p, v)
    unit, moves = kernel.unit, kernel.moves
    a, b, c = unit.a, unit.b, unit.c
    for start in 0:length(a):(length(x) - 1)
        @inbounds @simd ivdep for i in 1:min(length(a), length(x) - start)
            e = start + i
            z = p === nothing ? dx[e] : dx[e] + p[e]
            f = a[i] * value(φ, z) - c[i] * x[e]
            dx[e] = moving(moves, e, v === nothing ? f : muladd(b[i], v[e], f))
        end
    end
    return nothing
end

"""
    vjp_state!(out, λ, x, kernel)

Write λᵀ∂f/∂x = Mᵀ(λ∘a∘φ'(Mx+p)) − c∘λ at the states `x` to `out` (all n × conditions).
"""
function vjp_state!(out, λ, x, kernel::Kernel)
    check_interrupt()
    _same_length(kernel, out)
    _same_length(kernel, λ)
    _same_length(kernel, x)
    product!(kernel.z, 0, kernel.network.M, x, 0, _columns(kernel))
    _slope_pass!(λ, kernel, kernel.network.envelope, kernel.inside)
    product!(out, 0, kernel.network.transposed, kernel.g, 0, _columns(kernel))
    c, moves = kernel.unit.c, kernel.moves
    for start in 0:length(c):(length(x) - 1)
        @inbounds @simd ivdep for i in 1:min(length(c), length(x) - start)
            out[start + i] -= c[i] * moving(moves, start + i, λ[start + i])
        end
    end
    return out
end

# g = λ∘a∘φ'(z), and φ(z) in the place of Mx.
function _slope_pass!(λ, kernel, φ, p)
    a, zs, g, moves = kernel.unit.a, kernel.z, kernel.g, kernel.moves
    for start in 0:length(a):(length(zs) - 1)
        @inbounds @simd ivdep for i in 1:min(length(a), length(zs) - start)
            e = start + i
            z = p === nothing ? zs[e] : zs[e] + p[e]
            output = value(φ, z)
            g[e] = moving(moves, e, λ[e]) * a[i] * slope(φ, z, output)
            zs[e] = output
        end
    end
    return nothing
end

"""
    vjp_parameters!(gradient, λ, x, kernel)

Write λᵀ∂f/∂parameters at the states `x`, summed over the conditions, to the arrays of
`gradient` (a `NamedTuple` like [`zero_parameters`](@ref)); W's is zero where the mask is false.
"""
function vjp_parameters!(gradient, λ, x, kernel::Kernel)
    k = vjp_coefficients!(λ, x, kernel)
    return pull_back!(gradient, kernel.lowering, k, kernel.network)
end

"λᵀ∂f/∂(M, a, b, c, shifts) at the states `x`, summed over the conditions: `Coefficients` of the kernel."
function vjp_coefficients!(λ, x, kernel::Kernel)
    _same_length(kernel, λ)
    _same_length(kernel, x)
    sums, k = clear!(kernel.sums), clear!(kernel.gradient)
    product!(kernel.z, 0, kernel.network.M, x, 0, _columns(kernel))
    _slope_pass!(λ, kernel, kernel.network.envelope, kernel.inside)
    add_outer_product!(k.M, kernel.g, x, 0, _columns(kernel), kernel.network.tiles)
    _sums_pass!(sums, λ, x, kernel.z, kernel.outside, kernel.moves)
    add_shifts!(k.shifts, kernel.g, kernel.reach, _columns(kernel))
    return collect!(k, sums)
end

function _sums_pass!(sums, λ, x, outputs, v, moves)
    a, b, c = sums.a, sums.b, sums.c
    for start in 0:length(a):(length(x) - 1)
        @inbounds @simd ivdep for i in 1:min(length(a), length(x) - start)
            e = start + i
            l = moving(moves, e, λ[e])
            a[i] = muladd(l, outputs[e], a[i])
            c[i] = muladd(l, x[e], c[i])
            v === nothing || (b[i] = muladd(l, v[e], b[i]))
        end
    end
    return nothing
end
