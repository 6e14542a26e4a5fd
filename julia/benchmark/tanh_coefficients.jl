# The coefficients of src/linalg/tanh.jl:
#
#     julia --startup-file=no julia/benchmark/tanh_coefficients.jl
#
# After range reduction |s| ≤ ln2/4, so t = s² ≤ (ln2/4)². There tanh(s)/s = P(t)/Q(t) is made
# to hold exactly at 0 and at the other zeros of a Chebyshev polynomial stretched over the
# interval, which is within a small factor of the best rational function. P(0) = Q(0) = 1 keeps
# tiny arguments exact.

setprecision(BigFloat, 256)

ratio(t) = iszero(t) ? one(t) : tanh(sqrt(t)) / sqrt(t)

"Coefficients of t¹, t², … in P and Q, and the largest relative error on [0, t_end]."
function rational(terms_p, terms_q, t_end)
    m = terms_p + terms_q
    zeros_ = [cos((2i - 1) * big(pi) / (2(m + 1))) for i in 1:(m + 1)]
    t = [t_end * (z - zeros_[end]) / (1 - zeros_[end]) for z in zeros_[1:(end - 1)]]
    rows = [j <= terms_p ? t[i]^j : -ratio(t[i]) * t[i]^(j - terms_p) for i in 1:m, j in 1:m]
    c = rows \ [ratio(t[i]) - 1 for i in 1:m]
    p, q = c[1:terms_p], c[(terms_p + 1):end]
    polynomial(c, t) = 1 + sum(c[j] * t^j for j in eachindex(c))
    value(t) = polynomial(p, t) / polynomial(q, t)
    error = maximum(abs(value(t) / ratio(t) - 1) for t in range(big(0), t_end; length=2001))
    return p, q, error
end

# A hair more than (ln2/4)²: the reduced argument is rounded.
const T_END = (log(big(2)) / 4)^2 * (1 + ldexp(big(1.0), -20))

for (T, terms) in ((Float64, 2), (Float32, 1))
    p, q, error = rational(terms, terms, T_END)
    half = log(big(2)) / 2
    # Trailing zeros in the high part, so that its product with k (six bits at most) is exact.
    kept = T == Float64 ? 44 : 16
    high = T(ldexp(round(ldexp(half, kept)), -kept))
    println(T, ":  P: ", T.(p), "  Q: ", T.(q), "  2/ln2: ", T(1 / half))
    println("    ln2/2 = ", high, " + ", T(half - high), "   relative error ", Float64(error))
end
