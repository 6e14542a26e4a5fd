@testset "envelope $(values(options))" for options in ENVELOPE_OPTIONS
    model = CB.Model(; options...)
    φ = CB.envelope(model)
    # Away from the corners of clip and hill, which have one-sided derivatives.
    zs = filter(z -> minimum(abs.(z .- (-1, 0, 1))) > 1e-3, range(-4, 4; length=801))
    h = 1e-6
    for z in zs
        y = CB.value(φ, z)
        @test y ≈ plain_envelope(model, z) rtol = 1e-13 atol = 1e-15
        central = (CB.value(φ, z + h) - CB.value(φ, z - h)) / 2h
        @test CB.slope(φ, z, y) ≈ central rtol = 1e-6 atol = 1e-8
    end
    for T in (Float32, Float64), z in (T(0.7), T(-2))
        y = CB.value(φ, z)
        @test y isa T
        @test CB.slope(φ, z, y) isa T
    end
    if options.envelope != :linear
        # Large arguments saturate, they do not overflow.
        for T in (Float32, Float64), z in (T(1e30), T(-1e30))
            y = CB.value(φ, z)
            @test y ≈ plain_envelope(model, sign(z) * T(1e3)) atol = 1e-5
            @test isfinite(CB.slope(φ, z, y))
        end
    end
    @test isnan(CB.value(φ, NaN))
end

@testset "corners of clip" begin
    @test CB.slope(CB.Clip(), 1.0, 1.0) == 0
    @test CB.slope(CB.Clip(), 0.5, 0.5) == 1
end
