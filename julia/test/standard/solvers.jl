const METHODS = (CB.Euler, CB.Midpoint, CB.Heun, CB.RK4)
const ORDERS = (1, 2, 2, 4)

function solve(problem, solver; times=problem.times, options...)
    return CB.trajectory(
        problem.structure, solver, problem.parameters, problem.perturbation, times; options...
    )
end

"One step as in the textbooks."
function textbook_step(method, f, x, h)
    k1 = f(x)
    method == CB.Euler && return x + h * k1
    method == CB.Midpoint && return x + h * f(x + h / 2 * k1)
    method == CB.Heun && return x + h / 2 * (k1 + f(x + h * k1))
    k2 = f(x + h / 2 * k1)
    k3 = f(x + h / 2 * k2)
    k4 = f(x + h * k3)
    return x + h / 6 * (k1 + 2k2 + 2k3 + k4)
end

@testset "grid of steps" begin
    # A hundred steps, not a hundred and one, though 10.0/0.1 rounds up elsewhere.
    for k in 1:300
        @test CB.nsteps(CB.Grid([k * 0.1], 0.1)) == k
    end
    grid = CB.Grid([0.0, 0.25, 1.0], 0.1)
    @test grid.steps_at == [0, 3, 11]
    @test grid.h[2:3] ≈ [0.25 / 3, 0.75 / 8]
    @test CB.Grid([0.0], 0.1).steps_at == [0]
    @test CB.Grid([0.01], 0.1).h == [0.01]
end

@testset "steps of $(nameof(method))" for method in METHODS
    # Every envelope with one method, every method with an envelope of either kind.
    some = method == CB.Heun ? ENVELOPE_OPTIONS : [(envelope=:tanh,), (envelope=:hill,)]
    for options in some, (form, drugs) in ((0, :input), (2, :clamped), (:ji, :input))
        model = CB.Model(; form=form, drugs=drugs, options...)
        problem = random_problem(model; times=[0.0, 0.5, 1.7])
        states = solve(problem, method(0.2))
        u = problem.perturbation
        kernel = CB.Kernel(problem.structure, problem.parameters, u)
        f(x) = CB.rhs!(similar(x), x, kernel)
        x = CB.initial_state(kernel)
        @test states[:, 1, :] == x
        # Both intervals take whole numbers of equal steps: 3 and 6.
        for (k, count, h) in ((2, 3, 0.5 / 3), (3, 6, 0.2))
            for _ in 1:count
                x = textbook_step(method, f, x, h)
            end
            @test states[:, k, :] ≈ x rtol = 1e-12
        end
    end
end

@testset "order of $(nameof(method))" for (method, order) in zip(METHODS, ORDERS)
    problem = random_problem(CB.Model())
    exact = solve(problem, CB.RK4(1e-3))
    errors = [maximum(abs.(solve(problem, method(2.0 / s)) - exact)) for s in (16, 32, 64)]
    for (coarse, fine) in zip(errors, errors[2:end])
        @test order - 0.2 < log2(coarse / fine) < order + 0.7
    end
end

@testset "conditions do not touch each other" begin
    problem = random_problem(CB.Model(); conditions=31)
    together = solve(problem, CB.Heun(0.1))
    for chunks in (1, 2, 5, 31, 100)
        @test solve(problem, CB.Heun(0.1); chunks=chunks) ≈ together rtol = 1e-13
    end
    one = solve(merge(problem, (perturbation=problem.perturbation[:, 7:7],)), CB.Heun(0.1))
    @test one[:, :, 1] ≈ together[:, :, 7] rtol = 1e-13
end

@testset "numbers and memory" begin
    problem = random_problem(CB.Model(; form=2); T=Float32)
    single = solve(problem, CB.RK4(0.1))
    @test single isa Array{Float32,3}
    precise = map(p -> big.(p), problem.parameters)
    exact = merge(problem, (parameters=precise, perturbation=big.(problem.perturbation)))
    @test eltype(solve(exact, CB.RK4(0.1))) == BigFloat
    @test relative(single, Float64.(solve(exact, CB.RK4(0.1)))) < 1e-5

    # W row by row in memory, as NumPy has it; a dictionary of parameters; a result in place.
    W = transpose(collect(transpose(problem.parameters.W)))
    others = Dict{String,Any}(String(k) => v for (k, v) in pairs(problem.parameters))
    others["W"] = W
    place = zeros(Float32, 3, size(problem.perturbation)...)
    states = PermutedDimsArray(place, (2, 1, 3))
    CB.trajectory!(
        states, problem.structure, CB.RK4(0.1), others, problem.perturbation, [0.5, 1.0, 2.0]
    )
    @test states[:, 3, :] ≈ solve(problem, CB.RK4(0.1); times=[0.5, 1.0, 2.0])[:, 3, :]
end
