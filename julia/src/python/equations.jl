# Generated equations that Python holds, and the evaluations it asks for.

leaves_much(::EquationSession) = false

indices(place) = Int[i + 1 for i in wrap(Int64, place...)]

"""
An equation of so many nodes and parameters; `states`, `observed` and `inputs` are addresses and numbers of
the nodes' numbers, from 0.
"""
python_equation(dtype, nodes, parameters, states, observed, inputs) = Equation{element_type(dtype)}(
    Int(nodes), indices(states), indices(observed), indices(inputs), Int(parameters)
)

"Give an equation one of its programs, by its name."
function python_program(equation, name, text)
    setfield!(equation, Symbol(String(name)), compiled(String(text)))
    return nothing
end

"""
    python_equation_session(equation, sizes, starts, addresses, times, solver, loss)

- `sizes`: conditions and segments; `starts`: address of when these begin, or 0 where the one begins at 0.
- `addresses`: of the perturbation (c, s, n), moves (bytes) or 0, initial (c, n), parameters (c, p),
  response and weight (c, t, n).
"""
function python_equation_session(
    equation::Equation{T}, sizes, starts, addresses, times, solver, loss
) where {T}
    c, s = Int.(sizes)
    n, t = equation.nodes, Int(times[2])
    u, moves, initial, parameters, y, w = addresses
    return EquationSession(
        equation, solver, python_times(times),
        starts == 0 ? nothing : copy(wrap(Float64, starts, s)), wrap(T, u, n, s, c),
        moves == 0 ? nothing : wrap(UInt8, moves, n, s, c), wrap(T, initial, n, c),
        wrap(T, parameters, equation.parameters, c), wrap(T, y, n, t, c), wrap(T, w, n, t, c), loss,
    )
end

# These run without Python's lock: nothing in them may touch a Python object.
"""
Evaluate for the wish at an address (address and number of rows, prefix, addresses of the derivatives, see
[`value_and_gradient!`](@ref), or 0), and write the value to `to`.
"""
function python_evaluate(session::EquationSession{T}, wish, to) where {T}
    address, count_, first_times, places... = wrap(Int64, wish, 6)
    rows, prefix = rows_from(address, count_), first_times == 0 ? nothing : first_times
    c = rows === nothing ? length(session.every_row) : length(rows)
    equation, s = session.run.equation, size(session.u, 2)
    found = if places[1] == 0
        value(session, nothing; rows=rows, prefix=prefix)
    else
        value_and_gradient!(
            wrap(T, places[1], equation.parameters, c),
            wrap(T, places[2], length(equation.inputs), c, s), wrap(T, places[3], equation.nodes, c),
            session; rows=rows, prefix=prefix,
        )
    end
    unsafe_store!(Ptr{Float64}(UInt(to)), found)
    return nothing
end

"Write the states (c, t, n), and the number of steps, to addresses."
function python_equation_states(session::EquationSession{T}, out, to) where {T}
    n, t, c = size(session.y)
    steps = solve_states!(wrap(T, out, n, t, c), session)
    unsafe_store!(Ptr{Float64}(UInt(to)), Float64(steps))
    return nothing
end

"""
Write residuals and their derivatives (m, wanted) to addresses. `rows` is that of the number, from 1, of
each entry (c, t, n) among those measured, or 0; `wanted` address and number of the parameters' numbers.
"""
function python_equation_jacobian(
    session::EquationSession{T}, residuals, jacobian, rows, wanted
) where {T}
    parameters, place = indices(wanted), wrap(Int64, rows, size(session.y)...)
    m = maximum(place; init=0)
    residuals_and_jacobian!(
        wrap(T, residuals, m), wrap(T, jacobian, length(parameters), m), session, place, parameters
    )
    return nothing
end

"""
Write the state of a condition in which an equation had no value in the last integration to an address;
its number among the rows, or 0 without one.
"""
function python_fault(session::EquationSession{T}, out) where {T}
    run = session.run
    run.fault == 0 || copyto!(wrap(T, out, length(run.fault_state)), run.fault_state)
    return run.fault
end
