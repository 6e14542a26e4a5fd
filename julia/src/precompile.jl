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

@compile_workload begin
    workload(true)
    workload(false)
end
