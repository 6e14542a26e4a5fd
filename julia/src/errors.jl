# One small family of exceptions, one base to catch them all; the names are those of pycellbox.

"""
    CoreError

Base of every error that PycellboxCore raises on purpose. All of them have a field `message`, a
readable sentence.
"""
abstract type CoreError <: Exception end

"A model, loss, structure or parameter set that cannot be what was meant."
struct ModelError <: CoreError
    message::String
end

"A solver, time grid or memory limit that cannot be used as asked."
struct SolverError <: CoreError
    message::String
end

"A trajectory, loss or gradient left the range of finite numbers."
struct DivergenceError <: CoreError
    message::String
end

function Base.showerror(io::IO, error::CoreError)
    return print(io, nameof(typeof(error)), ": ", error.message)
end

"Raise a `ModelError` unless `value` is one of `allowed`."
function one_of(name, value, allowed)
    value in allowed && return value
    listed = join(repr.(collect(allowed)), ", ")
    return throw(ModelError("$name=$(repr(value)) is unknown; choose one of $listed."))
end
