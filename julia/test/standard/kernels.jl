# Every variant: the right-hand side against the equations of the papers, its products against
# central differences in random directions.

inner(a::NamedTuple, b::NamedTuple) = sum(dot(a[k], b[k]) for k in keys(a))

function check_kernel(model)
    problem = random_problem(model; conditions=3)
    structure, parameters, u = problem.structure, problem.parameters, problem.perturbation
    kernel = CB.Kernel(structure, parameters, u)
    rng = MersenneTwister(2)
    x, λ, δ = (randn(rng, size(u)...) for _ in 1:3)
    dx = similar(x)
    CB.rhs!(dx, x, kernel)
    plain = hcat([plain_rhs(structure, parameters, u[:, j], x[:, j]) for j in axes(u, 2)]...)
    rhs_right = relative(dx, plain) < 1e-12

    h = 1e-6
    f(x) = CB.rhs!(similar(x), x, kernel)
    out = CB.vjp_state!(similar(x), λ, x, kernel)
    central = dot(λ, f(x + h * δ) - f(x - h * δ)) / 2h
    state_right = isapprox(dot(out, δ), central; rtol=1e-6, atol=1e-7)

    gradient = CB.zero_parameters(Float64, structure)
    CB.vjp_parameters!(gradient, λ, x, kernel)
    direction = random_parameters(rng, Float64, structure)
    shifted(s) = map((p, d) -> p .+ s .* d, parameters, direction)
    g(s) = copy(CB.rhs!(similar(x), x, CB.load!(kernel, shifted(s))))
    central = dot(λ, g(h) - g(-h)) / 2h
    parameters_right = isapprox(inner(gradient, direction), central; rtol=1e-6, atol=1e-7)
    masked = all(iszero, gradient.W[.!structure.mask])

    clamped = model.drugs == :clamped
    dose = [plain_dose(model, d) for d in u]
    initial = clamped ? structure.is_drug .* dose : zero(u)
    return rhs_right, state_right, parameters_right, masked, CB.initial_state(kernel) ≈ initial
end

@testset "kernel, envelope $(values(options))" for options in ENVELOPE_OPTIONS
    for model in variants(; options...)
        @test check_kernel(model) == (true, true, true, true, true)
    end
end

function kernel_allocations(kernel, x, λ, gradient)
    dx = similar(x)
    CB.rhs!(dx, x, kernel)
    CB.vjp_state!(dx, λ, x, kernel)
    CB.vjp_parameters!(gradient, λ, x, kernel)
    return (
        @allocated(CB.rhs!(dx, x, kernel)),
        @allocated(CB.vjp_state!(dx, λ, x, kernel)),
        @allocated(CB.vjp_parameters!(gradient, λ, x, kernel)),
    )
end

@testset "kernels allocate nothing, $T, $(options.envelope)" for T in (Float64, Float32),
    options in ENVELOPE_OPTIONS

    kinds = [((form=form,) for form in CB.FORMS)..., SHIFTS[1]]
    for kind in kinds, drugs in (:input, :clamped)
        problem = random_problem(CB.Model(; kind..., drugs=drugs, options...); T=T)
        kernel = CB.Kernel(problem.structure, problem.parameters, problem.perturbation)
        gradient = CB.zero_parameters(T, problem.structure)
        x = problem.response[:, 1, :]
        @test kernel_allocations(kernel, x, copy(x), gradient) == (0, 0, 0)
    end
end

@testset "flat parameters" begin
    for (model, names) in (
        (CB.Model(; form=2), (:W, :alpha, :epsilon, :psi)),
        (CB.Model(; SHIFTS[1]...), (:W, :alpha, :epsilon, :b, :common)),
    )
        problem = random_problem(model)
        structure, parameters = problem.structure, problem.parameters
        vector = CB.flatten(structure, parameters)
        again = CB.unflatten(structure, vector)
        @test keys(again) == names
        @test all(again[k] == parameters[k] for k in keys(parameters))
        # A gradient may be written into views of a vector; a state may be a vector.
        kernel = CB.Kernel(structure, again, problem.perturbation)
        x = randn(MersenneTwister(1), size(problem.perturbation)...)
        out = similar(vector)
        CB.vjp_parameters!(CB.unflatten(structure, out), x, x, kernel)
        whole = CB.vjp_parameters!(CB.zero_parameters(Float64, structure), x, x, kernel)
        @test out == CB.flatten(structure, whole)
        @test CB.rhs!(zeros(length(x)), vec(x), kernel) == vec(CB.rhs!(similar(x), x, kernel))
        @test_throws CB.ModelError CB.unflatten(structure, vector[2:end])
    end
end

@testset "other numbers" begin
    problem = random_problem(CB.Model())
    structure, parameters = problem.structure, problem.parameters
    x = problem.response[:, 1, :]
    exact = CB.Kernel(structure, map(p -> big.(p), parameters), problem.perturbation)
    kernel = CB.Kernel(structure, parameters, problem.perturbation)
    @test CB.rhs!(similar(x), x, kernel) ≈ CB.rhs!(big.(x), big.(x), exact) rtol = 1e-14
    @test CB.vjp_state!(similar(x), x, x, kernel) ≈
        CB.vjp_state!(big.(x), big.(x), big.(x), exact) rtol = 1e-14
end
