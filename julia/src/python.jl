# The thin face for Python. Arrays arrive as addresses: a C-ordered (condition, node) array is a
# (node × condition) matrix here, without a copy. The caller keeps them alive.
#
# Everything else arrives as numbers, strings and tuples of them, which become Julia's own: the
# methods for these are compiled when the package is installed (precompile.jl), those for wrapped
# Python objects would be compiled at the first fit.

wrap(::Type{T}, address::Integer, dims...) where {T} =
    unsafe_wrap(Array, Ptr{T}(UInt(address)), map(Int, dims); own=false)

# W is (target, source) in C order: in memory its transpose.
wrap_W(::Type{T}, address, n) where {T} = transpose(wrap(T, address, n, n))

element_type(name) = String(name) == "float32" ? Float32 : Float64

"""
A structure from Python's plain values: `options` are envelope, form, degree, order, drugs and dose
saturation; `is_drug` (n) and `mask` (n × n, C order) bytes.
"""
function python_structure(@nospecialize(options), n, is_drug, mask)
    envelope, form, degree, order, drugs, κ = options
    model = Model(
        envelope=envelope, form=form, degree=degree, order=order, drugs=drugs, dose_saturation=κ
    )
    drug = Vector{Bool}(wrap(UInt8, is_drug, n))
    allowed = Matrix{Bool}(transpose(wrap(UInt8, mask, n, n)))
    return Structure(model, drug, allowed)
end

python_loss(name, delta) = Loss(String(name); delta=delta)

"Times from their address and number."
python_times(times) = copy(wrap(Float64, times...))

"""
A session and the parameter arrays that Python shares with it: `parameters` is read, `gradient`
written, in place.
"""
struct PythonSession{S,P,G}
    session::S
    parameters::P
    gradient::G
end

function python_parameters(::Type{T}, structure::Structure, addresses) where {T}
    n = nodes(structure)
    names = (:W, rates(structure.model)...)
    arrays = map(enumerate(names)) do (i, name)
        name == :W ? wrap_W(T, addresses[i], n) : wrap(T, addresses[i], n)
    end
    return NamedTuple{names}(Tuple(arrays))
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

"Conditions as Julia counts them, from `count` integers at `address`; -1 of them are all."
function rows_from(address, count)
    count < 0 && return nothing
    return wrap(Int64, address, count) .+ 1
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

"""
Integrate the perturbation (c, n) at `u` and write the states (c, t, n) to `out`; `parameters` are
the addresses of W and the rates.
"""
function python_solve(dtype, structure, sizes, u, out, times, solver, parameters)
    T = element_type(dtype)
    n = nodes(structure)
    c, t = Int.(sizes)
    return solve_states!(
        wrap(T, out, n, t, c), structure, solver,
        python_parameters(T, structure, parameters), wrap(T, u, n, c), python_times(times),
    )
end

function solve_states!(out, structure, solver, parameters, u, times)
    trajectory!(out, structure, solver, parameters, u, times)
    return nothing
end
function solve_states!(out, structure, solver::Adaptive, parameters, u, times)
    empty = zeros(eltype(u), 0, 0, 0)
    session = adaptive_session(structure, u, empty, empty, times, Loss(), solver)
    copyto!(out, states(session, parameters))
    return nothing
end

"""
    python_training(session, structure, dtype, shared, ranges, options, raw, arrays, train,
                    validation, patience, full_batch)

Prepare a run of AdamW.

- `options`: beta1, beta2, epsilon, weight decay and clip norm.
- `raw`: names of the raw parameters; `arrays`: for each, the addresses of its start, learning
  rates, l1 and l2 strengths.
- `ranges`: address of the held response ranges, or 0.
- `train`, `validation`: address and number of rows.
"""
function python_training(
    s::PythonSession, structure, dtype, shared, ranges, options, @nospecialize(raw),
    @nospecialize(arrays), train, validation, patience, full_batch,
)
    T = element_type(dtype)
    n = nodes(structure)
    read(name, address) =
        name == :W ? Matrix{T}(wrap_W(T, address, n)) : Vector{T}(wrap(T, address, n))
    names = Symbol[Symbol(name) for name in raw]
    sets = [Raw{T}(name => read(name, a[k]) for (name, a) in zip(names, arrays)) for k in 1:4]
    held = ranges == 0 ? nothing : Vector{T}(wrap(T, ranges, n))
    par = Parametrisation{T}(structure, held; shared=Bool(shared))
    return AdamWRun(
        s.session, par, AdamWOptions(map(Float64, options)...);
        raw=sets[1], learning_rates=sets[2], l1=sets[3], l2=sets[4],
        train=rows_from(train...), validation=rows_from(validation...), patience=patience,
        full_batch=Bool(full_batch),
    )
