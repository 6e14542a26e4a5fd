# Inputs that change, nodes that are held, states that are not at rest when all begins.

const TREATED_TIMES = [0.0, 0.3, 0.7, 2.0]

"""
Four conditions in three segments, one of which ends at a requested time: the first two have a node
held, the third begins late, the fourth in the steady state of a pre-treatment; two start elsewhere.
"""
function treated_problem(model; times=TREATED_TIMES, T=Float64, starts=[-0.5, 0.3, 1.1], seed=1)
    problem = random_problem(model; conditions=4, times=times, T=T, seed=seed)
    rng = MersenneTwister(seed + 100)
    n, s = length(KINDS), length(starts)
    u = randn(rng, T, n, s, 4)
    moves, initial = trues(n, s, 4), fill(T(NaN), n, 4)
    moves[2, :, 1] .= false
    initial[2, 1] = 0.7
    moves[6, :, 2] .= false
    initial[6, 2] = -0.4
    initial[1, 2] = 0.3
    s > 1 && (u[:, 1, 3] .= u[:, 2, 3]; moves[:, 1, 3] .= false)
    initial[4, 3] = -0.6
    moves[3, :, 4] .= false
    initial[3, 4] = 0.5
    given = (
        starts=starts, u=u, moves=Array{Bool}(moves), initial=initial,
        pretreatment=randn(rng, T, n, 4), pretreated=[false, false, false, true],
    )
    problem.parameters.W .*= T(0.5)
    # A common effect ends.
    model.common_effect && (u[:, end, 4] .= 0)
    return merge(problem, (given=given,))
end

treatment(problem, given=problem.given; options...) = CB.Treatment(
    problem.structure, given.starts, given.u; moves=given.moves, initial=given.initial,
    pretreatment=given.pretreatment, pretreated=given.pretreated,
    settle=CB.SteadyState(; tol=1e-14), options...,
)

treated(problem, solver::CB.FixedStep, source=treatment(problem); options...) = CB.Session(
    problem.structure, source, problem.response, problem.weight, problem.times; solver=solver,
    options...,
)
treated(problem, solver, source=treatment(problem); options...) = CB.adaptive_session(
    problem.structure, source, problem.response, problem.weight, problem.times, CB.Loss(), solver;
    options...,
)
treated(problem, solver::CB.SteadyState, source=treatment(problem)) = CB.SteadySession(
    problem.structure, source, problem.response, problem.weight, problem.times, CB.Loss(), solver
)

"The same once more, one condition after the other: states at the times, nodes × times × conditions."
function plain_course(problem, parameters, given, method, dt; times=problem.times)
    structure, (n, s, c) = problem.structure, size(given.u)
    clamped = structure.is_drug .& (structure.model.drugs == :clamped)
    states = zeros(n, length(times), c)
    for j in 1:c
        jumps = clamped .& isnan.(given.initial[:, j])
        dose(u) = structure.model.dose_saturation === nothing ? u : plain_dose(structure.model, u)
        function go(x, u, moves, span)
            steps = max(ceil(Int, span / dt - 1e-9), span > 0)
            f(x) = plain_rhs(structure, parameters, u, x) .* moves
            for _ in 1:steps
                x = textbook_step(method, f, x, span / steps)
            end
            return x
        end
        jump(x, u) = ifelse.(jumps, dose.(u), x)
        x = ifelse.(isnan.(given.initial[:, j]), 0.0, given.initial[:, j])
        if given.pretreated[j]
            u = given.pretreatment[:, j]
            x = go(jump(x, u), u, given.moves[:, s, j], 80.0)
        end
        for k in 1:s
            u, moves = given.u[:, k, j], given.moves[:, k, j]
            x, now = jump(x, u), given.starts[k]
            stop = k == s ? Inf : given.starts[k + 1]
            for (q, time) in enumerate(times)
                given.starts[k] - 1e-9 <= time < stop - 1e-9 || continue
                x = go(x, u, moves, max(time - now, 0.0))
                now = max(time, now)
                states[:, q, j] .= x
            end
            k < s && (x = go(x, u, moves, stop - now))
        end
    end
    return states
end

plain_loss(problem, states) =
    sum(abs2, (states - problem.response) .* problem.weight) / count(!iszero, problem.weight)

central(f, h=1e-5) = (f(h) - f(-h)) / 2h

