# A problem held with its buffers, for repeated evaluation.
#
# The conditions are split into chunks, one for a thread, and a chunk into blocks that are
# integrated and reversed one after the other: the conditions do not know of each other, so only
# a block's tape has to be kept, and it stays in the processor's cache.

"A problem held with the buffers for its evaluation."
abstract type Held end

"What one thread needs, and what it finds."
mutable struct Chunk{T,F<:Forward{T}}
    forward::F
    backward::Reverse{T}
    seeds::Vector{T}
    checkpoints::Vector{T}
    total::Float64
    # Position, among the rows asked for, of a condition that is not finite; 0 without one.
    bad::Int
end

function Chunk{T}(network, lowering, S, width, times, source) where {T}
    forward = Forward{T}(network, lowering, S, width, source)
    n = network.M.n
    return Chunk(forward, Reverse{T}(network, S, width), zeros(T, n * width * times), T[], 0.0, 0)
end

"""
    Session(structure, perturbation, response, weight, times; solver, loss=Loss(),
            chunks=nothing, memory_limit=2^30)

Hold a problem for repeated evaluation of its loss and gradient; all buffers are made once.

- `perturbation`: u, n × conditions; its element type is that of the computation. Or a
  [`Treatment`](@ref).
- `response`: n × times × conditions, or n × conditions where there is one time.
- `weight`: like `response`, 1/sigma, zero where not measured.
- `times`: strictly increasing, ≥ 0; the horizon alone for steady-state data.
- `solver`: `Euler(dt)`, `Midpoint(dt)`, `Heun(dt)` or `RK4(dt)`.
- `chunks`: into how many parts the conditions are split over the threads; by default one per
  thread, fewer where the problem is small. Results have the same bits for the same number.
- `memory_limit`: bytes that the session may take beside the data. If the recorded trajectories do
  not fit, only every k-th state is kept and the steps between are computed again, with the same
  gradient to the bit.

Dense arrays are used where they lie, not copied: the session keeps them alive, and a change in
them counts from the next evaluation on (but which entries are measured is counted once).

Raises `ModelError` for shapes that do not fit and `SolverError` for times or a limit that cannot
be used. One session is for one task at a time.
"""
struct Session{T,E,TB,L,U<:Inputs{T},C,G} <: Held
    lowering::Lowering
    network::Network{T,E}
    method::TB
    grid::Grid
    loss::L
    perturbation::U
    response::Array{T,3}
    weight::Array{T,3}
    # Measured entries of each condition up to each time, times × conditions.
    measured::Matrix{Int}
    every_row::Vector{Int}
    # Fewest conditions that are given to a thread.
    least::Int
    chunks::Vector{C}
    # Steps between kept states; all of them where the memory suffices.
    segment::Int
    gradient::G
    # Keeps alive the memory that the arrays above are views of.
    owners::Vector{Any}
end

function Session(
    structure::Structure, perturbation::Inputs{T}, response::AbstractArray,
    weight::AbstractArray, times;
    solver::FixedStep, loss::AnyLoss=Loss(), chunks=nothing, memory_limit=2^30,
) where {T<:AbstractFloat}
    check_perturbation(structure, perturbation)
    grid = Grid(times, solver.dt, starts_of(perturbation))
    method, lowering = tableau(solver), Lowering(structure)
    n, c = size(perturbation)
    shape = (n, length(grid.times), c)
    y = _observed("response", dense(T, response), shape)
    w = _observed("weight", dense(T, weight), shape)
    network = Network{T}(lowering)
    S, steps = stages(method), nsteps(grid)
    limit = _chunks(chunks)
    least = limit === nothing ? worthwhile_columns(n, S, steps) : 1
    used = parts(c, least, limit === nothing ? usable_threads() : min(limit, max(c, 1)))
    width = block_width(n, max(cld(c, used), 1))
    source = held_where_it_lies(T, perturbation)
    chunks = [Chunk{T}(network, lowering, S, width, length(grid.times), source) for _ in 1:used]
    gradient = zero_parameters(T, structure)
    buffers = Base.summarysize((network, chunks, gradient))
    source isa Treatment && (buffers -= Base.summarysize(source))  # data
    segment = segment_length(
        T, network.envelope, n, S, width, steps, used, buffers, memory_limit
    )
    return Session(
        lowering, network, method, grid, loss, source, y, w,
        [count(!iszero, view(w, :, 1:k, j)) for k in 1:length(grid.times), j in 1:c], collect(1:c), least,
        chunks, segment, gradient, Any[perturbation, response, weight],
    )
