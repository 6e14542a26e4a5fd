# The whole package: adaptive solvers and adjoints of SciML against the discrete adjoint of a fine
# fixed-step solve, and training. Needs PycellboxCore's project with its extension's packages and the
# OrdinaryDiffEq sublibraries; an algorithm whose package does not load is skipped and named.

using PycellboxCore, ForwardDiff, LinearAlgebra, Random, SciMLBase, SciMLSensitivity, Test

@testset "PycellboxCore, adaptive" begin
    Random.seed!(1)
    kinds = [:protein, :protein, :protein, :phenotype, :drug]
    n, c, times = 5, 4, [0.5, 2.0]
    u, y, weight = randn(n, c), randn(n, 2, c), ones(n, 2, c)

    function problem(model)
        structure = Structure(model, kinds)
        draw(name) =
            name == :W ? randn(n, n) .* structure.mask :
            name in (:b, :common) ? randn(n) .* .!structure.is_drug : 0.5 .+ rand(n)
        names = PycellboxCore.parameter_names(structure.model)
        return structure, NamedTuple{names}(map(draw, names))
    end

    function compare(model, algorithm, gradient, tolerance)
        structure, parameters = problem(model)
        fixed = Session(structure, u, y, weight, times; solver=PycellboxCore.RK4(0.002))
        exact, inputs = InputGradient{Float64}(n, c), InputGradient{Float64}(n, c)
        wanted, slope = value_and_gradient!(fixed, parameters; inputs=exact)
        solver = Adaptive(algorithm; rtol=tolerance, atol=tolerance / 100, gradient=gradient)
        session = adaptive_session(structure, u, y, weight, times, Loss(), solver)
        found = zero_parameters(Float64, structure)
        if gradient == :forward
            @test_throws SolverError value_and_gradient!(found, session, parameters; inputs=inputs)
            inputs = nothing
        end
        total, _ = value_and_gradient!(found, session, parameters; inputs=inputs)
        @test total ≈ wanted rtol = 100tolerance
        @test value(session, parameters) ≈ wanted rtol = 100tolerance
        for name in keys(slope)
            @test getproperty(found, name) ≈ getproperty(slope, name) rtol = 1000tolerance
        end
        inputs === nothing && return nothing
        @test inputs.perturbation ≈ exact.perturbation rtol = 1000tolerance
        @test inputs.initial_state ≈ exact.initial_state rtol = 1000tolerance
        return nothing
    end

    shifted = (operating_point=true, common_effect=true)
    @testset "$gradient, $options" for gradient in (:gauss, :interpolating, :quadrature, :forward),
        options in ((form=0,), (form=2,), (form=:ji,), shifted)

        compare(Model(; options...), "Tsit5", gradient, 1e-9)
    end

    @testset "$name" for name in ("DP5", "Vern7", "Rodas5P", "TRBDF2")
        package = String(first(PycellboxCore.ALGORITHMS[name]))
        there = try
            id = Base.identify_package(package)
            id !== nothing && (Base.require(id); true)
        catch
            false
        end
        if there
            compare(Model(; shifted...), name, :gauss, name == "TRBDF2" ? 1e-6 : 1e-9)
        else
            @info "skipped $name: $package does not load; add it to the project"
            @test_skip there
        end
    end

    @testset "treatments, $name, $gradient" for (name, gradient) in
        (("Tsit5", :gauss), ("Tsit5", :interpolating), ("Rodas5P", :gauss))

        # A node held in one condition, another condition that begins late.
        structure, parameters = problem(Model(; drugs=:clamped, shifted...))
        moves, initial = trues(n, 3, c), fill(NaN, n, c)
        moves[2, :, 1] .= false
        initial[2, 1] = 0.4
        moves[:, 1, 2] .= false
        initial[1, 3] = -0.3
        inputs = randn(n, 3, c)
        inputs[:, 1, 2] .= inputs[:, 2, 2]
        source = Treatment(
            structure, [-0.4, 0.5, 1.2], inputs; moves=Array{Bool}(moves), initial=initial,
            pretreatment=randn(n, c), pretreated=[false, false, false, true],
        )
        exact, found = (TreatmentGradient{Float64}(n, 3, c) for _ in 1:2)
        fixed = Session(structure, source, y, weight, times; solver=PycellboxCore.RK4(0.002))
        wanted, slope = value_and_gradient!(fixed, parameters; inputs=exact)
        solver = Adaptive(name; rtol=1e-9, atol=1e-11, gradient=gradient)
        session = adaptive_session(structure, source, y, weight, times, Loss(), solver)
        gradient_ = zero_parameters(Float64, structure)
        total, _ = value_and_gradient!(gradient_, session, parameters; inputs=found)
        @test total ≈ wanted rtol = 1e-7
        @test value(session, parameters) ≈ wanted rtol = 1e-7
        @test all(isapprox(gradient_[k], slope[k]; rtol=1e-6) for k in keys(slope))
        for part in (:perturbation, :initial_state, :pretreatment)
            @test getfield(found, part) ≈ getfield(exact, part) rtol = 1e-6
        end
        forward = Adaptive("Tsit5"; gradient=:forward)
        refused = adaptive_session(structure, source, y, weight, times, Loss(), forward)
        @test_throws SolverError value_and_gradient!(gradient_, refused, parameters)
    end

    @testset "ODEProblem" begin
        structure, parameters = problem(Model(; shifted...))
        one = ode_problem(structure, parameters, u, (0.0, 2.0))
        dx = similar(u)
        one.f(dx, u, one.p, 0.0)
        kernel = Kernel(structure, parameters, u)
        @test dx ≈ rhs!(similar(u), u, kernel) rtol = 1e-12
        # With other numbers in its parameter vector, and with those of automatic differentiation.
        _, others = problem(Model(; shifted...))
        there = ode_problem(structure, others, u, (0.0, 2.0)).p
        one.f(dx, u, there, 0.0)
        @test dx ≈ rhs!(similar(u), u, Kernel(structure, others, u)) rtol = 1e-12
        plain = similar(u, BigFloat)
        one.f(plain, big.(u), big.(there), 0.0)
        @test dx ≈ plain rtol = 1e-12
    end

    @testset "settled conditions, loose tolerances" begin
        structure, parameters = problem(Model(; dose_saturation=nothing))
        parameters.W .*= 0.3
        long = [40.0]
        args = (structure, u, y[:, 1:1, :], weight[:, 1:1, :], long)
        session = adaptive_session(args..., Loss(), Adaptive())
        _, slope = value_and_gradient!(
            Session(args...; solver=PycellboxCore.RK4(0.02)), parameters
        )
        found = zero_parameters(Float64, structure)
        value_and_gradient!(found, session, parameters)
        for name in keys(slope)
            wanted = getproperty(slope, name)
            @test maximum(abs, getproperty(found, name) .- wanted) <= 0.05 * maximum(abs, wanted)
        end
    end
end
