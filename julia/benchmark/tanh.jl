# Error of fast_tanh against BigFloat, and its speed beside Base.tanh:
#
#     julia --startup-file=no julia/benchmark/tanh.jl

module TanhBenchmark

using Printf
using Random

include(joinpath(@__DIR__, "..", "src", "linalg", "tanh.jl"))

function ulps(f, x::T) where {T}
    truth = tanh(BigFloat(x))
    return Float64(abs(BigFloat(f(x)) - truth) / eps(T(abs(truth))))
end

function samples(T)
    rng = MersenneTwister(1)
    tiny = T == Float64 ? -1074 : -149
    positive = vcat(
        T.(range(0, 22; length=200_001)),
        T.(range(0, 0.7; length=200_001)),
        exp2.(T.(range(tiny, 10; length=50_001))),
        abs.(randn(rng, T, 200_000)),
    )
    return vcat(positive, -positive)
end

function worst(f, xs)
    error, at = setprecision(() -> findmax(ulps.(f, xs)), BigFloat, 160)
    return error, xs[at]
end

"Nanoseconds a number, the least of several loops over an array that stays in the cache."
function speed(f!, T)
    x = 2 .* randn(MersenneTwister(2), T, 4096)
    out = similar(x)
    f!(out, x)
    return 1e9 / length(x) * minimum(@elapsed(f!(out, x)) for _ in 1:300)
end

base_tanh!(out, x) = out .= tanh.(x)

for T in (Float64, Float32)
    xs = samples(T)
    for (name, f, f!) in (("fast_tanh", fast_tanh, tanh!), ("Base.tanh", tanh, base_tanh!))
        error, at = worst(f, xs)
        @printf(
            "%s %-9s  at most %.2f ulp of %d samples (at x = %.9g)  %6.2f ns\n",
            T, name, error, length(xs), at, speed(f!, T)
        )
    end
end

end
