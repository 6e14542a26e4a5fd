# How Python calls: without its lock, and so that it can be given up.

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

"Versions of Julia and of this package, for provenance."
python_version() = "julia $VERSION, PycellboxCore $(pkgversion(PycellboxCore))"
