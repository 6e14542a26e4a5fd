both(problem; rows=nothing, options...) = CB.value_and_gradient!(
    session(problem; solver=CB.Heun(0.1), options...), problem.parameters; rows=rows
)

@testset "some of the conditions" begin
    problem = random_problem(CB.Model(); conditions=40, times=[0.5, 1.0])
    rows = [31, 2, 2, 40, 17]
    picked = merge(
        problem,
        (
            perturbation=problem.perturbation[:, rows],
            response=problem.response[:, :, rows],
            weight=problem.weight[:, :, rows],
        ),
    )
    value, gradient = both(picked)
    for chunks in (nothing, 2, 3)
        v, g = both(problem; rows=rows, chunks=chunks)
        @test v ≈ value rtol = 1e-13
        @test all(relative(g[k], gradient[k]) < 1e-12 for k in keys(g))
    end
    held = session(problem; solver=CB.Heun(0.1))
    @test CB.value(held, problem.parameters; rows=Int32.(rows)) ≈ value rtol = 1e-13
    @test CB.value(held, problem.parameters; rows=Int[]) == 0
    # No measured entry at all.
    none = merge(problem, (weight=zero(problem.weight),))
    v, g = both(none)
    @test v == 0
    @test all(all(iszero, g[k]) for k in keys(g))
end

@testset "the first times alone" begin
    times = [0.5, 1.0, 3.0]
    for model in (CB.Model(), CB.Model(; form=2, envelope=:hill)), limit in (2^30, 200_000)
        problem = random_problem(model; conditions=20, times=times)
        held = session(problem; solver=CB.RK4(0.05), memory_limit=limit, chunks=2)
        for prefix in 1:3
            cut = merge(
                problem,
                (
                    times=times[1:prefix],
                    response=problem.response[:, 1:prefix, :],
                    weight=problem.weight[:, 1:prefix, :],
                ),
            )
            value, gradient = CB.value_and_gradient!(
                session(cut; solver=CB.RK4(0.05), chunks=2), problem.parameters
            )
            v, g = CB.value_and_gradient!(held, problem.parameters; prefix=prefix)
            @test v === value
            @test all(g[k] == gradient[k] for k in keys(g))
            tsit5(p) = CB.adaptive_session(
                p.structure, p.perturbation, p.response, p.weight, p.times, CB.Loss(), CB.Tsit5()
            )
            value, gradient = CB.value_and_gradient!(tsit5(cut), problem.parameters)
            v, g = CB.value_and_gradient!(tsit5(problem), problem.parameters; prefix=prefix)
            @test v === value
            @test all(g[k] == gradient[k] for k in keys(g))
        end
        @test_throws CB.SolverError CB.value(held, problem.parameters; prefix=4)
    end
end

@testset "blocks of any width" begin
    # 57 nodes: blocks of 42 conditions at most, so that 89 make several, the last one narrower.
    kinds = [i <= 6 ? :drug : i <= 9 ? :phenotype : :protein for i in 1:57]
    problem = random_problem(CB.Model(); kinds=kinds, conditions=89)
    @test session(problem; solver=CB.Heun(0.1), chunks=1).chunks[1].forward.width < 89
    whole = sum(1:89) do j
        entries = count(!iszero, problem.weight[:, :, j])
        both(problem; rows=[j])[1] * entries
    end
    @test both(problem)[1] ≈ whole / count(!iszero, problem.weight) rtol = 1e-12
    @test gradient_right(CB.Model(), CB.Heun(0.5), CB.Loss())
end

"Bytes that a session holds beside its data."
beside_data(session) = Base.summarysize((session.network, session.chunks, session.gradient))

nsteps(session) = CB.nsteps(session.grid)

@testset "checkpoints give the same bits" begin
    for options in ((envelope=:tanh,), (envelope=:hill, form=1), SHIFTS[1]), chunks in (1, 3)
        model = CB.Model(; options...)
        problem = random_problem(model; conditions=20, times=[0.0, 0.35, 1.0, 5.0])
        solver = CB.RK4(0.05)
        free = session(problem; solver=solver, chunks=chunks)
        value, gradient = CB.value_and_gradient!(free, problem.parameters)
        @test free.segment == 100
        for limit in (300_000, 150_000)
            tight = session(problem; solver=solver, chunks=chunks, memory_limit=limit)
            @test tight.segment < 100
            v, g = CB.value_and_gradient!(tight, problem.parameters)
            @test v === value
            @test all(g[k] == gradient[k] for k in keys(g))
            @test beside_data(tight) <= limit
        end
    end
