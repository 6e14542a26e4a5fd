@testset "limits and interrupts" begin
    structure = CB.Structure(CB.Model(), [:protein, :protein])
    parameters = CB.zero_parameters(Float64, structure)
    parameters.W .= [0 1.0; -1.0 0]
    parameters.alpha .= 1
    parameters.epsilon .= 1
    u, y, w = ones(2, 3), zeros(2, 1, 3), ones(2, 1, 3)
    message(f) = try
        f()
        ""
    catch error
        error isa CB.CoreError ? error.message : rethrow()
    end

    @testset "steps without end are refused at once" begin
        for solver in (CB.fixed_step("Euler", 1e-9), CB.fixed_step("RK4", 5e-324))
            @test occursin(
                "at most 1000000", message(() -> CB.trajectory(structure, solver, parameters, u, [5.0]))
            )
        end
        @test occursin(
            "max_steps", message(() -> CB.trajectory(structure, CB.Tsit5(), parameters, u, [1e9]))
        )
        # Whose times count is that of Tsit5, not of steps of one unit.
        long = CB.trajectory(structure, CB.Tsit5(; max_steps=10^7), parameters, u, [2e6])
        @test all(isfinite, long)
    end

    @testset "huge weights of size $size" for size in (1e160, 1e200, 1e308)
        huge = CB.zero_parameters(Float64, structure)
        huge.W .= size .* parameters.W
        huge.alpha .= 1
        huge.epsilon .= 1
        for solver in (CB.Tsit5(), CB.SteadyState(), CB.fixed_step("Heun", 0.1))
            states = try
                solver isa CB.SteadyState ? CB.steady_states(structure, solver, huge, u, 5.0)[1] :
                    CB.trajectory(structure, solver, huge, u, [5.0])
            catch error
                error isa CB.DivergenceError || rethrow()
                zeros(0)
            end
            @test all(isfinite, states)
        end
    end

    @testset "a flag gives up what runs: $(typeof(solver))" for solver in (
        CB.fixed_step("Heun", 0.1), CB.Tsit5(), CB.SteadyState(),
    )
        session = solver isa CB.SteadyState ?
            CB.SteadySession(structure, u, y, w, [5.0], CB.Loss(), solver) :
            solver isa CB.Tsit5 ? CB.adaptive_session(structure, u, y, w, [5.0], CB.Loss(), solver) :
            CB.Session(structure, u, y, w, [5.0]; solver=solver)
        before = deepcopy(CB.value_and_gradient!(session, parameters))
        CB.INTERRUPTED[] = 1
        try
            @test_throws InterruptException CB.value_and_gradient!(session, parameters)
        finally
            CB.INTERRUPTED[] = 0
        end
        after = CB.value_and_gradient!(session, parameters)
        @test after[1] ≈ before[1] rtol = 1e-12
        @test after[2].W ≈ before[2].W rtol = 1e-9
    end

    @testset "whatever fails, all threads have ended" begin
        ended = zeros(Int, 4)
        work(q) = (q > 1 && sleep(0.05); ended[q] = 1; q == 1 && error("first"))
        @test_throws ErrorException CB.on_threads(work, 4)
        @test ended == ones(4)
        @test_throws Exception CB.on_threads(q -> q == 2 && error("second"), 4)
    end
end
