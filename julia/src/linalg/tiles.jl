# The kernel of the matrix products, the usual register tile: 2 SIMD vectors of rows × up to 6
# columns, one step along k being 12 fused multiply-adds for 2 + 6 loads.

const SIMDFloat = Union{Float32,Float64}
const Vec{W,T} = NTuple{W,VecElement{T}}

# 256-bit vectors; other numbers only take the layout.
lanes(::Type{Float64}) = 4
lanes(::Type{Float32}) = 8
lanes(::Type) = 4
panel_rows(::Type{T}) where {T} = 2 * lanes(T)
const TILE_COLUMNS = 6

for (W, T, name) in ((4, Float64, "llvm.fmuladd.v4f64"), (8, Float32, "llvm.fmuladd.v8f32"))
    @eval @inline function vec_muladd(a::Vec{$W,$T}, b::Vec{$W,$T}, c::Vec{$W,$T})
        return ccall(
            $name, llvmcall, Vec{$W,$T}, (Vec{$W,$T}, Vec{$W,$T}, Vec{$W,$T}), a, b, c
        )
    end
end
@inline vec_load(::Type{V}, p::Ptr) where {V} = unsafe_load(Ptr{V}(p))
@inline vec_store!(p::Ptr, v::V) where {V} = unsafe_store!(Ptr{V}(p), v)
@inline splat(::Type{Vec{W,T}}, x::T) where {W,T} = ntuple(_ -> VecElement(x), Val(W))

"""
One tile: C[1:rows, 1:NR] (+)= Σ_k A[:, k]·B[k, :], with A's columns `lda` apart, C's `ldc`,
B[k, j] at `B + (k−1)·bk + (j−1)·bj` (strides in entries). Loads `panel_rows` rows of A.
"""
@generated function tile!(
    C::Ptr{T}, ldc::Int, A::Ptr{T}, lda::Int, B::Ptr{T}, bk::Int, bj::Int, K::Int, rows::Int,
    ::Val{NR}, ::Val{Add},
) where {T,NR,Add}
    W = lanes(T)
    V, bytes = Vec{W,T}, sizeof(T)
    sum_(v, j) = Symbol(:sum_, v, :_, j)
    at(v, j, i=1) = :(C + $(((v - 1) * W + i - 1) * bytes) + $((j - 1) * bytes) * ldc)
    body = quote
        $(Expr(:meta, :inline))
    end
    # Sums that go on from C start with it: its loads are under way while A's are waited for.
    for j in 1:NR, v in 1:2
        start = :(splat($V, zero(T)))
        Add && (start = :(rows >= $(2W) ? vec_load($V, $(at(v, j))) : $start))
        push!(body.args, :($(sum_(v, j)) = $start))
    end
    step = quote
        a_1 = vec_load($V, A)
        a_2 = vec_load($V, A + $(W * bytes))
    end
    for j in 1:NR
        push!(step.args, :(b = splat($V, unsafe_load(B + $((j - 1) * bytes) * bj))))
        for v in 1:2
            push!(step.args, :($(sum_(v, j)) = vec_muladd($(Symbol(:a_, v)), b, $(sum_(v, j)))))
        end
    end
    push!(step.args, :(A += $bytes * lda), :(B += $bytes * bk))
    whole, part = quote end, quote end
    for j in 1:NR, v in 1:2
        push!(whole.args, :(vec_store!($(at(v, j)), $(sum_(v, j)))))
        for i in 1:W
            p, x = at(v, j, i), :($(sum_(v, j))[$i].value)
            Add && (x = :(unsafe_load($p) + $x))
            push!(part.args, :($((v - 1) * W + i) <= rows && unsafe_store!($p, $x)))
        end
    end
    return quote
        $body
        for _ in 1:K
            $step
        end
        if rows >= $(2W)
            $whole
        else
            $part
        end
        return nothing
    end
end

# The last columns take a narrower tile.
@inline function columns!(C, ldc, A, lda, B, bk, bj, K, rows, columns, add)
    if columns >= 6
        tile!(C, ldc, A, lda, B, bk, bj, K, rows, Val(6), add)
    elseif columns == 5
        tile!(C, ldc, A, lda, B, bk, bj, K, rows, Val(5), add)
    elseif columns == 4
        tile!(C, ldc, A, lda, B, bk, bj, K, rows, Val(4), add)
    elseif columns == 3
        tile!(C, ldc, A, lda, B, bk, bj, K, rows, Val(3), add)
    elseif columns == 2
        tile!(C, ldc, A, lda, B, bk, bj, K, rows, Val(2), add)
    else
        tile!(C, ldc, A, lda, B, bk, bj, K, rows, Val(1), add)
    end
    return nothing
end
