"Proofs about dx/dt = tanh(Bx + p) − x."
function proofs(B)
    problem = small_network(Matrix{Float64}(B), 2)
    held = steady(problem)
    CB.load!(held.network, held.lowering, problem.parameters)
    return CB.Proofs(held.network, CB.Gains(held.network.coefficients))
end

@testset "slopes are within the bounds that the proofs take" begin
    rng = MersenneTwister(1)
    envelopes = (
        CB.Tanh(), CB.Linear(), CB.Clip(), CB.Sigmoid(), CB.Polynomial{3}(), CB.Hill{2}(),
    )
    for φ in envelopes, _ in 1:50
        z, radius = 2 * randn(rng), -log(rand(rng))
        low, high = CB.slopes_within(φ, z, radius)
        inside = [
            CB.slope(φ, y, CB.value(φ, y)) for y in range(z - radius, stop=z + radius, length=51)
        ]
        @test low - 1e-12 <= minimum(inside)
        @test maximum(inside) <= high + 1e-12
    end
end

@testset "contracting beyond a norm of one" begin
    A = randn(MersenneTwister(2), 8, 8)
    skew = (A - A') / opnorm(A - A')
    @test CB.contracting(proofs(1.9 * skew))
    @test !CB.contracting(proofs(2.1 * skew))
    # Of symmetric ones what counts is the largest eigenvalue: there rest becomes unstable at 1.
    @test !CB.contracting(proofs(1.01 * (A + A') / maximum(eigvals(Symmetric(A + A')))))
    problem = small_network(1.9 * skew, 9)
    held = steady(problem)
    CB.value(held, problem.parameters)
    @test all(held.settled)
    @test held.states ≈ long_run(problem, 100.0) atol = 1e-8
end

@testset "a trajectory in the ball of a root ends there" begin
    proven, elsewhere = 0, 0
    for seed in 1:20, scale in (1.5, 4.0)
        rng = MersenneTwister(seed)
        n, c = rand(rng, 2:5), 30
        B, p = scale * randn(rng, n, n), randn(rng, n)
        G(x) = tanh.(B * x .+ p)
        # Roots of all kinds, by Newton's method from anywhere.
        roots = map(1:c) do _
            x = 2 * randn(rng, n)
            for _ in 1:30
                d = 1 .- G(x) .^ 2
                x = x - (I - d .* B) \ (x - G(x))
                all(isfinite, x) || (x = zeros(n))
            end
            x
        end
        x = reduce(hcat, roots)
        found = [maximum(abs, G(x[:, j]) - x[:, j]) < 1e-10 for j in 1:c]
        states = x .+ randn(rng, 1, c) .* randn(rng, n, c) ./ 2
        good = CB.in_ball(proofs(B), x, B * x .+ p, states, found)
        y = copy(states)
        for _ in 1:3000
            f(y) = tanh.(B * y .+ p) .- y
            k1 = f(y)
            k2 = f(y .+ 0.025 .* k1)
            k3 = f(y .+ 0.025 .* k2)
            k4 = f(y .+ 0.05 .* k3)
            y .+= (0.05 / 6) .* (k1 .+ 2 .* k2 .+ 2 .* k3 .+ k4)
        end
        wrong = [maximum(abs, y[:, j] - x[:, j]) > 1e-6 for j in 1:c]
        @test !any(good .& wrong)
        @test !any(good .& .!found)
        proven += count(good)
        elsewhere += count(wrong)
    end
    @test proven > 50
    @test elsewhere > 50
end

@testset "nothing is proven of what is not a number" begin
    nan = fill(NaN, 3, 3)
    p = CB.Proofs(CB.Tanh(), ones(3), nan, nan, ones(3), nan, NaN, NaN)
    @test !CB.contracting(p)
    @test !any(CB.in_ball(p, zeros(3, 2), zeros(3, 2), ones(3, 2), trues(2)))
end

@testset "large networks are proven together or not at all" begin
    rng = MersenneTwister(4)
    n = CB.NODES_FOR_EACH + 4
    B = randn(rng, n, n) ./ sqrt(n)
    together, apart = proofs(0.62 * B), proofs(2 * B)
    @test together.bound > 1
    @test CB.contracting(together)
    @test !CB.contracting(apart)
    x = zeros(n)
    @test !CB.near_and_stable(apart, x, x, x, x)
    small = proofs(B[1:9, 1:9])
    @test CB.near_and_stable(small, zeros(9), zeros(9), zeros(9), zeros(9))
end
