# What the code of generated equations may call beside + − * /, exp, abs, min, max and the like. None
# of it throws: where a function has no value there is NaN, which is looked at afterwards.

module Operations

import ..fast_tanh

export log_, log1p_, sqrt_, tanh_, sin_, cos_, expit, softplus, guarded, pow, power_log, greater,
    where_, lower, logged, At

nothing_at(x) = oftype(float(x), NaN)

@inline log_(x) = x < 0 ? nothing_at(x) : log(x)
@inline log1p_(x) = x < -1 ? nothing_at(x) : log1p(x)
@inline sqrt_(x) = x < 0 ? nothing_at(x) : sqrt(x)
@inline sin_(x) = isinf(x) ? nothing_at(x) : sin(x)
@inline cos_(x) = isinf(x) ? nothing_at(x) : cos(x)
@inline tanh_(x) = fast_tanh(x)
@inline expit(x) = (one(x) + fast_tanh(x / 2)) / 2
@inline softplus(x) = max(x, zero(x)) + log1p(exp(-abs(x)))
"A product in which nothing times infinity is nothing."
@inline guarded(a, b) = (a == 0) | (b == 0) ? zero(a * b) : a * b
@inline pow(x, k) = (x < 0) & !isinteger(k) ? nothing_at(x) : x^k
@inline greater(a, b) = ifelse(a > b, one(a), zero(a))
@inline where_(condition, a, b) = ifelse(condition != 0, a, b)
"xᵏ by y = xᵏ⁺¹."
@inline lower(y, x, k) = (y != 0) & isfinite(y) ? y / x : pow(x, k)
"xᵏ·log(x) by y = xᵏ; it goes to 0 with x where k is positive."
@inline logged(y, x, k) = (x == 0) & (k > 0) ? zero(y) : y * log_(x)
@inline power_log(x, k) = logged(pow(x, k), x, k)

"The memory from an address on."
struct At{T} <: AbstractVector{T}
    address::Ptr{T}
end
Base.size(::At) = (typemax(Int),)
Base.IndexStyle(::Type{<:At}) = IndexLinear()
@inline Base.getindex(a::At, i::Int) = unsafe_load(a.address, i)
@inline Base.setindex!(a::At, value, i::Int) = unsafe_store!(a.address, value, i)

end

using .Operations: At
