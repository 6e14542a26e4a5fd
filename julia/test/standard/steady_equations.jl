# Steady states of generated equations; that of equations.jl, which settles, and one that conserves a sum.

function steady_session(kind, solver=CB.SteadyState(); c=5, horizon=200.0, held=false)
    rng = MersenneTwister(4)
    u, p = rand(rng, 4, 1, c), [2.0, 2.5] .* (0.8 .+ 0.4 .* rand(rng, 2, c))
    y, w = randn(rng, 4, 1, c), rand(rng, 4, 1, c)
    w[rand(rng, 4, 1, c) .< 0.3] .= 0
    initial, moves = fill(NaN, 4, c), nothing
    if held
        moves = fill(0x01, 4, 1, c)
        moves[4, 1, 1] = 0x00
        initial[4, 1], initial[1, 2] = 0.3, 0.7
    end
    return CB.equation_session(
        generated(kind), solver, [horizon], nothing, u, moves, initial, p, y, w, CB.Loss()
    )
end

function steady_gradient(session; rows=nothing)
    held = session.session
    c = rows === nothing ? length(held.every_row) : length(rows)
    slopes = zeros(2, c), zeros(1, c, 1), zeros(4, c)
    return CB.value_and_gradient!(slopes..., session; rows=rows), slopes...
end

function by_differences(session, array, e, h=1e-6)
    at = array[e]
    array[e] = at + h
    above = CB.value(session, nothing)
    array[e] = at - h
    below = CB.value(session, nothing)
    array[e] = at
    return (above - below) / 2h
end

@testset "steady states of generated equations, $kind" for kind in ("straight", "loops")
    session = steady_session(kind)
    states = zeros(4, 1, 5)
    CB.solve_states!(states, session)
    @test all(session.settled)
    for j in 1:5
        x, p = states[[1, 4], 1, j], session.parameters[:, j]
        @test maximum(abs, plain(x, p, session.session.u[2, 1, j])) < 1e-12
        @test states[3, 1, j] ≈ p[2] * x[1] + x[2]^2
    end
    some = zeros(4, 1, 2)
    session.parameters[:, 1:2] .= session.parameters[:, [4, 2]]
    CB.solve_states!(some, session, [4, 2])
    @test some ≈ states[:, :, [4, 2]] rtol = 1e-12
end

@testset "implicit gradients of generated equations, $kind" for kind in ("straight", "loops"),
    held in (false, true)

    session = steady_session(kind; held=held)
    value, of_p, of_u, of_start = steady_gradient(session)
    @test all(session.settled) && all(session.ended)
    @test CB.value(session, nothing) === value
    for e in eachindex(of_p)
        @test of_p[e] ≈ by_differences(session, session.parameters, e) rtol = 1e-5 atol = 1e-8
    end
    for j in 1:5
        u = session.session.u
        wanted = by_differences(session, u, LinearIndices(u)[2, 1, j])
        @test of_u[1, j, 1] ≈ wanted rtol = 1e-5 atol = 1e-8
    end
    # Only a state that stays knows where it began.
    if held
        wanted = by_differences(session, session.initial, 4)
        @test of_start[4, 1] ≈ wanted rtol = 1e-5
        of_start[4, 1] = 0
    end
    @test maximum(abs, of_start[[1, 4], :]) < 1e-12
    @test CB.value(session, nothing; rows=[4, 2]) != value
    @test CB.value(session, nothing; rows=Int[]) == 0
end

@testset "what does not settle by the horizon is integrated to it" for integrator in (
    CB.RK4(0.01), CB.Tsit5(1e-9, 1e-11, 100_000)
)
    steady = steady_session("straight", CB.SteadyState(; integrator=integrator); horizon=0.005)
    found = steady_gradient(steady)
    @test !any(steady.settled) && !any(steady.ended)
    inner = steady.session
    plain_ = CB.EquationSession(
        inner.run.equation, integrator, [0.005], nothing, inner.u, nothing, copy(steady.initial),
        copy(steady.parameters), inner.y, inner.weight, CB.Loss(),
    )
    foreach((got, due) -> (@test got ≈ due rtol = 1e-12), found, gradient_of(plain_))
end

@testset "Jacobians of steady states, horizon $horizon" for horizon in (0.05, 200.0), slopes in (false, true)
    session = steady_session("straight"; horizon=horizon, held=true)
    slopes || (session.session.run.equation.slopes = CB.NO_PROGRAM)
    measured = session.session.weight .> 0
    rows = zeros(Int, size(measured))
    rows[measured] .= 1:count(measured)
    r, J = zeros(count(measured)), zeros(2, count(measured))
    CB.residuals_and_jacobian!(r, J, session, rows, 1:2)
    value, of_p, _ = steady_gradient(session)
    @test all(session.settled) == (horizon == 200)
    @test sum(abs2, r) / length(r) ≈ value rtol = 1e-12
    @test 2 .* (J * r) ./ length(r) ≈ vec(sum(of_p; dims=2)) rtol = 1e-10
end

