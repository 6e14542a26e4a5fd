"Error of `fast_tanh` in units in the last place of the true value."
function tanh_ulps(x::T) where {T}
    truth = tanh(BigFloat(x))
    return Float64(abs(BigFloat(CB.fast_tanh(x)) - truth) / eps(T(abs(truth))))
end

@testset "tanh in $T" for T in (Float64, Float32)
    rng = MersenneTwister(3)
    xs = setprecision(BigFloat, 160) do
        samples = vcat(
            T.(range(-22, 22; length=20_001)),
            T.(range(-0.6, 0.6; length=20_001)),
            exp2.(T.(range(-(T == Float64 ? 1074 : 149), 6; length=5_001))),
            randn(rng, T, 20_000),
            T(6) .* randn(rng, T, 10_000),
            # Around the ends of the reduced interval.
            [T(j * log(2) / 4 * (1 + d)) for j in 1:80 for d in -1e-3:2e-4:1e-3],
        )
        samples = vcat(samples, -samples)
        @test maximum(tanh_ulps, samples) <= 4
        samples
    end
    @test all(x -> abs(CB.fast_tanh(x)) <= 1, xs)
    @test all(x -> CB.fast_tanh(-x) === -CB.fast_tanh(x), xs)

    same(x) = CB.fast_tanh(T(x)) === T(tanh(T(x)))
    @test all(same, (0.0, -0.0, Inf, -Inf, 1000.0, -1000.0, 20.0, -30.0))
    least = nextfloat(zero(T))
    @test all(same, (floatmin(T), prevfloat(floatmin(T)), least, -least))
    @test same(floatmax(T))
    @test isnan(CB.fast_tanh(T(NaN)))

    # The whole loop, vector code and its remainder, gives what single calls give.
    out = CB.tanh!(similar(xs), xs)
    @test maximum(abs.(out .- CB.fast_tanh.(xs))) <= eps(T)
    @test_throws DimensionMismatch CB.tanh!(zeros(T, 2), zeros(T, 3))
end

@testset "tanh of other numbers" begin
    @test CB.fast_tanh(big"0.3") == tanh(big"0.3")
end
