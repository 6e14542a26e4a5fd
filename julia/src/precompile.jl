# What a first fit runs, compiled when the package is installed: the default model with Heun, RK4,
# Tsit5 and SteadyState in Float64, with drugs and without, through the face for Python, and training.

using PrecompileTools: @compile_workload

"Call as Python does."
function on_errand(f, arguments...)
    errand, address = python_errand(f, arguments...)
    GC.@preserve errand run_errand(Ptr{Cvoid}(address))
    return python_result(errand)
end

function workload(drugs::Bool)
    n, c = 3, 2
    is_drug, mask = UInt8[0, 0, drugs], ones(UInt8, n, n)
    u, y, weight = ones(n, c), ones(n, 1, c), ones(n, 1, c)
    W, gradient_W = fill(0.1, n, n), zeros(n, n)
    alpha, epsilon, gradient_alpha, gradient_epsilon = ones(n), ones(n), zeros(n), zeros(n)
    b0, rate, zero_W, zero_n = zeros(n), fill(0.01, n), zeros(n, n), zeros(n)
    rate_W, out, records = fill(0.01, n, n), zeros(n, 1, c), zeros(1, 4)
    times, residual, settled = [1.0], zeros(c), zeros(UInt8, c)
    wish, found = zeros(Int64, 6), zeros(1)
    rows, ends, prefixes, epochs, factors = Int64[0, 1], Int64[2], Int64[0], UInt8[1], [1.0]
    at(array) = Int(pointer(array))
    # Addresses alone do not keep an array alive.
    GC.@preserve(is_drug, mask, u, y, weight, W, gradient_W, alpha, epsilon, gradient_alpha,
        gradient_epsilon, b0, rate, zero_W, zero_n, rate_W, out, records, rows, ends,
        prefixes, epochs, factors, times, residual, settled, wish, found, begin
        options = ("tanh", 0, 1, nothing, "input", 0.25, false, false)
        structure = python_structure(options, n, at(is_drug), at(mask))
        parameters = (at(W), at(alpha), at(epsilon))
        gradient = (at(gradient_W), at(gradient_alpha), at(gradient_epsilon))
        steady = SteadyState()
        on_errand(
            python_steady_states, "float64", structure, (c, n), at(u),
            (at(out), at(residual), at(settled)), 1.0, steady, parameters,
        )
        for solver in (fixed_step("Heun", 0.5), fixed_step("RK4", 0.5), Tsit5(), steady),
            loss in ("mse",)

            session = on_errand(
                python_session, "float64", structure, (c, 1), (at(u), at(y), at(weight)), (at(times), 1),
                solver, Loss(loss), parameters, gradient,
            )
            wish[1:2] .= 0, -1
            on_errand(python_write_value_and_gradient, session, at(wish), at(found))
            wish[1:2] .= at(rows), 2
            on_errand(python_write_value, session, at(wish), at(found))
            if solver === steady
                python_settled(session, at(settled))
            else
                on_errand(
                    python_solve, "float64", structure, (c, 1), at(u), at(out), (at(times), 1), solver,
                    parameters,
                )
            end
            vectors = drugs ? (b0, alpha, epsilon) : (alpha, epsilon)
            sets = (
                (at(W), at(rate_W), at(zero_W), at(zero_W)),
                map(v -> (at(v), at(rate), at(zero_n), at(zero_n)), vectors)...,
            )
            names = drugs ? ("W", "b0", "alpha", "epsilon") : ("W", "alpha", "epsilon")
            run = python_training(
                session, structure, "float64", drugs, 0, (0.9, 0.99, 1e-8, 0.0, Inf), names, sets,
                (at(rows), 2), (0, 0), 0, true,
            )
            on_errand(
                python_advance, run, 1, at(records), at(rows), at(ends), at(prefixes), at(epochs), at(factors)
            )
            on_errand(finish!, run)
            python_read(run, names, (at(zero_W), map(_ -> at(zero_n), vectors)...), true)
        end
    end)
    return nothing
end

const Place = Ptr{Float64}

"dx/dt = −x in place of generated code, and nothing of parameters: which programs it is, addresses tell."
function decay(from::Int, to::Int, x, u, p, a, o1, o2, o3, w)
    o1 == C_NULL && return nothing
    for j in from:to
        of = a != C_NULL ? a : x
        unsafe_store!(o1, of == C_NULL ? 1.0 : -unsafe_load(of, j), j)
    end
    return nothing
end

"An equation of the user's own, by each solver."
function equations_workload()
    entry = @cfunction(
        decay, Cvoid, (Int, Int, Place, Place, Place, Place, Place, Place, Place, Place)
    )
    one_, none, times = Int64[0], Int64[], [1.0, 2.0]
    u, initial, y, weight = zeros(1, 1, 2), fill(NaN, 1, 2), ones(1, 2, 2), ones(1, 2, 2)
    parameters, of_p, of_u, of_start = ones(1, 2), zeros(1, 2), zeros(0, 2, 1), zeros(1, 2)
    out, residuals, jacobian, rows = zeros(1, 2, 2), zeros(4), zeros(1, 4), Int64[1 3; 2 4]
    wish, found = zeros(Int64, 6), zeros(1)
    at(array) = Int(pointer(array))
    GC.@preserve one_ none times u initial y weight parameters of_p of_u of_start out residuals jacobian rows wish found begin
        equation = python_equation("float64", 1, 1, (at(one_), 1), (at(none), 0), (at(none), 0))
        for name in (:value, :transposed, :pull_back, :start, :start_back)
            setfield!(equation, name, Program(entry, nothing, 0))
        end
        for solver in (fixed_step("Heun", 0.5), fixed_step("RK4", 0.5), Tsit5(), SteadyState()), starts in (0, 1)
            begins = [0.0]
            GC.@preserve begins begin
                session = on_errand(
                    python_equation_session, equation, (2, 1), starts * at(begins),
                    (at(u), 0, at(initial), at(parameters), at(y), at(weight)), (at(times), 2), solver,
                    Loss("mse"),
                )
                wish .= (0, -1, 0, at(of_p), at(of_u), at(of_start))
                on_errand(python_evaluate, session, at(wish), at(found))
                wish .= (at(one_), 1, 1, 0, 0, 0)
                on_errand(python_evaluate, session, at(wish), at(found))
                on_errand(python_equation_states, session, at(wish), at(out), at(found))
                on_errand(
                    python_equation_jacobian, session, at(residuals), at(jacobian), at(rows),
                    (at(one_), 1),
                )
                python_fault(session, at(found))
            end
        end
    end
    return nothing
end

@compile_workload begin
    workload(true)
    workload(false)
    equations_workload()
end
# Not to be run here: what it compiles is for the process at hand.
precompile(python_program, (Equation{Float64}, String, String))