end

@testset "Float32" begin
    problem = random_problem(CB.Model(; form=2); T=Float32, conditions=30, times=[0.5, 2.0])
    value, gradient = both(problem)
    double = map(a -> a isa AbstractArray{Float32} ? Float64.(a) : a, problem)
    double = merge(double, (parameters=map(p -> Float64.(p), problem.parameters),))
    exact, exact_gradient = both(double)
    @test value isa Float64
    @test value ≈ exact rtol = 1e-5
    for k in keys(gradient)
        @test eltype(gradient[k]) == Float32
        @test relative(gradient[k], exact_gradient[k]) < 1e-4
    end
end

@testset "arrays are used where they lie" begin
    problem = random_problem(CB.Model(); conditions=10)
    wide = hcat(problem.perturbation, zero(problem.perturbation))
    u = view(wide, :, 1:10)
    held = session(merge(problem, (perturbation=u,)); solver=CB.Heun(0.1))
    @test pointer(held.perturbation) == pointer(wide)
    @test pointer(held.response) == pointer(problem.response)
    before = CB.value(held, problem.parameters)
    wide .*= 2
    @test CB.value(held, problem.parameters) != before
    # Steady-state data may lack the dimension of times.
    flat = merge(problem, (response=problem.response[:, 1, :], weight=problem.weight[:, 1, :]))
    @test both(flat)[1] == both(problem)[1]

    # The gradient may be written to arrays of the caller.
    place = map(p -> fill(NaN, size(p)), problem.parameters)
    value, gradient = CB.value_and_gradient!(place, held, problem.parameters)
    @test gradient === place
    @test all(all(isfinite, place[k]) for k in keys(place))
    @test place.W == CB.value_and_gradient!(held, problem.parameters)[2].W
end

function session_allocations(steps; kinds=KINDS, model=CB.Model(; form=2), options...)
    problem = random_problem(model; kinds=kinds, conditions=30)
    held = session(problem; solver=CB.Heun(2.0 / steps), options...)
    CB.value_and_gradient!(held, problem.parameters)
    CB.value(held, problem.parameters)
    return (
        @allocated(CB.value_and_gradient!(held, problem.parameters)),
        @allocated(CB.value(held, problem.parameters)),
    )
end

@testset "allocations do not grow with the steps" begin
    session_allocations(10; chunks=1)
    few, many = session_allocations(10; chunks=1), session_allocations(1000; chunks=1)
    @test many == few
    @test maximum(few) < 3000
    shifted = CB.Model(; SHIFTS[1]...)
    session_allocations(10; model=shifted, chunks=1)
    @test ==(map(s -> session_allocations(s; model=shifted, chunks=1), (10, 1000))...)
    @test session_allocations(1000; chunks=1, memory_limit=2^20) == few
    @test maximum(session_allocations(1000; chunks=3)) < 10_000
end

@testset "large networks" begin
    # Their outer products wait for several steps; the last group of a sweep is not full.
    kinds = [i <= 12 ? :drug : i <= 20 ? :phenotype : :protein for i in 1:150]
    problem = random_problem(CB.Model(); kinds=kinds, conditions=30, times=[0.3, 1.7])
    parameters = merge(problem.parameters, (W=problem.parameters.W ./ 10,))
    free = session(problem; solver=CB.Heun(0.1), chunks=1)
    @test free.chunks[1].backward.group > 1
    @test nsteps(free) % free.chunks[1].backward.group != 0
    value, gradient = CB.value_and_gradient!(free, parameters)
    direction = random_parameters(MersenneTwister(3), Float64, problem.structure)
    central = slope_along(free, parameters, direction)
    @test isapprox(inner(gradient, direction), central; rtol=1e-6)
    @test maximum(session_allocations(30; chunks=1, kinds=kinds)) < 3000

    limit = beside_data(free) * 3 ÷ 4
    tight = session(problem; solver=CB.Heun(0.1), chunks=1, memory_limit=limit)
    v, g = CB.value_and_gradient!(tight, parameters)
    @test tight.segment < nsteps(tight)
    @test v === value
    @test all(g[k] == gradient[k] for k in keys(g))
    @test beside_data(tight) <= limit
end