"Hold a gradient to central differences of `loss(array)` in some directions; NaN is not moved."
function check_along(gradient, array, loss; tol)
    rng = MersenneTwister(7)
    for _ in 1:2
        direction = ifelse.(isnan.(array), 0.0, randn(rng, size(array)...))
        slope = central(h -> loss(array .+ h .* direction))
        @test dot(gradient, direction) ≈ slope rtol = tol atol = tol
    end
end

"Hold states and all derivatives of a treated problem to the plain integration with `method`."
function check_treated(problem, solver, method, dt; tol=1e-8, state_tol=1e-11)
    given, parameters = problem.given, problem.parameters
    plain(parameters, given) = plain_course(problem, parameters, given, method, dt)
    loss(parameters, given) = plain_loss(problem, plain(parameters, given))
    wanted = plain(parameters, given)
    source = treatment(problem)
    states = CB.trajectory(problem.structure, solver, parameters, source, problem.times)
    @test maximum(abs, states - wanted) < state_tol
    held = treated(problem, solver, source)
    inputs = CB.TreatmentGradient{Float64}(size(given.u)...)
    value, gradient = CB.value_and_gradient!(held, parameters; inputs=inputs)
    gradient = map(copy, gradient)
    @test value ≈ plain_loss(problem, wanted) rtol = 100state_tol
    @test CB.value(held, parameters) ≈ value rtol = 1e-13
    @test CB.value_and_gradient!(held, parameters)[2] == gradient
    for seed in 1:2
        direction = random_parameters(MersenneTwister(seed), Float64, problem.structure)
        slope = central(h -> loss(map((p, d) -> p .+ h .* d, parameters, direction), given))
        @test inner(gradient, direction) ≈ slope rtol = tol atol = tol
    end
    for (of, name) in ((inputs.perturbation, :u), (inputs.pretreatment, :pretreatment),
        (inputs.initial_state, :initial))

        # A dose has no derivative where a common effect sets in.
        name == :u && problem.structure.model.common_effect && continue
        moved(array) = merge(given, NamedTuple{(name,)}((array,)))
        check_along(of, given[name], array -> loss(parameters, moved(array)); tol=tol)
    end
    return held, value, gradient, inputs
end

@testset "treated, $(nameof(method)), $(values(options))" for (method, options) in (
    (CB.Euler, (envelope=:tanh,)), (CB.Heun, (envelope=:tanh,)),
    (CB.Midpoint, (envelope=:sigmoid, form=1)), (CB.RK4, (envelope=:hill, form=2, degree=2)),
    (CB.Heun, (form=:ji, dose_saturation=nothing)), (CB.Heun, SHIFTS[1]),
)
    for drugs in (:input, :clamped)
        problem = treated_problem(CB.Model(; drugs=drugs, options...))
        held, value, gradient, inputs = check_treated(problem, method(0.12), method, 0.12)
        # With tapes that hold a few steps, and with threads, some of the conditions in any order.
        for options in ((chunks=1, memory_limit=50_000), (chunks=3,))
            other = treated(problem, method(0.12); options...)
            again = CB.TreatmentGradient{Float64}(size(problem.given.u)...)
            v, g = CB.value_and_gradient!(other, problem.parameters; inputs=again)
            @test v ≈ value rtol = 1e-14
            @test all(relative(g[k], gradient[k]) < 1e-12 for k in keys(g))
            @test relative(again.perturbation, inputs.perturbation) < 1e-12
            @test relative(again.pretreatment, inputs.pretreatment) < 1e-12
        end
        rows = [4, 1, 4, 3]
        again = CB.TreatmentGradient{Float64}(size(problem.given.u)...)
        CB.value_and_gradient!(held, problem.parameters; rows=rows, inputs=again)
        entries(rows) = sum(count(!iszero, problem.weight[:, :, j]) for j in rows)
        share = entries(1:4) / entries(rows)
        @test again.perturbation ≈ share .* inputs.perturbation[:, :, rows] rtol = 1e-12
        @test again.pretreatment ≈ share .* inputs.pretreatment[:, rows] rtol = 1e-12
    end
end

