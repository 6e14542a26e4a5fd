# The packed products against LinearAlgebra's, in every size of tile.

@testset "products in $T" for T in (Float64, Float32, BigFloat)
    rng = MersenneTwister(5)
    draw(dims...) = T.(randn(rng, dims...))
    tolerance = T == Float32 ? 1e-5 : 1e-13
    for n in (1, 3, 8, 9, 17, 33), columns in 1:13
        T == BigFloat && (n, columns) != (9, 7) && continue
        M, X = draw(n, n), draw(n, columns)
        # Panels without entries, and panels with leading and trailing gaps.
        n >= 17 && (M[1:8, :] .= 0; M[:, (n - 2):n] .= 0; M[9:16, 1:3] .= 0)
        P = CB.Packed{T}(n)
        C = fill(T(NaN), n, columns)
        CB.product!(C, 0, CB.pack!(P, M, Val(false)), X, 0, columns)
        @test relative(C, M * X) < tolerance || norm(M) == 0
        CB.product!(C, 0, CB.pack!(P, M, Val(true)), X, 0, columns)
        @test relative(C, M' * X) < tolerance || norm(M) == 0

        G = vcat(vec(draw(n, columns)), fill(T(NaN), CB.panel_rows(T)))
        pattern = trues(n, n)
        n == 33 && (pattern[:, 7:12] .= false)
        sum_ = copy(M)
        CB.add_outer_product!(sum_, G, X, 0, columns, CB.tiles_of(T, pattern))
        truth = M + reshape(G[1:(n * columns)], n, columns) * X'
        @test relative(sum_[pattern], truth[pattern]) < tolerance
        @test all(sum_[.!pattern] .== M[.!pattern])
    end
end

@testset "outer products of large matrices, $T" for T in (Float64, Float32)
    rng = MersenneTwister(7)
    tolerance = T == Float32 ? 1e-5 : 1e-13
    for n in (128, 137, 263), columns in (1, 25, 192, 203)
        G = vcat(randn(rng, T, n * columns), fill(T(NaN), CB.panel_rows(T)))
        X, M = randn(rng, T, n, columns + 2), randn(rng, T, n, n)
        pattern = trues(n, n)
        pattern[17:32, :] .= false
        pattern[:, 31:48] .= false
        sum_ = copy(M)
        room, tiles = CB.OuterRoom{T}(n, columns), CB.tiles_of(T, pattern)
        CB.add_outer_product!(sum_, G, X, 2n, columns, tiles, room)
        truth = M + reshape(G[1:(n * columns)], n, columns) * X[:, 3:end]'
        @test relative(sum_[pattern], truth[pattern]) < tolerance
        # Rows 17 to 32 and columns 31 to 48 are whole tiles.
        @test all(sum_[.!pattern] .== M[.!pattern])
    end
end

@testset "views and strides" begin
    rng = MersenneTwister(6)
    n, columns = 9, 4
    P = CB.pack!(CB.Packed{Float64}(n), randn(rng, n, n), Val(false))
    wide = randn(rng, 2n, columns)
    gaps, column_view = view(wide, 1:2:(2n), :), view(randn(rng, n, 10), :, 3:6)
    C = zeros(n, columns)
    for X in (gaps, column_view, reshape(view(vec(wide), 1:(n * columns)), n, columns))
        whole = CB.product!(zeros(n, columns), 0, P, collect(X), 0, columns)
        @test CB.product!(C, 0, P, X, 0, columns) ≈ whole rtol = 1e-14
    end
    @test CB.lies_dense(column_view)
    @test !CB.lies_dense(gaps)
    @test !CB.lies_dense(transpose(wide))
    @test pointer(CB.dense(Float64, column_view)) == pointer(column_view)
    @test CB.dense(Float64, transpose(wide)) == transpose(wide)
    @test CB.dense(Float32, wide) isa Matrix{Float32}
end
