# The two matrix products of the model, written for matrices of tens to hundreds of nodes: there
# a BLAS loses time on packing, blocking and threads, all of which can be spared here. M is the
# same over hundreds of products, so it is packed once; and rows or columns without edges (drugs,
# phenotypes, prior masks) are not multiplied.

"""
A matrix (rows × K) laid out in panels of `panel_rows(T)` rows, k running within each, and the
first and last k at which a panel has an entry.
"""
mutable struct Packed{T}
    data::Vector{T}
    first::Vector{Int}
    last::Vector{Int}
    n::Int
end

function Packed{T}(n::Integer) where {T}
    panels = cld(n, panel_rows(T))
    return Packed(
        zeros(T, panels * panel_rows(T) * n), zeros(Int, panels), zeros(Int, panels), n
    )
end

"Pack the square matrix `M`, or its transpose, into `P`."
function pack!(P::Packed{T}, M::Matrix{T}, ::Val{Transposed}) where {T,Transposed}
    n, height = P.n, panel_rows(T)
    @inbounds for panel in eachindex(P.first)
        top = (panel - 1) * height
        first, last = n + 1, 0
        for k in 1:n
            entries = false
            for i in 1:min(height, n - top)
                x = Transposed ? M[k, top + i] : M[top + i, k]
                P.data[top * n + (k - 1) * height + i] = x
                entries |= !iszero(x)
            end
            if entries
                first, last = min(first, k), k
            end
        end
        P.first[panel], P.last[panel] = first, last
    end
    return P
end

"""
    product!(C, c_at, P, X, x_at, columns)

Write P·X to `C`: X and C are (n × columns), column after column from behind entry `x_at` of the
array `X` and `c_at` of `C`.
"""
function product!(
    C::StridedArray{T}, c_at::Int, P::Packed{T}, X::StridedArray{T}, x_at::Int, columns::Int
) where {T<:SIMDFloat}
    if !(lies_dense(C) && lies_dense(X))
        return plain_product!(C, c_at, P, X, x_at, columns)
    end
    n, height, bytes = P.n, panel_rows(T), sizeof(T)
    GC.@preserve C P X begin
        c, x, data = pointer(C) + c_at * bytes, pointer(X) + x_at * bytes, pointer(P.data)
        @inbounds for panel in eachindex(P.first)
            top = (panel - 1) * height
            # Without entries K is zero and the tile writes zeros.
            skip = P.last[panel] == 0 ? 0 : P.first[panel] - 1
            K = P.last[panel] - skip
            a = data + (top * n + skip * height) * bytes
            for j in 0:TILE_COLUMNS:(columns - 1)
                columns!(
                    c + (top + j * n) * bytes, n, a, height, x + (skip + j * n) * bytes, 1, n,
                    K, min(height, n - top), columns - j, Val(false),
                )
            end
        end
    end
    return C
end

"""
The tiles of an n × n matrix of `T` in which a pattern is true somewhere: those that
`add_outer_product!` has to compute.
"""
struct Tiles{T}
    wanted::Matrix{Bool}
end

function tiles_of(::Type{T}, pattern::AbstractMatrix{Bool}) where {T}
    n, height = size(pattern, 1), panel_rows(T)
    block(width, q) = ((q - 1) * width + 1):min(q * width, n)
    return Tiles{T}([
        any(view(pattern, block(height, p), block(TILE_COLUMNS, q))) for
        p in 1:cld(n, height), q in 1:cld(n, TILE_COLUMNS)
    ])
end

"""
    add_outer_product!(M, G, X, x_at, columns, tiles)

Add G·Xᵀ to the wanted tiles of `M` (n × n). G, X are (n × columns), G from the start of its
array, which must be `panel_rows(T)` entries longer, X from behind entry `x_at` of its own.
"""
function add_outer_product!(
    M::Matrix{T}, G::Vector{T}, X::StridedArray{T}, x_at::Int, columns::Int, tiles::Tiles{T}
) where {T<:SIMDFloat}
    lies_dense(X) || return plain_outer_product!(M, G, X, x_at, columns)
    n, height, bytes = size(M, 1), panel_rows(T), sizeof(T)
    @assert length(G) >= n * columns + height
    GC.@preserve M G X begin
        m, g, x = pointer(M), pointer(G), pointer(X) + x_at * bytes
        @inbounds for q in axes(tiles.wanted, 2), p in axes(tiles.wanted, 1)
            tiles.wanted[p, q] || continue
            i, j = (p - 1) * height, (q - 1) * TILE_COLUMNS
            columns!(
                m + (i + j * n) * bytes, n, g + i * bytes, n, x + j * bytes, n, 1,
                columns, min(height, n - i), n - j, Val(true),
            )
        end
    end
    return M
end

# The outer product of large matrices: both are first laid out as the tiles want them, a block of
# rows of G at a time, which stays in the second-level cache while M passes by once.
const OUTER_ROWS = 128
const OUTER_COLUMNS = 192

"Whether the outer product of n rows is worth it: by measurement, where M leaves the caches."
laid_out(n::Int) = n >= 128