@testset "treated, Tsit5" begin
    problem = treated_problem(CB.Model(; drugs=:clamped, SHIFTS[1]...))
    tight = CB.Tsit5(; rtol=1e-11, atol=1e-12)
    check_treated(problem, tight, CB.RK4, 0.02; tol=1e-7, state_tol=1e-8)
    # The first times alone, whose last one is a break.
    for prefix in 1:4, solver in (CB.Heun(0.1), CB.Tsit5())
        cut = merge(
            problem,
            (
                times=problem.times[1:prefix], response=problem.response[:, 1:prefix, :],
                weight=problem.weight[:, 1:prefix, :],
            ),
        )
        value, gradient = CB.value_and_gradient!(treated(cut, solver), problem.parameters)
        v, g = CB.value_and_gradient!(treated(problem, solver), problem.parameters; prefix=prefix)
        @test v === value
        @test all(g[k] == gradient[k] for k in keys(g))
    end
end

@testset "breaks are ends of steps" begin
    model = CB.Model(; form=2, drugs=:clamped)
    problem = treated_problem(model; times=[0.5, 1.9], starts=[-0.17, 0.31, 0.3137])
    exact = plain_course(problem, problem.parameters, problem.given, CB.RK4, 1e-3)
    source = treatment(problem)
    solved(solver) =
        CB.trajectory(problem.structure, solver, problem.parameters, source, problem.times)
    for (method, order) in zip(METHODS, ORDERS)
        coarse, fine = (maximum(abs, solved(method(dt)) - exact) for dt in (0.08, 0.04))
        @test order - 0.3 < log2(coarse / fine) < order + 0.8
    end
    # A pulse far shorter than a step, and strong.
    u = zeros(size(problem.given.u))
    u[:, 2, :] .= 300.0
    pulsed = merge(problem, (given=merge(problem.given, (u=u,)),))
    exact = plain_course(pulsed, problem.parameters, pulsed.given, CB.RK4, 1e-3)
    for solver in (CB.RK4(0.25), CB.Tsit5())
        states = CB.trajectory(
            problem.structure, solver, problem.parameters, treatment(pulsed), problem.times
        )
        @test maximum(abs, states - exact) < 0.05 * maximum(abs, exact)
    end
end

@testset "times within rounding of a break are at it" begin
    starts = [0.0, 0.1 + 0.2, 1.0]
    stops = CB.Stops([0.0, 0.3, 0.5, 1.0 - 1e-12], starts)
    @test stops.asked == [1, 0, 2, 3, 0, 4]
    @test stops.begins == [0, 2, 0, 0, 3, 0]
    @test stops.since ≈ [0, 0.3, 0, 0.2, 0.7, 0] atol = 1e-15
    @test CB.Grid([0.3, 0.5], 0.1, starts).steps_at == [3, 3, 5]
    # Not the first time asked for in its segment, and yet there.
    @test CB.Stops([0.3 - 1e-13, 0.3 + 1e-13, 2.0], starts).since[1:3] ≈ [0.3, 0, 0] atol = 1e-15
    problem = treated_problem(CB.Model(; drugs=:clamped); times=[0.3, 1.0], starts=[0.0, 0.3, 1.0])
    for solver in (CB.Heun(0.1), CB.Tsit5())
        on, beside = map((0.3, 0.1 + 0.2)) do break_
            given = merge(problem.given, (starts=[0.0, break_, 1.0 + 2e-16],))
            CB.value_and_gradient!(treated(problem, solver, treatment(problem, given)), problem.parameters)
        end
        @test on[1] ≈ beside[1] rtol = 1e-13
        @test relative(on[2].W, beside[2].W) < 1e-12
    end
end

@testset "a treatment that changes nothing has the bits of none" begin
    for (solver, times) in (
        (CB.Heun(0.1), [0.0, 0.4, 2.0]), (CB.RK4(0.1), [0.7]), (CB.Tsit5(), [0.0, 0.4, 2.0]),
        (CB.SteadyState(), [40.0]),
    ), drugs in (:input, :clamped)

        problem = random_problem(CB.Model(; form=2, drugs=drugs); times=times)
        u = problem.perturbation
        n, c = size(u)
        same = CB.Treatment(problem.structure, [0.0], reshape(u, n, 1, c))
        plain, other = CB.InputGradient{Float64}(n, c), CB.TreatmentGradient{Float64}(n, 1, c)
        v, g = CB.value_and_gradient!(
            treated(problem, solver, u), problem.parameters; inputs=plain
        )
        value, gradient = CB.value_and_gradient!(
            treated(problem, solver, same), problem.parameters; inputs=other
        )
        @test v === value
        @test all(g[k] == gradient[k] for k in keys(g))
        @test other.perturbation[:, 1, :] == plain.perturbation
        @test other.initial_state == plain.initial_state
    end
