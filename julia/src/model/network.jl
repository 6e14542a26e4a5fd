# What all integrations of one network share: the envelope and the coefficients in the layouts
# that the products and the passes over the states want.

"A network with its numbers: packed M and Mᵀ for the products, a, b, c as they are."
struct Network{T,E<:Envelope}
    envelope::E
    coefficients::Coefficients{T}
    M::Packed{T}
    transposed::Packed{T}
    tiles::Tiles{T}
end

function Network{T}(lowering::Lowering) where {T}
    structure = lowering.structure
    n = nodes(structure)
    φ = envelope(structure.model)
    tiles = tiles_of(T, gradient_pattern(structure))
    k = Coefficients{T}(n, length(shifts(structure.model)))
    return Network(φ, k, Packed{T}(n), Packed{T}(n), tiles)
end

"Where the gradient with respect to M is wanted: at the mask, and what rowsum(W)∘x adds to it."
function gradient_pattern(structure::Structure)
    structure.model.degree == 1 && return structure.mask
    pattern = copy(structure.mask)
    for i in axes(pattern, 1)
        pattern[i, i] |= any(view(structure.mask, i, :))
    end
    return pattern
end

"How many shifts a network has."
shifts(network::Network) = size(network.coefficients.shifts, 2)

"Give the network the numbers of `parameters`."
function load!(network::Network, lowering::Lowering, parameters; reverse::Bool=true)
    k = coefficients!(network.coefficients, lowering, parameters)
    pack!(network.M, k.M, Val(false))
    reverse && pack!(network.transposed, k.M, Val(true))
    return network
end

"""
a, b, c repeated over several columns and multiplied by a step size, so that a pass over the
states is a few long loops over plain vectors, whatever the number of nodes.
"""
struct Spread{T}
    a::Vector{T}
    b::Vector{T}
    c::Vector{T}
end

function Spread{T}(n::Integer, columns::Integer) where {T}
    # Groups of columns that fill whole SIMD vectors, long enough to hide the start of a loop.
    whole = panel_rows(T) ÷ gcd(n, panel_rows(T))
    group = min(columns, whole * cld(256, n * whole))
    return Spread(zeros(T, n * group), zeros(T, n * group), zeros(T, n * group))
end

Base.length(spread::Spread) = length(spread.a)

"Fill with h·a, h·b and h·c."
function spread!(spread::Spread{T}, k::Coefficients{T}, h) where {T}
    n = length(k.a)
    @inbounds for start in 0:n:(length(spread) - 1), i in 1:n
        spread.a[start + i] = T(h) * k.a[i]
        spread.b[start + i] = T(h) * k.b[i]
        spread.c[start + i] = T(h) * k.c[i]
    end
    return spread
end

"Sum what a `Spread` has collected in its columns onto the coefficients; that of c is a loss."
function collect!(k::Coefficients{T}, spread::Spread{T}) where {T}
    n = length(k.a)
    @inbounds for start in 0:n:(length(spread) - 1), i in 1:n
        k.a[i] += spread.a[start + i]
        k.b[i] += spread.b[start + i]
        k.c[i] -= spread.c[start + i]
    end
    return k
end

function clear!(spread::Spread{T}) where {T}
    fill!(spread.a, zero(T))
    fill!(spread.b, zero(T))
    fill!(spread.c, zero(T))
    return spread
end
