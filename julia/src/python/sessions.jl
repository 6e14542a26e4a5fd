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

release!(s::PythonSession) = release!(s.session)
"Whether there is something to collect when the buffers of a session have been freed."
leaves_much(::Any) = true

"""
    python_session(dtype, structure, sizes, addresses, times, solver, loss, parameters, gradient)

- `sizes`: conditions and times; `addresses`: of perturbation (c, n), or a [`Treatment`](@ref) in place
  of it, response and weight (c, t, n); `times`: their address and number.
- `solver`: a [`FixedStep`](@ref), [`Tsit5`](@ref) or an [`Adaptive`](@ref).
- `parameters`, `gradient`: addresses of W (n, n) and the others (n), in storage order.
"""
function python_session(
    dtype, structure, sizes, addresses, times, solver, loss, parameters, gradient
)
    T = element_type(dtype)
    n = nodes(structure)
    c, t = Int.(sizes)
    u = python_inputs(T, addresses[1], n, c)
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
    foreach(release!, sessions)
    any(leaves_much, sessions) || return nothing
    Base.gc_live_bytes() > ALIVE[] + SPARE || return nothing
    GC.gc(true)
    ALIVE[] = Base.gc_live_bytes()
    return nothing
end

# These run without Python's lock: nothing in them may touch a Python object.
"""
    python_write_value(session, wish, to)
    python_write_value_and_gradient(session, wish, to)

Evaluate for the wish at an address (address and number of rows, prefix, addresses of the derivatives
with respect to perturbation, initial state and pre-treatment of these rows, or 0) and write the value
to `to`.
"""
function python_write_value(s::PythonSession, wish, to)
    address, count_, first_times = wrap(Int64, wish, 6)
    rows, prefix = rows_from(address, count_), first_times == 0 ? nothing : first_times
    found = value(s.session, s.parameters; rows=rows, prefix=prefix)
    unsafe_store!(Ptr{Float64}(UInt(to)), found)
    return nothing
end
function python_write_value_and_gradient(s::PythonSession, wish, to)
    address, count_, first_times, places... = wrap(Int64, wish, 6)
    rows, prefix = rows_from(address, count_), first_times == 0 ? nothing : first_times
    found = if places[1] == 0
        value_and_gradient!(s.gradient, s.session, s.parameters; rows=rows, prefix=prefix)
    else
        inputs = python_input_gradient(_source(s.session), places, length(rows))
        value_and_gradient!(
            s.gradient, s.session, s.parameters; rows=rows, prefix=prefix, inputs=inputs
        )
    end
    unsafe_store!(Ptr{Float64}(UInt(to)), first(found))
    return nothing
end

"The derivatives with respect to what is done to `c` conditions, at their places."
function python_input_gradient(u::AbstractMatrix{T}, places, c) where {T}
    return InputGradient((wrap(T, place, size(u, 1), c) for place in places[1:2])...)
end
function python_input_gradient(treatment::Treatment{T}, places, c) where {T}
    n, s = size(treatment, 1), length(treatment.starts)
    return TreatmentGradient(
        wrap(T, places[1], n, s, c), (wrap(T, place, n, c) for place in places[2:3])...
    )
end

"""
Write states, adjoints and the correction's inverse, with which the next evaluation of steady states
starts, to addresses, or take them over from there. Returns, and takes, whether there is a correction.
"""
function python_warm(s::PythonSession, addresses, made, restoring)
    session, correction = s.session, s.session.correction
    n, c = size(session.states)
    T = eltype(session.states)
    places = (wrap(T, addresses[1], n, c), wrap(T, addresses[2], n, c), wrap_W(T, addresses[3], n))
    for (array, place) in zip((session.states, session.adjoints, correction.inverse), places)
        Bool(restoring) ? copyto!(array, place) : copyto!(place, array)
    end
    if Bool(restoring)
        correction.made = Bool(made)
        pack!(correction)
    end
    return correction.made
end

"Write whether each condition settled in the last evaluation, a byte each, to an address."
function python_settled(s::PythonSession, address)
    copyto!(wrap(UInt8, address, length(s.session.settled)), s.session.settled)
    return nothing
end