end

"""
    python_advance(run, count, records, rows, ends, prefixes, closes_epoch, factors)

Run `count` iterations. All but the first two arguments are addresses: of the (4, count) records,
of the rows of all batches one after the other, of where each batch ends in them, and for each of
its number of first times (0 for all), a byte, and a learning rate factor.
"""
function python_advance(
    run::AdamWRun, count, records, rows, ends, prefixes, closes_epoch, factors
)
    stop = wrap(Int64, ends, count)
    all_rows = rows_from(rows, stop[end])
    batches = [all_rows[((k == 1 ? 0 : stop[k - 1]) + 1):stop[k]] for k in 1:count]
    return advance!(
        run, wrap(Float64, records, count, 4), batches,
        wrap(Int64, prefixes, count), wrap(UInt8, closes_epoch, count) .!= 0, wrap(Float64, factors, count),
    )
end

"Write the best, or the current, raw parameters into the arrays at `addresses`."
function python_read(
    run::AdamWRun{T}, @nospecialize(names), @nospecialize(addresses), best
) where {T}
    source = Bool(best) ? run.best_raw : run.raw
    for (name, address) in zip(names, addresses)
        array = source[Symbol(name)]
        target = name == "W" ? wrap_W(T, address, size(array, 1)) : wrap(T, address, length(array))
        copyto!(target, array)
    end
    return nothing
end

"An adaptive solver by name or as an algorithm object."
function python_adaptive(algorithm, rtol, atol, maxiters, gradient)
    chosen = algorithm isa AbstractString ? String(algorithm) : algorithm
    return Adaptive(
        chosen; rtol=rtol, atol=atol, maxiters=maxiters, gradient=Symbol(String(gradient))
    )
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

"""
Write the steady states (c, n), residuals and whether they settled (a byte each) of the perturbation
at `u` to the addresses in `out`.
"""
function python_steady_states(dtype, structure, sizes, u, out, horizon, solver, parameters)
    T = element_type(dtype)
    c, n = Int.(sizes)
    states, residual, settled = steady_states(
        structure, solver, python_parameters(T, structure, parameters), wrap(T, u, n, c), horizon
    )
    copyto!(wrap(T, out[1], n, c), states)
    copyto!(wrap(T, out[2], c), residual)
    copyto!(wrap(UInt8, out[3], c), settled)
    return nothing
end

"Write whether each condition settled in the last evaluation, a byte each, to an address."
function python_settled(s::PythonSession, address)
    copyto!(wrap(UInt8, address, length(s.session.settled)), s.session.settled)
    return nothing
end

"Versions of Julia and of CellBox, for provenance."
python_version() = "julia $VERSION, CellBox $(pkgversion(CellBox))"

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
A call that Python prepares, and fetches the result of, while it holds its lock, and makes without
it: see [`run_errand`](@ref).
"""
mutable struct Errand
    f::Any
    arguments::Any
    result::Any
    error::Any
end

"An errand, and its address. It lives as long as Python keeps it."
function python_errand(f, arguments...)
    errand = Errand(f, arguments, nothing, nothing)
    return errand, UInt(pointer_from_objref(errand))
end

"""
    run_errand(address)

Make the call; 0 if it went well. Python calls this through its address, without its lock and
without PythonCall: a thread that waits for Python's lock does so outside of Julia, where the garbage
collector does not wait for it.
"""
function run_errand(address::Ptr{Cvoid})
    errand = unsafe_pointer_to_objref(address)::Errand
    # Outside of a threaded region events (the end of a process that compiles, say) are looked after
    # by Julia's first thread alone, which is busy with Python.
    ccall(:jl_enter_threaded_region, Cvoid, ())
    try
        errand.result = Base.invokelatest(errand.f, errand.arguments...)
        return Cint(0)
    catch error
        errand.error = INTERRUPTED[] == 0 ? error : InterruptException()
        return Cint(1)
    finally
        ccall(:jl_exit_threaded_region, Cvoid, ())
    end
end

"What an errand brought; its error is raised."
function python_result(errand::Errand)
    result, error = errand.result, errand.error
    errand.result = errand.error = nothing
    return error === nothing ? result : throw(error)
end

"What Python calls by address, and where the flag is that gives up running evaluations."
function python_addresses()
    runner = @cfunction(run_errand, Cint, (Ptr{Cvoid},))
    return UInt(runner), UInt(pointer_from_objref(INTERRUPTED))
end

"Whether Julia handles signals, which its garbage collector needs with more than one thread."
python_handles_signals() = Base.JLOptions().handle_signals != 0

"Compute on one thread from now on; how many there are."
function python_one_thread()
    MOST_THREADS[] = 1
    return Threads.nthreads()
end
