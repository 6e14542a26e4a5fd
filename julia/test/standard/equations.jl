# Generated equations: the texts in generated.txt are what pycellbox prints (tests/support/julia_text.py)
# of
#     da/dt = k·dose/(1 + bⁿ) − a,   db/dt = k·tanh(a) − b/2,   sum = n·a + b²,
#     a(0) = k/10,   b(0) = 0.4 .

const GENERATED = Dict(
    let (name, text) = split(part, '\n'; limit=2)
        String(name) => String(text)
    end for part in split(read(joinpath(@__DIR__, "generated.txt"), String), "#### "; keepempty=false)
)

"Nodes: a, dose, sum, b."
function generated(kind)
    equation = CB.Equation{Float64}(4, [1, 4], [3], [2], 2)
    for name in (:value, :transposed, :pull_back, :slopes, :start, :start_back, :observing, :observing_back)
        text = get(GENERATED, "$kind $name", "")
        text == "" || setfield!(equation, name, CB.compiled(text))
    end
    return equation
end

function plain(x, p, u)
    a, b = x
    return [p[1] * u / (1 + b^p[2]) - a, p[1] * tanh(a) - 0.5 * b]
end

"A problem of so many conditions, treated or not."
function generated_session(
    kind, solver; c=5, times=[0.0, 0.5, 2.0], treated=false, slopes=true, parameters=nothing
)
    rng, s = MersenneTwister(4), treated ? 2 : 1
    equation = generated(kind)
    slopes || (equation.slopes = CB.NO_PROGRAM)
    u = rand(rng, 4, s, c)
    moves = treated ? fill(0x01, 4, s, c) : nothing
    initial = fill(NaN, 4, c)
    if treated
        moves[4, 2, 1] = 0x00
        initial[1, 2] = 0.7
    end
    p = parameters === nothing ? [2.0, 2.5] .* (0.8 .+ 0.4 .* rand(rng, 2, c)) : parameters
    y, w = randn(rng, 4, length(times), c), rand(rng, 4, length(times), c)
    w[rand(rng, 4, length(times), c) .< 0.3] .= 0
    starts = treated ? [-0.3, 0.4] : nothing
    return CB.EquationSession(equation, solver, times, starts, u, moves, initial, p, y, w, CB.Loss())
end

function gradient_of(session)
    c, s = length(session.every_row), size(session.u, 2)
    of_p, of_u, of_start = zeros(2, c), zeros(1, c, s), zeros(4, c)
    value = CB.value_and_gradient!(of_p, of_u, of_start, session)
    return value, of_p, of_u, of_start
end

const OF_EQUATIONS = (CB.Heun(0.1), CB.RK4(0.1), CB.Tsit5(1e-10, 1e-12, 100_000))

@testset "trajectories of generated equations, $kind" for kind in ("straight", "loops")
    session = generated_session(kind, CB.Tsit5(1e-10, 1e-12, 100_000); c=1)
    states = zeros(4, 3, 1)
    CB.solve_states!(states, session)
    p, u = session.run.p[:, 1], session.u[2, 1, 1]
    x, h = [0.1 * p[1], 0.4], 1e-4
    @test states[[1, 4], 1, 1] ≈ x
    for _ in 1:20_000
        k1 = plain(x, p, u)
        k2 = plain(x .+ h / 2 .* k1, p, u)
        k3 = plain(x .+ h / 2 .* k2, p, u)
        k4 = plain(x .+ h .* k3, p, u)
        x = x .+ h / 6 .* (k1 .+ 2 .* k2 .+ 2 .* k3 .+ k4)
    end
    @test states[[1, 4], 3, 1] ≈ x rtol = 1e-8
    @test states[3, 3, 1] ≈ p[2] * x[1] + x[2]^2 rtol = 1e-8
end