end

function _observed(name, array, shape)
    size(array) == shape && return array
    if ndims(array) == 2 && shape[2] == 1 && size(array) == (shape[1], shape[3])
        return reshape(array, shape)
    end
    return throw(
        ModelError(
            "$name has shape $(size(array)); it needs (nodes, times, conditions) = $shape."
        ),
    )
end

"Most steps between kept states for which a session stays within `limit` bytes, of which `buffers`
are those with tapes of one step."
function segment_length(
    ::Type{T}, φ, n::Int, S::Int, width::Int, steps::Int, chunks::Int, buffers::Int, limit
) where {T}
    limit isa Real && limit > 0 || throw(
        SolverError("memory_limit=$(repr(limit)); it needs a number of bytes > 0.")
    )
    state = n * width * sizeof(T)
    kept(L) = L >= steps ? 0 : cld(steps, L) * state
    tape(L) = tape_bytes(T, φ, n, S, width, L)
    bytes(L) = buffers + chunks * (tape(L) - tape(1) + kept(L))
    steps = max(steps, 1)
    # Whole groups of steps, so that the outer products are those of an unbroken sweep.
    lengths = step_group(n, S, width):step_group(n, S, width):(steps - 1)
    bytes(steps) <= limit && return steps
    for L in reverse(lengths)
        bytes(L) <= limit && return L
    end
    least = minimum(bytes, [lengths; steps])
    return throw(
        SolverError(
            "memory_limit=$limit bytes is too little: with checkpoints the session takes " *
            "$least bytes for $steps steps; raise it, use fewer chunks, or longer steps.",
        ),
    )
end

"Give a session's buffers back; it is of no use afterwards."
function release!(session::Session)
    for chunk in session.chunks
        release!(chunk.forward)
        foreach(free!, (chunk.seeds, chunk.checkpoints))
    end
    return nothing
end

"""
    value(session, parameters; rows=nothing, prefix=nothing)

Loss over the measured entries of the conditions `rows` (from 1; all by default) at the first
`prefix` times (all by default), as `Float64`.
`parameters` as for [`trajectory`](@ref). Raises `DivergenceError` where it is not finite.
"""
function value(session::Held, parameters; rows=nothing, prefix=nothing)
    return _evaluate!(session, parameters, rows, Val(false), prefix)
end

"""
    value_and_gradient!([gradient,] session, parameters; rows=nothing, prefix=nothing,
                        inputs=nothing)

Loss as [`value`](@ref) and its exact derivative with respect to the effective parameters, by
reversing every step of the computed trajectory.

Returns `(value, gradient)`. `gradient` is a `NamedTuple` or dictionary of arrays in the shape of
the parameters, into which the derivative is written, with W's zero where the mask is false. Left
out, it is a `NamedTuple` that belongs to the session and is overwritten by its next call. Into
`inputs`, an [`InputGradient`](@ref), the derivatives with respect to perturbation and initial state
are written.

Raises `DivergenceError` where the trajectory, the loss or the gradient is not finite.
"""
function value_and_gradient!(session::Held, parameters; options...)
    return value_and_gradient!(session.gradient, session, parameters; options...)
end

function value_and_gradient!(
    gradient, session::Held, parameters; rows=nothing, prefix=nothing, inputs=nothing
)
    lowering = _lowering(session)
    gradient === session.gradient || check_parameters(lowering.structure, gradient)
    total = _evaluate!(session, parameters, rows, Val(true), prefix, inputs)
    pull_back!(gradient, lowering, _swept(session), _network(session))
    reverse_start!(gradient, _source(session), parameters, _rows(session, rows), inputs)
    check_gradient(gradient, inputs, lowering.structure.model, UNSTABLE)
    return total, gradient
end

_lowering(session::Session) = session.lowering
_network(session::Session) = session.network
_source(session::Session) = session.perturbation
"The gradient with respect to the coefficients that the last evaluation has left."
_swept(session::Session) = session.chunks[1].backward.gradient
