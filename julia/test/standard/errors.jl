# Errors of the right kind that say what was given and what is wanted.

"Whether `f` raises a `kind` whose message holds `part`."
function raises(f, kind, part)
    try
        f()
    catch error
        return error isa kind && error isa CB.CoreError && occursin(part, error.message)
    end
    return false
end

@testset "models" begin
    @test raises(() -> CB.Model(; envelope=:cosine), CB.ModelError, "choose one of :tanh")
    @test raises(() -> CB.Model(; form=3), CB.ModelError, "form=3 is unknown")
    @test raises(() -> CB.Model(; form=true), CB.ModelError, "is unknown")
    @test raises(() -> CB.Model(; degree=3), CB.ModelError, "choose one of 1, 2")
    @test raises(() -> CB.Model(; drugs=:held), CB.ModelError, ":clamped")
    @test raises(() -> CB.Model(; order=2), CB.ModelError, "no meaning for the tanh")
    @test raises(() -> CB.Model(; envelope=:hill, order=1), CB.ModelError, "integer k ≥ 2")
    @test raises(() -> CB.Model(; dose_saturation=-1), CB.ModelError, "finite number ≥ 0")
    @test CB.Model(; envelope="hill").order == 2
    @test CB.Model(; form="ji-code").form == :ji_code
    @test CB.rates(CB.Model(; form=2)) == (:alpha, :epsilon, :psi)
    @test CB.rates(CB.Model(; form=:ji)) == (:alpha,)
    for form in (1, 2, :ji, :ji_code), shift in SHIFTS
        @test raises(() -> CB.Model(; form=form, shift...), CB.ModelError, "form 0 alone")
    end
    @test map(shift -> CB.shifts(CB.Model(; shift...)), SHIFTS) == [(:b, :common), (:b,), (:common,)]
    @test raises(() -> CB.Loss(:cubic), CB.ModelError, ":huber")
    @test raises(() -> CB.Loss(:huber; delta=0), CB.ModelError, "must be finite")
    shown = sprint(showerror, CB.ModelError("this."))
    @test endswith(shown, "ModelError: this.")
end

@testset "structures" begin
    mask = CB.structural_mask(KINDS)
    @test !any(mask[i, i] for i in 1:7)
    @test !any(mask[KINDS .== :drug, :])
    @test !any(mask[:, KINDS .== :phenotype])
    @test !any(mask[KINDS .== :phenotype, KINDS .== :drug])
    @test mask[1, 6] && mask[5, 1] && mask[1, 2]
    @test CB.structural_mask(KINDS; self_interaction=true)[1, 1]
    @test CB.Structure(CB.Model(), KINDS; drugs_on_phenotypes=true).mask[5, 6]
    prior = trues(7, 7)
    prior[1, 2] = false
    @test !CB.Structure(CB.Model(), KINDS; mask=prior).mask[1, 2]
    model = CB.Model(; drugs=:clamped)
    @test raises(() -> CB.Structure(model, [:protein]), CB.ModelError, "no node is a drug")
    @test raises(() -> CB.Structure(CB.Model(), [:gene]), CB.ModelError, ":gene")
    @test raises(
        () -> CB.Structure(CB.Model(), KINDS; mask=trues(2, 2)), CB.ModelError, "7 nodes"
    )
    @test raises(
        () -> CB.Structure(CB.Model(), [true, false], trues(3, 3)), CB.ModelError, "2 nodes"
    )
end

@testset "solvers and times" begin
    @test raises(() -> CB.Heun(0), CB.SolverError, "Heun was given dt=0")
    @test raises(() -> CB.RK4(NaN), CB.SolverError, "finite number > 0")
    @test raises(() -> CB.Euler("a"), CB.SolverError, "finite number > 0")
    @test CB.fixed_step("RK4", 0.5) == CB.RK4(0.5)
    @test raises(() -> CB.fixed_step("RK5", 0.5), CB.SolverError, "known: Euler")
    problem = random_problem(CB.Model())
    for (times, part) in (([-1.0], "increase"), ([1.0, 1.0], "increase"), ([NaN], "finite"),
        (Float64[], "finite"))
        @test raises(() -> solve(problem, CB.Heun(0.1); times=times), CB.SolverError, part)
    end
    @test raises(() -> solve(problem, CB.Heun(0.1); chunks=0), CB.SolverError, "chunks=0")
    @test raises(() -> both(problem; memory_limit=10), CB.SolverError, "too little")
    @test raises(() -> both(problem; memory_limit=-1), CB.SolverError, "bytes > 0")