"A program as pycellbox prints it, of lines for one condition."
function written(lines, sizes)
    arrays = ("x", "u", "p", "a", "o1", "o2", "o3")
    return CB.compiled("""
        const P = Ptr{Float64}
        function program!(from, to, x, u, p, a, o1, o2, o3, w)
            @inbounds for j in from:to
                $(join(("i$a = (j - 1) * $(get(sizes, a, 0))" for a in arrays), "\n"))
                $lines
            end
            return nothing
        end
        entry(from::Int, to::Int, x::P, u::P, p::P, a::P, o1::P, o2::P, o3::P, w::P) =
            program!(from, to, At(x), At(u), At(p), At(a), At(o1), At(o2), At(o3), At(w))
        const ADDRESS = @cfunction(entry, Cvoid, (Int, Int, P, P, P, P, P, P, P, P))
        Program(ADDRESS, program!, 0)
        """)
end

"""
da/dt = V(b − ka), db/dt = W(ka − b), from a given start: a/V + b/W is conserved, which is known
where V and W are no parameters.
"""
function exchange(V, W; fitted=false)
    equation = CB.Equation{Float64}(2, [1, 2], Int[], Int[], 2)
    V, W = fitted ? ("p[ip + 2]", W) : (V, W)
    rate = "(x[ix + 2] - p[ip + 1] * x[ix + 1])"
    equation.value = written(
        "o1[io1 + 1] = $V * $rate; o1[io1 + 2] = -$W * $rate", Dict("x" => 2, "p" => 2, "o1" => 2)
    )
    sizes = Dict("x" => 2, "p" => 2, "a" => 2, "o1" => 2, "o3" => 2)
    flow = "($V * a[ia + 1] - $W * a[ia + 2])"
    of_x = "o1[io1 + 1] = -p[ip + 1] * $flow; o1[io1 + 2] = $flow"
    equation.transposed = written(of_x, sizes)
    of_V = fitted ? "; o3[io3 + 2] += a[ia + 1] * $rate" : ""
    equation.pull_back = written(of_x * "; o3[io3 + 1] -= $flow * x[ix + 1]" * of_V, sizes)
    equation.start = written("o1[io1 + 1] = 1.0; o1[io1 + 2] = 0.5", sizes)
    equation.start_back = written("", sizes)
    return equation
end

@testset "sums that are conserved keep their value, and know where they began" begin
    p, initial = [2.0 0.5; 3.0 3.0], [1.0 2.0; 0.25 NaN]
    y, w = zeros(2, 1, 2), reshape([1.0, 2.0, 1.5, 0.5], 2, 1, 2)
    made(fitted) = CB.EquationSteady(
        exchange(3.0, 2.0; fitted=fitted), CB.SteadyState(), [100.0], nothing, zeros(2, 1, 2), nothing,
        copy(initial), copy(p), y, w, CB.Loss(),
    )
    session, states = made(false), zeros(2, 1, 2)
    CB.solve_states!(states, session)
    @test all(session.settled)
    for j in 1:2
        a0, b0, k = initial[1, j], j == 1 ? 0.25 : 0.5, p[1, j]
        a = (a0 / 3 + b0 / 2) / (1 / 3 + k / 2)
        @test states[:, 1, j] ≈ [a, k * a] rtol = 1e-12
    end
    of_p, of_u, of_start = zeros(2, 2), zeros(0, 2, 1), zeros(2, 2)
    CB.value_and_gradient!(of_p, of_u, of_start, session)
    for (array, slope) in ((session.parameters, of_p), (session.initial, of_start)), e in eachindex(array)
        isnan(array[e]) && continue
        @test slope[e] ≈ by_differences(session, array, e) rtol = 1e-5 atol = 1e-9
    end
    session = made(true)
    CB.solve_states!(states, session)
    @test !any(session.settled)
end

@testset "linear systems by elimination" for T in (Float64, Float32), n in (1, 2, 5, 20)
    rng = MersenneTwister(n)
    A, B = randn(rng, T, n, n), randn(rng, T, n, 3)
    n > 1 && (A[1, 1] = 0)
    rows, right = copy(transpose(A)), vec(copy(transpose(B)))
    @test CB.solve_rows!(rows, right, 3)
    @test transpose(reshape(right, 3, n)) ≈ A \ B rtol = 1000 * eps(T)
    @test !CB.solve_rows!(zeros(T, n, n), vec(copy(transpose(B))), 3)
    @test !CB.solve_rows!(fill(T(NaN), n, n), vec(copy(transpose(B))), 3)
end

@testset "Newton's method allocates nothing, nor does a longer way there" begin
    session = steady_session("straight")
    steady_gradient(session)
    find, run = session.finders[1], session.session.run
    function newton(j)
        fill!(find.x, 0.5)
        return CB.root!(find, run, session.projections[j], session.tol, session.sizes[j], j, 1)
    end
    GC.@preserve session begin
        newton(1)
        @test (@allocated newton(1)) <= 64
    end
    back = session.session.backward[1]
    GC.@preserve session back begin
        CB.implicit!(session, back, 1, 1)
        @test (@allocated CB.implicit!(session, back, 1, 1)) == 0
    end
    function allocated(tolerance)
        one_ = steady_session("straight", CB.SteadyState(; integrator=CB.Tsit5(tolerance, tolerance, 100_000)))
        steady_gradient(one_)
        return @allocated steady_gradient(one_)
    end
    allocated(1e-3)
    @test allocated(1e-10) <= allocated(1e-3) + 2000
end
