# Solvers as Python names them, and states for Python.

"An adaptive solver by name or as an algorithm object."
function python_adaptive(algorithm, rtol, atol, maxiters, gradient)
    chosen = algorithm isa AbstractString ? String(algorithm) : algorithm
    return Adaptive(
        chosen; rtol=rtol, atol=atol, maxiters=maxiters, gradient=Symbol(String(gradient))
    )
end

"""
    load_sciml()

Load SciMLSensitivity, and with it the extension for adaptive solvers.
"""
function load_sciml()
    id = Base.identify_package("SciMLSensitivity")
    id === nothing && throw(
        SolverError("adaptive solvers need the Julia package SciMLSensitivity, which is missing.")
    )
    Base.require(id)
    return nothing
end

"""
Integrate the perturbation (c, n) at `u`, or the treatment in place of it, and write the states (c, t, n) to `out`; `parameters` are
the addresses of W and the rates.
"""
function python_solve(dtype, structure, sizes, u, out, times, solver, parameters)
    T = element_type(dtype)
    n = nodes(structure)
    c, t = Int.(sizes)
    return solve_states!(
        wrap(T, out, n, t, c), structure, solver,
        python_parameters(T, structure, parameters), python_inputs(T, u, n, c),
        python_times(times),
    )
end

function solve_states!(out, structure, solver, parameters, u, times)
    trajectory!(out, structure, solver, parameters, u, times; strict=false)
    return nothing
end
function solve_states!(out, structure, solver::Adaptive, parameters, u, times)
    empty = zeros(eltype(out), 0, 0, 0)
    session = adaptive_session(structure, u, empty, empty, times, Loss(), solver)
    copyto!(out, states(session, parameters))
    return nothing
end

"""
Write the steady states (c, n), residuals and whether they settled (a byte each) of the perturbation
at `u`, or of the treatment in place of it, to the addresses in `out`.
"""
function python_steady_states(dtype, structure, sizes, u, out, horizon, solver, parameters)
    T = element_type(dtype)
    c, n = Int.(sizes)
    states, residual, settled = steady_states(
        structure, solver, python_parameters(T, structure, parameters),
        python_inputs(T, u, n, c), horizon,
    )
    copyto!(wrap(T, out[1], n, c), states)
    copyto!(wrap(T, out[2], c), residual)
    copyto!(wrap(UInt8, out[3], c), settled)
    return nothing
end

"""
Write whether what came before the first segment had settled in the last integration, a byte for each
condition, to an address.
"""
function python_rested(treatment::Treatment, address)
    rested, before = wrap(UInt8, address, size(treatment, 2)), treatment.before
    rested .= .!treatment.pretreated
    before === nothing || (rested .|= before.settled)
    return nothing
end

"The ODEProblem of a network; arrays as for `python_solve`, copied."
function python_ode_problem(structure, sizes, u, horizon, parameters)
    n = nodes(structure)
    perturbation = copy(wrap(Float64, u, n, Int(sizes[1])))
    return ode_problem(
        structure, python_parameters(Float64, structure, parameters), perturbation,
        (0.0, Float64(horizon)),
    )
end
