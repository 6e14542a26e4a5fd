# Programs: generated code, compiled once for each text, and called through an address, so that what
# calls it is the same for all equations and compiled when the package is installed.

"""
A function of a range of conditions: `entry` takes the range and addresses of numbers, `generic` arrays
of any numbers, both with `room` entries of a last array for themselves.
"""
struct Program
    entry::Ptr{Cvoid}
    generic::Any
    room::Int
end
const NO_PROGRAM = Program(C_NULL, nothing, 0)

given(program::Program) = program.entry != C_NULL

const PROGRAMS = Dict{String,Program}()
const COMPILING = ReentrantLock()

"The program of a text that pycellbox has generated, compiled in a module of its own."
function compiled(text::String)
    return lock(COMPILING) do
        get!(PROGRAMS, text) do
            home = Module(:Generated)
            Core.eval(home, :(using Base: Base))
            Core.eval(home, :(const Operations = $Operations))
            Core.eval(home, :(const Program = $Program))
            Core.eval(home, :(using .Operations))
            include_string(home, text)::Program
        end
    end
end

"Call a program for the conditions `from` to `to`; unused arrays are null."
@inline function call!(
    program::Program, from::Int, to::Int, x::Ptr{T}, u::Ptr{T}, p::Ptr{T}, a::Ptr{T}, o1::Ptr{T},
    o2::Ptr{T}, o3::Ptr{T}, w::Ptr{T},
) where {T}
    ccall(
        program.entry, Cvoid,
        (Int, Int, Ptr{T}, Ptr{T}, Ptr{T}, Ptr{T}, Ptr{T}, Ptr{T}, Ptr{T}, Ptr{T}),
        from, to, x, u, p, a, o1, o2, o3, w,
    )
    return nothing
end

"""
An equation of `states` among `nodes`, with what its programs compute:

- `value`: dx/dt to o1; `transposed`: aᵀ∂f/∂x to o1; `pull_back`: that, and aᵀ∂f/∂u and aᵀ∂f/∂p added
  to o2 and o3; `slopes`: [∂f/∂x ∂f/∂p] to o1, row by row.
- `start`, `start_back`: of the initial state, as `value` and `pull_back` without its o1; `observing`,
  `observing_back`: of the nodes `observed`.

Without `slopes` they are made row by row from `pull_back`.
"""
mutable struct Equation{T}
    nodes::Int
    states::Vector{Int}
    observed::Vector{Int}
    inputs::Vector{Int}
    parameters::Int
    value::Program
    transposed::Program
    pull_back::Program
    slopes::Program
    start::Program
    start_back::Program
    observing::Program
    observing_back::Program
end

function Equation{T}(nodes, states, observed, inputs, parameters) where {T}
    return Equation{T}(nodes, states, observed, inputs, parameters, ntuple(_ -> NO_PROGRAM, 8)...)
end

"Entries that any of its programs need for itself."
room(equation::Equation) =
    maximum(getfield(equation, k).room for k in 6:fieldcount(typeof(equation)))
