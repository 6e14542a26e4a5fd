steady(problem; options...) = CB.SteadySession(
    problem.structure, problem.perturbation, problem.response, problem.weight, problem.times,
    get(options, :loss, CB.Loss()), get(options, :solver, CB.SteadyState()),
)

"Nodes that are all perturbed, over a network given by its weights."
function small_network(W, conditions; spread=1.0, horizon=60.0, seed=1)
    rng = MersenneTwister(seed)
    n = size(W, 1)
    model = CB.Model(; dose_saturation=nothing)
    structure = CB.Structure(model, fill(false, n), trues(n, n))
    return (
        structure=structure,
        parameters=(W=W, alpha=ones(n), epsilon=ones(n)),
        perturbation=spread .* randn(rng, n, conditions),
        response=randn(rng, n, 1, conditions),
        weight=ones(n, 1, conditions),
        times=[horizon],
    )
end

long_run(problem, time) = CB.trajectory(
    problem.structure, CB.RK4(0.02), problem.parameters, problem.perturbation, [time]
)[:, 1, :]

@testset "steady states agree with a long integration" begin
    for (q, envelope) in enumerate((:tanh, :polynomial, :hill, :linear, :clip, :sigmoid)),
        form in (0, 1, 2, :ji, :ji_code), shift in ((;), SHIFTS...)

        # Every form with tanh, every envelope with a form: more would only be compiling.
        q == 1 || form == (0, 2)[q % 2 + 1] || continue
        isempty(shift) || form == 0 || continue
        drugs = isodd(q) ? :input : :clamped
        model = CB.Model(;
            envelope=envelope, form=form, drugs=drugs, degree=form == 2 ? 2 : 1, shift...
        )
        problem = random_problem(model; times=[60.0], conditions=3)
        problem.parameters.W .*= 0.4
        held = steady(problem)
        value, gradient = CB.value_and_gradient!(held, problem.parameters)
        @test all(held.settled)
        @test maximum(held.residual) < 1e-9
        @test held.states ≈ long_run(problem, 60.0) atol = 1e-8
        integrated = session(problem; solver=CB.RK4(0.05))
        v, g = CB.value_and_gradient!(integrated, problem.parameters)
        @test value ≈ v rtol = 1e-8
        # :ji has the same steady states for every α, so that both gradients are rounding there.
        @test all(isapprox(gradient[k], g[k]; rtol=1e-6, atol=1e-9) for k in keys(g))
    end
end

@testset "a switch goes where its trajectory goes" begin
    problem = small_network([2.0 -1.5; -1.5 2.0], 60; spread=0.4)
    states, residual, settled = CB.steady_states(
        problem.structure, CB.SteadyState(), problem.parameters, problem.perturbation, 60.0
    )
    wanted = long_run(problem, 200.0)
    @test count(>(0.5), wanted[1, :]) > 10
    @test count(<(-0.5), wanted[1, :]) > 10
    @test count(settled) > 50
    @test states[:, settled] ≈ wanted[:, settled] atol = 1e-8
    # On the divide it stays for ever, but that is not stable.
    still = merge(problem, (perturbation=zeros(2, 3),))
    _, _, settled = CB.steady_states(
        still.structure, CB.SteadyState(), still.parameters, still.perturbation, 60.0
    )
    @test !any(settled)
end

@testset "what does not settle is integrated" begin
    solver = CB.SteadyState(; integrator=CB.RK4(0.05))
    # A strong push saturates the oscillator, and it comes to rest.
    for (spread, some) in ((0.1, false), (4.0, true))
        problem = small_network([1.5 -3.0; 3.0 1.5], 12; spread=spread)
        held = steady(problem; solver=solver)
        value, gradient = CB.value_and_gradient!(held, problem.parameters)
        @test any(held.settled) == some
        @test !all(held.settled)
        v, g = CB.value_and_gradient!(
            session(problem; solver=CB.RK4(0.05)), problem.parameters
        )
        @test value ≈ v rtol = 1e-6
        @test all(relative(gradient[k], g[k]) < 1e-4 for k in keys(g))
    end
    # Nor does a node without decay.
    problem = small_network([0.0 0.3; 0.3 0.0], 3; horizon=5.0)
    undamped = merge(problem, (parameters=merge(problem.parameters, (alpha=[1.0, 0.0],)),))
    held = steady(undamped)
    CB.value(held, undamped.parameters)
    @test !any(held.settled)
    @test held.states ≈ long_run(undamped, 5.0) atol = 1e-4
end