end

function treated_allocations(solver, options)
    problem = treated_problem(CB.Model(; drugs=:clamped, options...))
    given = merge(problem.given, (pretreatment=nothing, pretreated=nothing))
    held = treated(problem, solver, treatment(problem, given); chunks=1)
    inputs = CB.TreatmentGradient{Float64}(size(given.u)...)
    for _ in 1:2
        CB.value_and_gradient!(held, problem.parameters; inputs=inputs)
        CB.value(held, problem.parameters)
    end
    return (
        @allocated(CB.value_and_gradient!(held, problem.parameters; inputs=inputs)),
        @allocated(CB.value(held, problem.parameters)),
    )
end

@testset "steps through a treatment allocate nothing" begin
    for (loose, tight) in (
        (CB.Heun(0.1), CB.Heun(0.001)),
        (CB.Tsit5(; rtol=1e-3, atol=1e-3), CB.Tsit5(; rtol=1e-12, atol=1e-12)),
    ), options in ((form=2,), SHIFTS[1])
        treated_allocations(loose, options)
        few, many = (treated_allocations(solver, options) for solver in (loose, tight))
        @test many == few
        @test maximum(few) < 30_000
    end
end

@testset "treated, Float32 and BigFloat" begin
    problem = treated_problem(CB.Model(); T=Float32)
    soft = CB.SteadyState(; tol=1e-6)
    value, gradient = CB.value_and_gradient!(
        treated(problem, CB.RK4(0.1), treatment(problem; settle=soft)), problem.parameters
    )
    double(a) = a isa AbstractArray{Float32} ? Float64.(a) : a
    wide = merge(
        map(double, problem),
        (parameters=map(double, problem.parameters), given=map(double, problem.given)),
    )
    exact, exact_gradient = CB.value_and_gradient!(treated(wide, CB.RK4(0.1)), wide.parameters)
    @test value ≈ exact rtol = 1e-5
    @test all(relative(gradient[k], exact_gradient[k]) < 1e-3 for k in keys(gradient))
end

@testset "what a treatment cannot be is said" begin
    problem = treated_problem(CB.Model())
    given = problem.given
    wrong(; options...) = treatment(problem, merge(given, values(options)))
    @test_throws CB.SolverError wrong(starts=[0.1, 0.3, 1.1])
    @test_throws CB.SolverError wrong(starts=[0.0, 0.3, 0.3])
    @test_throws CB.SolverError wrong(starts=[0.0, 0.3])
    @test_throws CB.ModelError wrong(initial=zeros(3, 4))
    @test_throws CB.ModelError wrong(pretreated=[true])
    @test_throws CB.ModelError wrong(moves=trues(7, 2, 4))
    held = treated(problem, CB.Heun(0.1))
    n, s, c = size(given.u)
    for inputs in (CB.InputGradient{Float64}(n, c), CB.TreatmentGradient{Float64}(n, s + 1, c))
        @test_throws CB.ModelError CB.value_and_gradient!(held, problem.parameters; inputs=inputs)
    end
    @test_throws CB.SolverError treated(merge(problem, (times=[1.0],)), CB.SteadyState())
end

# ---- steady states

steady_treated(model; weights=1.0, options...) = begin
    problem = treated_problem(model; times=[60.0], options...)
    problem.parameters.W .*= weights
    problem
end

@testset "steady states of the last segment" begin
    for (model, weights) in (
        (CB.Model(; drugs=:clamped), 1.0), (CB.Model(; form=2, dose_saturation=nothing), 1.0),
        (CB.Model(; envelope=:sigmoid, drugs=:clamped), 4.0), (CB.Model(), 4.0),
        (CB.Model(; drugs=:clamped, SHIFTS[1]...), 1.0),
    )
        problem = steady_treated(model; weights=weights)
        source = treatment(problem)
        solver = CB.SteadyState(; tol=1e-13, integrator=CB.RK4(0.1))
        held = treated(problem, solver, source)
        inputs, other = (CB.TreatmentGradient{Float64}(size(problem.given.u)...) for _ in 1:2)
        value, gradient = CB.value_and_gradient!(held, problem.parameters; inputs=inputs)
        @test all(held.settled)
        v, g = CB.value_and_gradient!(
            treated(problem, CB.RK4(0.1), source), problem.parameters; inputs=other
        )
        @test value ≈ v rtol = 1e-7
        @test all(isapprox(gradient[k], g[k]; rtol=1e-5, atol=1e-8) for k in keys(g))
        @test inputs.perturbation ≈ other.perturbation rtol = 1e-5 atol = 1e-8
        # Nothing but what is held knows where it began.
        stays = .!problem.given.moves[:, end, :]
        @test inputs.initial_state[stays] ≈ other.initial_state[stays] rtol = 1e-5 atol = 1e-8
        @test all(iszero, inputs.pretreatment)
    end
