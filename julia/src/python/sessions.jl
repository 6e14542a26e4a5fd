# Sessions that Python holds, and the evaluations it asks for.

"""
A session and the parameter arrays that Python shares with it: `parameters` is read, `gradient`
written, in place.
"""
struct PythonSession{S,P,G}
    session::S
    parameters::P
    gradient::G
end

"""
    python_session(dtype, structure, sizes, addresses, times, solver, loss, parameters, gradient)

- `sizes`: conditions and times; `addresses`: of perturbation (c, n), response and weight
  (c, t, n); `times`: their address and number.
- `solver`: a [`FixedStep`](@ref), [`Tsit5`](@ref) or an [`Adaptive`](@ref).
- `parameters`, `gradient`: addresses of W (n, n) and the rates (n), in storage order.
"""
function python_session(
    dtype, structure, sizes, addresses, times, solver, loss, parameters, gradient
)
    T = element_type(dtype)
    n = nodes(structure)
    c, t = Int.(sizes)
    u = wrap(T, addresses[1], n, c)
    y, w = wrap(T, addresses[2], n, t, c), wrap(T, addresses[3], n, t, c)
    when = python_times(times)
    session = make_session(structure, u, y, w, when, solver, loss)
    return PythonSession(
        session,
        python_parameters(T, structure, parameters),
        python_parameters(T, structure, gradient),
    )
end

function make_session(structure, u, y, w, times, solver::FixedStep, loss)
    return Session(structure, u, y, w, times; solver=solver, loss=loss)
end
make_session(structure, u, y, w, times, solver, loss) =
    adaptive_session(structure, u, y, w, times, loss, solver)
make_session(structure, u, y, w, times, solver::SteadyState, loss) =
    SteadySession(structure, u, y, w, times, loss, solver)

# Bytes that were alive after the last full collection of ours, and how many more there may be before
# the next one: Julia lets what sessions leave behind add up as long as there is memory.
const ALIVE = Ref(0)
const SPARE = 2^26

"""
Free the buffers of sessions that nobody uses any more, at once, and collect the rest of them if it is
worth it.
"""
function python_release(sessions)
    foreach(s -> release!(s.session), sessions)
    Base.gc_live_bytes() > ALIVE[] + SPARE || return nothing
    GC.gc(true)
    ALIVE[] = Base.gc_live_bytes()
    return nothing
end

# These run without Python's lock: nothing in them may touch a Python object.
function python_value_and_gradient(s::PythonSession, address, count, prefix)
    return first(
        value_and_gradient!(
            s.gradient, s.session, s.parameters;
            rows=rows_from(address, count), prefix=prefix == 0 ? nothing : Int(prefix),
        ),
    )
end
function python_value(s::PythonSession, address, count)
    return value(s.session, s.parameters; rows=rows_from(address, count))
end

"""
    python_write_value(session, wish, value)
    python_write_value_and_gradient(session, wish, value)

Evaluate for the wish at an address (address and number of rows, prefix) and write the value to
another.
"""
function python_write_value(s::PythonSession, wish, value)
    at = Ptr{Int64}(UInt(wish))
    found = python_value(s, unsafe_load(at, 1), unsafe_load(at, 2))
    unsafe_store!(Ptr{Float64}(UInt(value)), found)
    return nothing
end
function python_write_value_and_gradient(s::PythonSession, wish, value)
    at = Ptr{Int64}(UInt(wish))
    found = python_value_and_gradient(
        s, unsafe_load(at, 1), unsafe_load(at, 2), unsafe_load(at, 3)
    )
    unsafe_store!(Ptr{Float64}(UInt(value)), found)
    return nothing
end

"Write whether each condition settled in the last evaluation, a byte each, to an address."
function python_settled(s::PythonSession, address)
    copyto!(wrap(UInt8, address, length(s.session.settled)), s.session.settled)
    return nothing
end
