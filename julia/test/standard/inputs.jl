# Gradients with respect to the perturbation and the initial state.

input_session(p, solver::CB.FixedStep) = session(p; solver=solver)
input_session(p, solver::CB.Tsit5) = CB.adaptive_session(
    p.structure, p.perturbation, p.response, p.weight, p.times, CB.Loss(), solver
)
input_session(p, solver::CB.SteadyState) = CB.SteadySession(
    p.structure, p.perturbation, p.response, p.weight, p.times, CB.Loss(), solver
)

"Largest difference, relative to the largest, of ∂L/∂u of the conditions `rows` to central differences."
function inputs_off(problem, solver, rows; h=1e-5)
    held = input_session(problem, solver)
    n = size(problem.perturbation, 1)
    inputs = CB.InputGradient{Float64}(n, length(rows))
    CB.value_and_gradient!(held, problem.parameters; rows=rows, inputs=inputs)
    plain = map(copy, CB.value_and_gradient!(held, problem.parameters; rows=rows)[2])
    again = CB.value_and_gradient!(held, problem.parameters; rows=rows, inputs=inputs)[2]
    @test all(relative(again[k], plain[k]) < 1e-9 for k in keys(plain))
    wanted = zero(inputs.perturbation)
    u = problem.perturbation
    for (q, row) in enumerate(rows), i in 1:n
        before = u[i, row]
        values = map((h, -h)) do step
            u[i, row] = before + step
            CB.value(input_session(problem, solver), problem.parameters; rows=rows)
        end
        u[i, row] = before
        wanted[i, q] = (values[1] - values[2]) / 2h
    end
    return maximum(abs, inputs.perturbation - wanted) / maximum(abs, wanted), inputs
end

const STEADY_TIGHT = CB.SteadyState(; tol=1e-13)

@testset "perturbation, $(nameof(typeof(solver))), envelope $envelope" for (solver, envelope) in (
    (CB.Heun(0.2), :tanh), (CB.RK4(0.4), :hill), (CB.Euler(0.1), :sigmoid),
    (CB.Tsit5(; rtol=1e-9, atol=1e-11), :tanh), (STEADY_TIGHT, :tanh), (STEADY_TIGHT, :sigmoid),
)
    kinds = [((form=form,) for form in CB.FORMS)..., SHIFTS[1]]
    for kind in kinds, drugs in (:input, :clamped), κ in (nothing, 0.5)
        model = CB.Model(; kind..., envelope=envelope, drugs=drugs, dose_saturation=κ)
        times = solver isa CB.SteadyState ? [40.0] : [0.0, 0.5, 1.3]
        problem = random_problem(model; times=times)
        @test inputs_off(problem, solver, [4, 1, 3])[1] < 1e-6
    end
end

@testset "initial state" begin
    # Heun's steps written out, from x₀ on.
    for form in (0, 2), times in ([0.7], [0.0, 0.7])
        problem = random_problem(CB.Model(; form=form, envelope=:tanh); times=times, conditions=3)
        _, inputs = inputs_off(problem, CB.Heun(0.1), 1:3)
        kernel = CB.Kernel(problem.structure, problem.parameters, problem.perturbation)
        squares(x, k) = sum(abs2, (x - problem.response[:, k, :]) .* problem.weight[:, k, :])
        function loss(x0)
            x, f, g = copy(x0), similar(x0), similar(x0)
            for _ in 1:7
                CB.rhs!(f, x, kernel)
                CB.rhs!(g, x + 0.1f, kernel)
                x += 0.05 * (f + g)
            end
            total = squares(x, length(times)) + (times[1] == 0 ? squares(x0, 1) : 0.0)
            return total / count(!iszero, problem.weight)
        end
        for i in eachindex(inputs.initial_state)
            shifted(s) = (x = zeros(size(problem.perturbation)); x[i] = s; x)
            central = (loss(shifted(1e-5)) - loss(shifted(-1e-5))) / 2e-5
            @test inputs.initial_state[i] ≈ central rtol = 1e-6 atol = 1e-9
        end
    end
    problem = random_problem(CB.Model(; drugs=:clamped); times=[40.0])
    _, inputs = inputs_off(problem, STEADY_TIGHT, 1:5)
    clamped = problem.structure.is_drug
    @test all(iszero, inputs.initial_state[.!clamped, :])
    @test any(!iszero, inputs.initial_state[clamped, :])
end

@testset "inputs of what does not settle are integrated" begin
    # A cycle of three that oscillates; a strong push brings it to rest.
    problem = random_problem(CB.Model(; dose_saturation=nothing); times=[8.0], conditions=6)
    W = zero(problem.parameters.W)
    W[2, 1] = W[3, 2] = 8.0
    W[1, 3] = -8.0
    problem.perturbation[:, 4:6] .*= 20
    problem = merge(problem, (parameters=merge(problem.parameters, (W=W,)),))
    solver = CB.SteadyState(; tol=1e-13, integrator=CB.RK4(0.1))
    @test inputs_off(problem, solver, [5, 2, 6, 1])[1] < 1e-6
    held = input_session(problem, solver)
    CB.value(held, problem.parameters)
    @test 0 < count(held.settled) < 6
end

@testset "inputs with chunks, checkpoints and large networks" begin
    kinds = [i <= 12 ? :drug : i <= 20 ? :phenotype : :protein for i in 1:150]
    problem = random_problem(CB.Model(); kinds=kinds, conditions=30, times=[0.3, 1.7])
    parameters = merge(problem.parameters, (W=problem.parameters.W ./ 10,))
    function inputs_of(; options...)
        held = session(problem; solver=CB.Heun(0.1), options...)
        inputs = CB.InputGradient{Float64}(150, 30)
        CB.value_and_gradient!(held, parameters; inputs=inputs)
        return held, inputs
    end
    free, wanted = inputs_of(; chunks=1)
    tight, checkpointed = inputs_of(; chunks=1, memory_limit=beside_data(free) * 3 ÷ 4)
    @test tight.segment < nsteps(tight)
    _, chunked = inputs_of(; chunks=3)
    for other in (checkpointed, chunked)
        @test relative(other.perturbation, wanted.perturbation) < 1e-12
        @test relative(other.initial_state, wanted.initial_state) < 1e-12
    end
    @test_throws CB.ModelError CB.value_and_gradient!(
        session(problem; solver=CB.Heun(0.1)), parameters; rows=[1, 2],
        inputs=CB.InputGradient{Float64}(150, 30),
    )
end

function input_allocations(steps)
    problem = random_problem(CB.Model(; form=2); conditions=30)
    held = session(problem; solver=CB.Heun(2.0 / steps), chunks=1)
    inputs = CB.InputGradient{Float64}(length(KINDS), 30)
    CB.value_and_gradient!(held, problem.parameters; inputs=inputs)
    return @allocated CB.value_and_gradient!(held, problem.parameters; inputs=inputs)
end

@testset "inputs allocate nothing in the steps" begin
    input_allocations(10)
    few, many = input_allocations(10), input_allocations(1000)
    @test many == few
    @test few < 4000
end
