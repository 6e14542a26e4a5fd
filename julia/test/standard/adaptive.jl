# Tsit5: its solution, its steps, and the exact derivative of the steps it made.

function adaptive(problem, solver=CB.Tsit5(); loss=CB.Loss(), options...)
    return CB.adaptive_session(
        problem.structure, problem.perturbation, problem.response, problem.weight,
        problem.times, loss, solver; options...,
    )
end

"The states at the requested times by given steps, the tableau as in the textbooks."
function states_by_steps(problem, parameters, sizes, steps_at)
    kernel = CB.Kernel(problem.structure, parameters, problem.perturbation)
    f(x) = CB.rhs!(similar(x), x, kernel)
    x, states = CB.initial_state(kernel), zero(problem.response)
    for step in 0:length(sizes)
        k = findfirst(==(step), steps_at)
        k === nothing || (states[:, k, :] .= x)
        step == length(sizes) && return states
        h, stages = sizes[step + 1], []
        for weights in CB.TSIT5_A
            push!(stages, f(foldl(+, [h * w * k for (w, k) in zip(weights, stages)]; init=x)))
        end
        x += sum(h * w * k for (w, k) in zip(CB.TSIT5_B, stages))
    end
end

"Central difference, in a direction, of the loss of the steps that a session has made."
function slope_of_steps(problem, held, loss, direction; h=1e-5)
    sizes, steps_at = copy(held.run.sizes), copy(held.run.steps_at)
    function at(s)
        parameters = map((p, d) -> p .+ s .* d, problem.parameters, direction)
        r = (states_by_steps(problem, parameters, sizes, steps_at) - problem.response)
        return sum(x -> CB.penalty(loss, x), r .* problem.weight) / count(!iszero, problem.weight)
    end
    return (at(h) - at(-h)) / 2h
end

@testset "Tsit5, envelope $(values(options))" for (q, options) in enumerate(ENVELOPE_OPTIONS)
    loss = CB.Loss(CB.LOSSES[q % 3 + 1]; delta=0.4)
    # Every form with one envelope, every envelope with two of them and with shifts.
    some = [((form=form,) for form in (q == 1 ? CB.FORMS : (0, 2)))..., SHIFTS[1]]
    for kind in some, (degree, drugs) in ((1, :input), (2, :clamped))
        model = CB.Model(; kind..., degree=degree, drugs=drugs, options...)
        problem = random_problem(model; times=[0.0, 0.4, 3.0])
        held = adaptive(problem; loss=loss)
        value, gradient = CB.value_and_gradient!(held, problem.parameters)
        run = held.run
        states = states_by_steps(problem, problem.parameters, run.sizes, run.steps_at)
        @test solve(problem, CB.Tsit5()) ≈ states rtol = 1e-12
        @test CB.value(held, problem.parameters) ≈ value rtol = 1e-14
        CB.value_and_gradient!(held, problem.parameters)
        for seed in 1:2
            direction = random_parameters(MersenneTwister(seed), Float64, problem.structure)
            central = slope_of_steps(problem, held, loss, direction)
            @test inner(gradient, direction) ≈ central rtol = 2e-6 atol = 1e-8
        end
    end
end

@testset "Tsit5 holds its tolerances" begin
    problem = random_problem(CB.Model(); times=[0.7, 5.0])
    exact = solve(problem, CB.RK4(1e-3))
    for rtol in (1e-3, 1e-5, 1e-8)
        states = solve(problem, CB.Tsit5(; rtol=rtol, atol=rtol / 100))
        @test maximum(abs.(states - exact)) < 10rtol
    end
    steps(rtol) = (
        held = adaptive(problem, CB.Tsit5(; rtol=rtol, atol=rtol));
        CB.value(held, problem.parameters);
        length(held.run.sizes)
    )
    # Of order five: a tolerance a thousand times tighter takes about four times the steps.
    @test 2.5 < steps(1e-10) / steps(1e-7) < 5.5
end

@testset "Tsit5, gradients where conditions have settled" begin
    # Nothing moves any more for most of the horizon: error control alone would let the step
    # grow beyond the region of stability, and the derivative of the steps with it.
    model = CB.Model(; dose_saturation=nothing)
    problem = random_problem(model; times=[60.0], conditions=6)
    foreach(i -> problem.parameters.W[i] *= 0.5, eachindex(problem.parameters.W))
    _, loose = CB.value_and_gradient!(adaptive(problem), problem.parameters)
    fine = session(problem; solver=CB.RK4(0.01))
    _, exact = CB.value_and_gradient!(fine, problem.parameters)
    @test all(relative(loose[k], exact[k]) < 0.005 for k in keys(exact))
end

