# The discrete adjoint is the exact derivative of the computed trajectory, whatever the step.

"Central difference of a session's value in a direction."
function slope_along(session, parameters, direction; h=1e-5, rows=nothing)
    shifted(s) = map((p, d) -> p .+ s .* d, parameters, direction)
    above = CB.value(session, shifted(h); rows=rows)
    return (above - CB.value(session, shifted(-h); rows=rows)) / 2h
end

function gradient_right(model, solver, loss; times=[0.0, 0.4, 1.5], seed=1)
    problem = random_problem(model; times=times, seed=seed)
    held = session(problem; solver=solver, loss=loss)
    parameters = problem.parameters
    _, gradient = CB.value_and_gradient!(held, parameters)
    rng = MersenneTwister(seed + 10)
    return all(1:3) do _
        direction = random_parameters(rng, Float64, problem.structure)
        central = slope_along(held, parameters, direction)
        isapprox(inner(gradient, direction), central; rtol=2e-6, atol=1e-8)
    end
end

# Every combination would take minutes to compile: each envelope has a method and a loss here,
# and the methods and losses have their turn below.
@testset "adjoint, envelope $(values(options))" for (q, options) in enumerate(ENVELOPE_OPTIONS)
    solver = METHODS[q % 4 + 1](0.3)
    loss = CB.Loss(CB.LOSSES[q % 3 + 1]; delta=0.4)
    for model in variants(; options...)
        @test gradient_right(model, solver, loss)
    end
end

@testset "adjoint of $(nameof(method))" for method in METHODS
    for form in CB.FORMS
        @test gradient_right(CB.Model(; form=form), method(0.25), CB.Loss())
    end
    @test gradient_right(CB.Model(; envelope=:hill), method(0.25), CB.Loss())
    @test gradient_right(CB.Model(; SHIFTS[1]...), method(0.25), CB.Loss())
end

@testset "adjoint of $loss" for loss in CB.LOSSES
    @test gradient_right(CB.Model(), CB.Heun(0.25), CB.Loss(loss; delta=0.4))
end

@testset "every entry" begin
    problem = random_problem(CB.Model(; form=2, degree=2); times=[0.5, 1.0])
    held = session(problem; solver=CB.RK4(0.3))
    _, gradient = CB.value_and_gradient!(held, problem.parameters)
    for name in keys(gradient), entry in CartesianIndices(gradient[name])
        direction = CB.zero_parameters(Float64, problem.structure)
        direction[name][entry] = 1
        if name == :W && !problem.structure.mask[entry]
            @test gradient.W[entry] == 0
        else
            central = slope_along(held, problem.parameters, direction)
            @test gradient[name][entry] ≈ central atol = 1e-8
        end
    end
end

@testset "loss by its definition" begin
    problem = random_problem(CB.Model(); times=[0.5, 1.0])
    states = solve(problem, CB.Heun(0.1))
    r = (states - problem.response) .* problem.weight
    entries = count(!iszero, problem.weight)
    huber(r, δ) = abs(r) <= δ ? r^2 / 2 : δ * (abs(r) - δ / 2)
    for (loss, total) in (
        (CB.Loss(), sum(abs2, r)),
        (CB.Loss("mae"), sum(abs, r)),
        (CB.Loss(:huber; delta=0.7), sum(huber.(r, 0.7))),
    )
        held = session(problem; solver=CB.Heun(0.1), loss=loss)
        @test CB.value(held, problem.parameters) ≈ total / entries rtol = 1e-13
        @test CB.value_and_gradient!(held, problem.parameters)[1] ≈ total / entries rtol = 1e-13
    end
end
