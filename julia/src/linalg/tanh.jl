# tanh without branches, so that LLVM's vectorizer turns a loop over it into SIMD code.
#
# With |x| = k·ln2/2 + s, |s| ≤ ln2/4, and tanh(s) = s·P(s²)/Q(s²), the addition theorem gives
#
#     tanh|x| = ((2ᵏ−1)·Q + (2ᵏ+1)·sP) / ((2ᵏ+1)·Q + (2ᵏ−1)·sP) :
#
# one division, no cancellation, and s·P/Q itself for small x (k = 0). The coefficients are
# computed in BigFloat by benchmark/tanh_coefficients.jl; the approximation errs by 5.5e-18
# (Float64) and 6.6e-10 (Float32), far below rounding. The measured error of the result is
# printed by benchmark/tanh.jl and bounded in the tests.

"""
    fast_tanh(x)

tanh(x), for `Float64` and `Float32` at most 4 units in the last place off and free of
branches; other numbers go to `tanh`. Signed zeros, infinities and NaN come out as from `tanh`.
"""
@inline fast_tanh(x::Real) = tanh(x)

@inline function fast_tanh(x::Float64)
    # From here on tanh is 1 to rounding. NaN passes: its comparisons are false.
    size = abs(x)
    size = ifelse(size > 20.0, 20.0, size)
    # Adding 1.5·2⁵² rounds to an integer and leaves it in the low bits, from where a shift
    # takes it to the exponent of 2ᵏ.
    shifted = muladd(size, 2.8853900817779268, 6.755399441055744e15)
    one_bits = 0x3ff0000000000000 % Int64
    power = reinterpret(Float64, (reinterpret(Int64, shifted) << 52) + one_bits)
    k = shifted - 6.755399441055744e15
    # ln2/2 in two parts: the product of k and the first is exact.
    s = muladd(k, -0.34657359027994517, size)
    s = muladd(k, -2.7489615093541856e-14, s)
    t = s * s
    sP = muladd(s * t, muladd(t, 0.001057419090656123, 0.11109937313910884), s)
    Q = muladd(t, muladd(t, 0.01586832125000424, 0.4444327064724364), 1.0)
    return _finish_tanh(x, power, sP, Q)
end

@inline function fast_tanh(x::Float32)
    size = abs(x)
    size = ifelse(size > 10.0f0, 10.0f0, size)
    shifted = muladd(size, 2.88539f0, 1.2582912f7)
    one_bits = 0x3f800000 % Int32
    power = reinterpret(Float32, (reinterpret(Int32, shifted) << 23) + one_bits)
    k = shifted - 1.2582912f7
    s = muladd(k, -0.34657288f0, size)
    s = muladd(k, -7.143034f-7, s)
    t = s * s
    sP = muladd(s * t, 0.0665871f0, s)
    Q = muladd(t, 0.3999202f0, 1.0f0)
    return _finish_tanh(x, power, sP, Q)
end

@inline function _finish_tanh(x::T, power::T, sP::T, Q::T) where {T}
    above, below = power + one(T), power - one(T)
    y = muladd(below, Q, above * sP) / muladd(above, Q, below * sP)
    # Rounding may leave an ulp too much where tanh is 1.
    y = ifelse(y > one(T), one(T), y)
    return copysign(y, x)
end

"""
    tanh!(out, x)

Write tanh of every entry of `x` to `out`; both have the same length.
"""
function tanh!(out::AbstractArray{T}, x::AbstractArray{T}) where {T}
    length(out) == length(x) ||
        throw(DimensionMismatch("out has $(length(out)) entries, x $(length(x))"))
    @inbounds @simd ivdep for i in eachindex(out, x)
        out[i] = fast_tanh(x[i])
    end
    return out
end