end

@testset "shapes" begin
    problem = random_problem(CB.Model())
    held = session(problem; solver=CB.Heun(0.1))
    fits = problem.parameters
    @test raises(() -> CB.value(held, (W=fits.W,)), CB.ModelError, "lack alpha, epsilon")
    @test raises(
        () -> CB.value(held, merge(fits, (alpha=[1.0],))), CB.ModelError, "alpha has shape (1,)"
    )
    @test raises(() -> CB.value(held, fits; rows=[6]), CB.ModelError, "conditions 1 to 5")
    wrong = merge(problem, (response=zeros(6, 1, 5),))
    @test raises(() -> both(wrong), CB.ModelError, "response has shape (6, 1, 5)")
    wrong = merge(problem, (weight=zeros(7, 2, 5),))
    @test raises(() -> both(wrong), CB.ModelError, "weight has shape (7, 2, 5)")
    @test raises(
        () -> solve(merge(problem, (perturbation=zeros(6, 5),)), CB.Heun(0.1)), CB.ModelError,
        "there are 7 nodes",
    )
    kernel = CB.Kernel(problem.structure, fits, problem.perturbation)
    @test raises(() -> CB.rhs!(zeros(3), zeros(3), kernel), CB.ModelError, "3 entries")
end

@testset "steps too long for a decay" begin
    problem = random_problem(CB.Model())
    problem.parameters.alpha[2] = 20
    part = "node number 2 decays at the rate 20.0"
    for Method in (CB.Euler, CB.Midpoint, CB.Heun, CB.RK4)
        limit = CB.reach(CB.tableau(Method(0.1))) / 20
        fine = merge(problem, (times=[11 * 0.99 * limit],))
        @test maximum(abs, solve(fine, Method(0.99 * limit))) < 10
        long = merge(problem, (times=[11 * 1.01 * limit],))
        @test raises(() -> solve(long, Method(1.01 * limit)), CB.DivergenceError, part)
        held = session(long; solver=Method(1.01 * limit))
        @test raises(() -> CB.value(held, problem.parameters), CB.DivergenceError, part)
    end
end

@testset "divergence" begin
    problem = random_problem(CB.Model(; envelope=:linear); conditions=20)
    wild = merge(problem.parameters, (W=1e3 .* problem.parameters.W,))
    diverging = merge(problem, (parameters=wild, times=[40.0]))
    part = "is not finite by t = 40.0"
    @test raises(() -> solve(diverging, CB.Euler(0.1)), CB.DivergenceError, part)
    @test raises(() -> both(diverging; chunks=1), CB.DivergenceError, part)
    held = session(merge(problem, (times=[40.0],)); solver=CB.Heun(0.1), chunks=3)
    fine = CB.value(held, problem.parameters)
    @test raises(() -> CB.value(held, wild), CB.DivergenceError, "condition number 1 ")
    # A session survives.
    @test CB.value(held, problem.parameters) === fine

    # The condition that is named is the one that diverges.
    problem.perturbation[:, 14] .= NaN
    @test raises(() -> solve(problem, CB.Heun(0.1)), CB.DivergenceError, "number 14 ")
    @test raises(() -> both(problem), CB.DivergenceError, "number 14 ")
    @test raises(() -> both(problem; rows=[1, 14], chunks=2), CB.DivergenceError, "number 2 ")

    # Finite states, a loss beyond the numbers.
    huge = random_problem(CB.Model())
    huge.response .= 1e200
    @test raises(() -> both(huge), CB.DivergenceError, "the loss is not finite")
    # A finite loss with a gradient beyond the numbers.
    steep = random_problem(CB.Model())
    steep.response .= solve(steep, CB.Heun(0.1)) .- 1e-10
    steep.weight .= 1e160
    held = session(steep; solver=CB.Heun(0.1))
    @test isfinite(CB.value(held, steep.parameters))
    @test raises(() -> both(steep), CB.DivergenceError, "the gradient with respect to W")
end