@testset "Tsit5, some of the conditions, blocks and threads" begin
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
    value, gradient = CB.value_and_gradient!(adaptive(picked), problem.parameters)
    whole, _ = CB.value_and_gradient!(adaptive(problem), problem.parameters)
    held = adaptive(problem)
    for _ in 1:2
        v, g = CB.value_and_gradient!(held, problem.parameters; rows=rows)
        @test v ≈ value rtol = 1e-12
        @test all(relative(g[k], gradient[k]) < 1e-11 for k in keys(g))
        @test CB.value(held, problem.parameters) ≈ whole rtol = 1e-13
        # More of them than the problem has.
        many = repeat(1:40, 3)
        @test CB.value(held, problem.parameters; rows=many) ≈ whole rtol = 1e-12
    end
    @test CB.value(held, problem.parameters; rows=Int[]) == 0
    @test all(iszero, CB.value_and_gradient!(held, problem.parameters; rows=Int[])[2].W)
    for chunks in (2, 3, 40)
        split = adaptive(problem; chunks=chunks)
        v, g = CB.value_and_gradient!(split, problem.parameters)
        g = map(copy, g)
        @test v ≈ whole rtol = 1e-13
        again, same = CB.value_and_gradient!(split, problem.parameters)
        @test again === v
        @test all(same[k] == g[k] for k in keys(g))
    end
    # A second thread waits after every step: small problems are not worth it.
    @test CB.threads_for(7, 40, nothing) == 1
    @test CB.threads_for(99, 89, 4) == 4
    # 57 nodes: blocks of 42 conditions at most.
    wide = random_problem(CB.Model(); kinds=fill(:protein, 57), conditions=89)
    held = adaptive(wide; chunks=1)
    v, g = CB.value_and_gradient!(held, wide.parameters)
    @test held.run.used > 1
    r = (solve(wide, CB.Tsit5()) - wide.response) .* wide.weight
    @test v ≈ sum(abs2, r) / count(!iszero, wide.weight) rtol = 1e-12
end

@testset "Tsit5 in Float32" begin
    problem = random_problem(CB.Model(; form=2); T=Float32, conditions=30, times=[0.5, 2.0])
    value, gradient = CB.value_and_gradient!(adaptive(problem), problem.parameters)
    double = map(a -> a isa AbstractArray{Float32} ? Float64.(a) : a, problem)
    double = merge(double, (parameters=map(p -> Float64.(p), problem.parameters),))
    exact, exact_gradient = CB.value_and_gradient!(adaptive(double), double.parameters)
    @test value ≈ exact rtol = 1e-4
    for k in keys(gradient)
        @test eltype(gradient[k]) == Float32
        @test relative(gradient[k], exact_gradient[k]) < 1e-3
    end
end

@testset "Tsit5, what cannot be done is said" begin
    @test_throws CB.SolverError CB.Tsit5(; rtol=0)
    @test_throws CB.SolverError CB.Tsit5(; atol=Inf)
    @test_throws CB.SolverError CB.Tsit5(; max_steps=0)
    problem = random_problem(CB.Model())
    few = CB.Tsit5(; max_steps=3)
    @test_throws CB.DivergenceError solve(problem, few)
    linear = random_problem(CB.Model(; envelope=:linear); times=[3000.0])
    linear.parameters.W .*= 10
    @test_throws CB.DivergenceError solve(linear, CB.Tsit5())
    @test_throws CB.DivergenceError CB.value(adaptive(linear), linear.parameters)
    held = adaptive(problem)
    @test_throws CB.ModelError CB.value(held, problem.parameters; rows=[6])
    # A session goes on after an error.
    broken = map(p -> fill(NaN, size(p)), problem.parameters)
    before = CB.value(held, problem.parameters)
    @test_throws CB.DivergenceError CB.value(held, broken)
    @test CB.value(held, problem.parameters) == before
end

function tsit5_allocations(rtol, options)
    problem = random_problem(CB.Model(; options...); conditions=30)
    held = adaptive(problem, CB.Tsit5(; rtol=rtol, atol=rtol); chunks=1)
    CB.value_and_gradient!(held, problem.parameters)
    CB.value(held, problem.parameters)
    return (
        @allocated(CB.value_and_gradient!(held, problem.parameters)),
        @allocated(CB.value(held, problem.parameters)), length(held.run.sizes),
    )
end

@testset "Tsit5, allocations do not grow with the steps" for options in ((form=2,), SHIFTS[1])
    tsit5_allocations(1e-3, options)
    few, many = (tsit5_allocations(rtol, options) for rtol in (1e-3, 1e-12))
    @test many[3] > 10 * few[3]
    @test many[1:2] == few[1:2]
    @test maximum(few[1:2]) < 20_000
end
