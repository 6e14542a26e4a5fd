# Generated equations that Python holds, and the evaluations it asks for.

const AnyEquationSession{T} = Union{EquationSession{T},EquationSteady{T}}

leaves_much(::AnyEquationSession) = false

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
- `solver`: with a [`SteadyState`](@ref) the one time is the horizon.
- `addresses`: of the perturbation (c, s, n), moves (bytes) or 0, initial (c, n), parameters (c, p),
  response and weight (c, t, n).
"""
function python_equation_session(
    equation::Equation{T}, sizes, starts, addresses, times, solver, loss
) where {T}
    c, s = Int.(sizes)
    n, t = equation.nodes, Int(times[2])
    u, moves, initial, parameters, y, w = addresses
    return equation_session(
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
function python_evaluate(session::AnyEquationSession{T}, wish, to) where {T}
    address, count_, first_times, places... = wrap(Int64, wish, 6)
    rows, prefix = rows_from(address, count_), first_times == 0 ? nothing : first_times
    held = integrating(session)
    c = rows === nothing ? length(held.every_row) : length(rows)
    equation, s = held.run.equation, size(held.u, 2)
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

"""
Write the states (rows, t, n) for the wish at an address (address and number of rows), and the number of
steps, to addresses.
"""
function python_equation_states(session::AnyEquationSession{T}, wish, out, to) where {T}
    rows, held = rows_from(wrap(Int64, wish, 2)...), integrating(session)
    n, t, c = size(held.y)
    steps = solve_states!(wrap(T, out, n, t, c), session, _rows(held, rows))
    unsafe_store!(Ptr{Float64}(UInt(to)), Float64(steps))
    return nothing
end

"""
Write how the conditions ended to addresses: settled (bytes), and, of the last evaluation, residual and
steps.
"""
function python_equation_ends(steady::EquationSteady{T}, settled, residual, steps) where {T}
    c = length(steady.settled)
    copyto!(wrap(UInt8, settled, c), steady.ended)
    copyto!(wrap(T, residual, c), steady.residual)
    copyto!(wrap(Int64, steps, c), steady.steps)
    return nothing
end

"""
Write derivatives at the steady states of all conditions that the last evaluation found to addresses, as
[`value_and_gradient!`](@ref) does, for `seeds`, those by the nodes (c, n).
"""
function python_equation_reverse(steady::EquationSteady{T}, seeds, of_p, of_u, of_start) where {T}
    held = steady.session
    equation, c = held.run.equation, length(held.every_row)
    lay!(steady, held.every_row, held.every_row, true)
    copyto!(held.seeds, wrap(T, seeds, equation.nodes * c))
    reverse_all!(
        wrap(T, of_p, equation.parameters, c), wrap(T, of_u, length(equation.inputs), c, 1),
        wrap(T, of_start, equation.nodes, c), steady, held.every_row,
    )
    return nothing
end

"""
Write residuals and their derivatives (m, wanted) to addresses. `rows` is that of the number, from 1, of
each entry (c, t, n) among those measured, or 0; `wanted` address and number of the parameters' numbers.
"""
function python_equation_jacobian(
    session::AnyEquationSession{T}, residuals, jacobian, rows, wanted
) where {T}
    parameters, place = indices(wanted), wrap(Int64, rows, size(integrating(session).y)...)
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
function python_fault(session::AnyEquationSession{T}, out) where {T}
    run = integrating(session).run
    run.fault == 0 || copyto!(wrap(T, out, length(run.fault_state)), run.fault_state)
    return fault_of(session)
end