end

@testset "the past decides between steady states" begin
    # A switch: where it goes is decided by a pulse, by the pre-treatment, by where it starts.
    base = small_network([2.0 -1.5; -1.5 2.0], 4)
    u = zeros(2, 3, 4)
    u[1, 2, 1], u[2, 2, 2] = 3.0, 3.0
    u[1, [1, 3], 1] .= u[2, [1, 3], 2] .= 0.01
    initial, before = fill(NaN, 2, 4), zeros(2, 4)
    before[:, 3] .= [3.0, 0.0]
    initial[:, 4] .= [-0.3, 0.2]
    given = (
        starts=[-1.0, 0.0, 3.0], u=u, moves=nothing, initial=initial, pretreatment=before,
        pretreated=[false, false, true, false],
    )
    problem = merge(base, (given=given,))
    held = treated(problem, CB.SteadyState())
    value, gradient = CB.value_and_gradient!(held, problem.parameters)
    @test all(held.settled)
    @test (held.states[1, :] .> 0) == [true, false, true, false]
    source = treatment(problem)
    states = CB.trajectory(base.structure, CB.RK4(0.05), base.parameters, source, [60.0])
    @test held.states ≈ states[:, 1, :] atol = 1e-8
end

@testset "what does not settle is integrated, before and after" begin
    # An oscillator, which a held node brings to rest.
    base = small_network([1.5 -3.0 0.0; 3.0 1.5 0.0; 0.2 0.3 0.0], 3; spread=0.1, horizon=5.0)
    moves, initial = trues(3, 2, 3), fill(NaN, 3, 3)
    moves[1, :, 3] .= false
    initial[1, 3] = 0.4
    given = (
        starts=[0.0, 1.0], u=0.2 .* randn(MersenneTwister(3), 3, 2, 3), moves=Array{Bool}(moves),
        initial=initial, pretreatment=0.1 .* ones(3, 3), pretreated=[true, false, true],
    )
    problem = merge(base, (given=given,))
    by_steps = CB.SteadyState(; tol=1e-13, integrator=CB.RK4(0.1))
    source = treatment(problem; settle=by_steps)
    held = treated(problem, CB.RK4(0.1), source)
    inputs = CB.TreatmentGradient{Float64}(3, 2, 3)
    _, gradient = CB.value_and_gradient!(held, problem.parameters; inputs=inputs)
    gradient = map(copy, gradient)
    @test source.before.settled == [false, false, true]
    loss(parameters, given=given) = CB.value(
        treated(problem, CB.RK4(0.1), treatment(problem, given; settle=by_steps)), parameters
    )
    direction = random_parameters(MersenneTwister(1), Float64, problem.structure)
    # How long it is integrated follows from the decay.
    fill!(direction.alpha, 0)
    slope = central(h -> loss(map((p, d) -> p .+ h .* d, problem.parameters, direction)), 1e-6)
    @test inner(gradient, direction) ≈ slope rtol = 1e-5
    check_along(
        inputs.pretreatment, given.pretreatment,
        u -> loss(problem.parameters, merge(given, (pretreatment=u,))); tol=1e-5,
    )
    # And with data of steady states.
    settling = treated(problem, by_steps, source)
    _, gradient = CB.value_and_gradient!(settling, problem.parameters; rows=[2, 1])
    @test settling.settled == [false, false, false]
    states = CB.trajectory(base.structure, CB.RK4(0.1), base.parameters, source, [5.0])
    @test settling.states[:, 1:2] ≈ states[:, 1, 1:2] rtol = 1e-12
    _, g = CB.value_and_gradient!(held, problem.parameters; rows=[2, 1])
    @test all(gradient[k] ≈ g[k] for k in keys(g))
    CB.value(settling, problem.parameters)
    @test settling.settled == [false, false, true]
end