@testset "gradients of generated equations, $kind" for kind in ("straight", "loops"),
    treated in (false, true), solver in OF_EQUATIONS

    session = generated_session(kind, solver; treated=treated)
    value, of_p, of_u, of_start = gradient_of(session)
    @test CB.value(session, nothing) === value
    for (array, slope) in ((session.run.p, of_p), (session.u, of_u), (session.initial, of_start))
        for e in eachindex(array)
            at, h = array[e], 1e-5
            isnan(at) && continue
            array === session.u && CartesianIndices(array)[e][1] != 2 && continue
            array[e] = at + h
            above = CB.value(session, nothing)
            array[e] = at - h
            below = CB.value(session, nothing)
            array[e] = at
            place = e
            if array === session.u
                _, s, j = Tuple(CartesianIndices(array)[e])
                place = LinearIndices(slope)[1, j, s]
            end
            @test slope[place] ≈ (above - below) / 2h rtol = 1e-5 atol = 1e-8
        end
    end
    rows = [4, 2]
    some = CB.value(session, nothing; rows=rows, prefix=2)
    @test isfinite(some) && some != value
end

@testset "Jacobians of generated equations, $kind" for kind in ("straight", "loops"),
    treated in (false, true), slopes in (false, true)

    session = generated_session(kind, CB.RK4(0.1); treated=treated, slopes=slopes)
    measured = session.weight .> 0
    rows = zeros(Int, size(measured))
    rows[measured] .= 1:count(measured)
    r, J = zeros(count(measured)), zeros(2, count(measured))
    CB.residuals_and_jacobian!(r, J, session, rows, 1:2)
    value, of_p, _ = gradient_of(session)
    @test sum(abs2, r) / length(r) ≈ value rtol = 1e-12
    @test 2 .* (J * r) ./ length(r) ≈ vec(sum(of_p; dims=2)) rtol = 1e-10
end

@testset "no rows have no loss, whatever was evaluated before" for solver in OF_EQUATIONS
    session, none = generated_session("straight", solver; treated=true), Int[]
    gradient_of(session)
    arrays = zeros(2, 0), zeros(1, 0, 2), zeros(4, 0)
    @test CB.value_and_gradient!(arrays..., session; rows=none) == 0
    @test CB.value(session, nothing; rows=none) == 0
    value, slope = gradient_of(session)
    fresh, wanted = gradient_of(generated_session("straight", solver; treated=true))
    @test value == fresh
    @test slope == wanted
end

@testset "the same text is compiled once" begin
    @test generated("straight").value === generated("straight").value
end

@testset "generated equations allocate nothing on the way" begin
    for kind in ("straight", "loops"), treated in (false, true)
        function allocated(dt, times)
            session = generated_session(kind, CB.RK4(dt); treated=treated, times=times, c=3)
            c, s = 3, size(session.u, 2)
            of_p, of_u, of_start = zeros(2, c), zeros(1, c, s), zeros(4, c)
            run() = CB.value_and_gradient!(of_p, of_u, of_start, session)
            run()
            return @allocated run()
        end
        allocated(0.1, [2.0])
        few, many = allocated(0.1, [2.0]), allocated(0.001, [1.0, 2.0])
        # Steps and times; the threads' tasks are what there may be.
        @test many <= few + 2000
    end
    session = generated_session("straight", CB.Tsit5(1e-3, 1e-6, 100_000); c=1, times=[1.0, 2.0])
    gradient_of(session)
    tight = generated_session("straight", CB.Tsit5(1e-11, 1e-13, 100_000); c=1, times=[1.0, 2.0])
    gradient_of(tight)
    loose_bytes, tight_bytes = @allocated(gradient_of(session)), @allocated(gradient_of(tight))
    @test tight_bytes <= loose_bytes
end

@testset "what has no value is an error, and which equation it was is known" begin
    session = generated_session(
        "straight", CB.Tsit5(); c=2, parameters=[2.0 2.0; 2.5 2.5], times=[3.0]
    )
    session.initial[4, 2] = -1.0  # a power of what is negative
    @test_throws CB.DivergenceError CB.value(session, nothing)
    @test session.run.fault == 2
    @test session.run.fault_state[2] == -1
    CB.value(session, nothing; rows=Int[])
    @test session.run.fault == 0
end