"Room in which `add_outer_product!` lays out up to `columns` columns of two matrices of n rows."
struct OuterRoom{T}
    left::Vector{T}
    right::Vector{T}
end

function OuterRoom{T}(n::Int, columns::Int) where {T}
    columns = laid_out(n) ? min(columns, OUTER_COLUMNS) : 0
    return OuterRoom(
        zeros(T, OUTER_ROWS * columns), zeros(T, TILE_COLUMNS * cld(n, TILE_COLUMNS) * columns)
    )
end

function add_outer_product!(
    M::Matrix{T}, G::Vector{T}, X::StridedArray{T}, x_at::Int, columns::Int, tiles::Tiles{T},
    room::OuterRoom{T},
) where {T<:SIMDFloat}
    n, height, bytes = size(M, 1), panel_rows(T), sizeof(T)
    laid_out(n) || return add_outer_product!(M, G, X, x_at, columns, tiles)
    lies_dense(X) || return plain_outer_product!(M, G, X, x_at, columns)
    @assert length(G) >= n * columns + height
    @assert length(room.left) >= OUTER_ROWS * min(columns, OUTER_COLUMNS)
    GC.@preserve M G X room begin
        m, left, right = pointer(M), pointer(room.left), pointer(room.right)
        for first in 0:OUTER_COLUMNS:(columns - 1)
            K = min(OUTER_COLUMNS, columns - first)
            g = pointer(G) + first * n * bytes
            lay_right!(right, pointer(X) + (x_at + first * n) * bytes, n, K)
            for top in 0:OUTER_ROWS:(n - 1)
                rows = min(OUTER_ROWS, n - top)
                lay_left!(left, g + top * bytes, n, rows, K)
                @inbounds for q in axes(tiles.wanted, 2), p in 1:cld(rows, height)
                    tiles.wanted[top ÷ height + p, q] || continue
                    i, j = (p - 1) * height, (q - 1) * TILE_COLUMNS
                    columns!(
                        m + (top + i + j * n) * bytes, n, left + i * K * bytes, height,
                        right + j * K * bytes, TILE_COLUMNS, 1, K, min(height, rows - i), n - j,
                        Val(true),
                    )
                end
            end
        end
    end
    return M
end

"Lay out `rows` rows of K columns, `n` apart, in panels; the last panel is filled up with the rows
or the memory that follow."
function lay_left!(left::Ptr{T}, g::Ptr{T}, n::Int, rows::Int, K::Int) where {T}
    W, height = lanes(T), panel_rows(T)
    V, bytes = Vec{lanes(T),T}, sizeof(T)
    for k in 0:(K - 1), i in 0:height:(rows - 1)
        from, to = g + (k * n + i) * bytes, left + (i * K + k * height) * bytes
        vec_store!(to, vec_load(V, from))
        vec_store!(to + W * bytes, vec_load(V, from + W * bytes))
    end
    return nothing
end

"Lay out the n rows of K columns in groups of as many rows as a tile has columns."
function lay_right!(right::Ptr{T}, x::Ptr{T}, n::Int, K::Int) where {T}
    # Few columns at a time, so that those read stay in the cache from group to group.
    for start in 0:8:(K - 1), j in 0:TILE_COLUMNS:(n - 1), k in start:min(start + 7, K - 1)
        from, to = x + (k * n + j) * sizeof(T), right + (j * K + k * TILE_COLUMNS) * sizeof(T)
        if n - j >= TILE_COLUMNS
            unsafe_store!(
                Ptr{NTuple{TILE_COLUMNS,T}}(to), unsafe_load(Ptr{NTuple{TILE_COLUMNS,T}}(from))
            )
        else
            for r in 0:(n - j - 1)
                unsafe_store!(to + r * sizeof(T), unsafe_load(from + r * sizeof(T)))
            end
        end
    end
    return nothing
end

# Any other number type (BigFloat, dual numbers) or layout: plain loops.
product!(C, c_at, P, X, x_at, columns) = plain_product!(C, c_at, P, X, x_at, columns)
function add_outer_product!(M, G, X, x_at, columns, tiles, room=nothing)
    return plain_outer_product!(M, G, X, x_at, columns)
end

function plain_product!(C, c_at::Int, P::Packed{T}, X, x_at::Int, columns::Int) where {T}
    n, height = P.n, panel_rows(T)
    for j in 0:(columns - 1), i in 0:(n - 1)
        base = (i ÷ height) * height * n + i % height + 1
        total = zero(T)
        for k in 0:(n - 1)
            total = muladd(P.data[base + k * height], X[x_at + j * n + k + 1], total)
        end
        C[c_at + j * n + i + 1] = total
    end
    return C
end

function plain_outer_product!(M, G, X, x_at::Int, columns::Int)
    n = size(M, 1)
    for q in 0:(columns - 1), j in 1:n, i in 1:n
        M[i, j] = muladd(G[q * n + i], X[x_at + q * n + j], M[i, j])
    end
    return M
end