@testset "contracting networks have one steady state" begin
    rng = MersenneTwister(3)
    for seed in 1:6
        problem = small_network(randn(rng, 6, 6), 3; seed=seed)
        W = copy(problem.parameters.W)
        held = steady(problem)
        function contracting(scale)
            problem.parameters.W .= scale .* W
            CB.load!(held.network, held.lowering, problem.parameters)
            shared = CB.Gains(held.network.coefficients)
            return CB.contracting(CB.Proofs(held.network, shared))
        end
        scales = range(0.02, stop=2, length=60)
        proven = contracting.(scales)
        @test proven[1]
        @test !proven[end]
        @test contracting(scales[findlast(proven)])
        ends = map(1:5) do _
            held.states .= 3 .* randn(rng, 6, 3)
            CB.value(held, problem.parameters)
            copy(held.states)
        end
        @test all(e -> isapprox(e, ends[1]; atol=1e-7), ends)
    end
end

@testset "rows, losses, Newton and Float32 of steady states" begin
    for loss in (:mse, :mae, :huber)
        problem = random_problem(CB.Model(); times=[60.0], conditions=8)
        problem.parameters.W .*= 0.5
        held = steady(problem; loss=CB.Loss(loss))
        integrated = session(problem; solver=CB.RK4(0.05), loss=CB.Loss(loss))
        for rows in (nothing, [5, 1, 5], repeat(1:8, 5))
            value, gradient = CB.value_and_gradient!(held, problem.parameters; rows=rows)
            v, g = CB.value_and_gradient!(integrated, problem.parameters; rows=rows)
            @test value ≈ v rtol = 1e-8
            @test CB.value(held, problem.parameters; rows=rows) ≈ value rtol = 1e-12
            @test all(relative(gradient[k], g[k]) < 1e-6 for k in keys(g))
        end
    end
    # Near a bifurcation convergence is slow.
    problem = small_network([0.97 0.0; 0.5 0.9], 5; spread=0.05)
    held = steady(problem; solver=CB.SteadyState(; max_iterations=2))
    CB.value(held, problem.parameters)
    @test all(held.settled)
    @test held.states ≈ long_run(problem, 1000.0) atol = 1e-8
    single = random_problem(CB.Model(); times=[60.0], T=Float32)
    single.parameters.W .*= 0.5f0
    held = steady(single)
    value, gradient = CB.value_and_gradient!(held, single.parameters)
    @test all(held.settled)
    @test eltype(gradient.W) == Float32
    @test isfinite(value)
end

@testset "iterations of steady states allocate nothing" begin
    for options in ((form=2,), SHIFTS[1])
        problem = random_problem(CB.Model(; options...); times=[60.0], conditions=20)
        problem.parameters.W .*= 0.5
        held = steady(problem)
        CB.value_and_gradient!(held, problem.parameters)
        function allocations(tol)
            cold = steady(problem; solver=CB.SteadyState(; tol=tol))
            CB.value_and_gradient!(cold, problem.parameters)
            cold.states .= 0
            cold.adjoints .= 0
            return @allocated CB.value_and_gradient!(cold, problem.parameters)
        end
        allocations(1e-3)
        @test allocations(1e-12) == allocations(1e-3)
    end
end

@testset "bad steady-state options" begin
    @test_throws CB.SolverError CB.SteadyState(; tol=0)
    @test_throws CB.SolverError CB.SteadyState(; lead=-1)
    problem = random_problem(CB.Model(); times=[1.0, 2.0])
    @test_throws CB.SolverError steady(problem)
    problem = random_problem(CB.Model(); times=[1.0])
    @test_throws CB.ModelError CB.value(steady(problem), problem.parameters; rows=[9])
end

@testset "no conditions have no steady states, and clamped drugs set no pace" begin
    for drugs in (:input, :clamped), T in (Float64, Float32)
        structure = CB.Structure(CB.Model(; drugs=drugs), [:protein, :protein, :drug])
        parameters = (W=zeros(T, 3, 3), alpha=fill(T(50), 3), epsilon=fill(T(50), 3))
        none = zeros(T, 3, 0)
        @test map(size, CB.steady_states(structure, CB.SteadyState(), parameters, none, 10.0)) ==
              ((3, 0), (0,), (0,))
        for solver in (CB.Heun(0.01), CB.Tsit5())
            @test size(CB.trajectory(structure, solver, parameters, none, [1.0, 2.0])) == (3, 2, 0)
        end
        network = CB.Network{T}(CB.Lowering(structure))
        CB.load!(network, CB.Lowering(structure), parameters)
        @test all(==(50), CB.Gains(network.coefficients).decay)
    end
end
