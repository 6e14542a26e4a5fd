# Solutions at requested times, and how conditions are spread over threads.

"Columns of a block for n nodes: its passes stay in the second-level cache, and M is not fetched
for too few columns (the fewer the slower the memory it lies in). A multiple of what a tile of the
products takes."
function block_width(n::Int, columns::Int)
    most = TILE_COLUMNS * clamp(2400 ÷ (TILE_COLUMNS * n), n <= 700 ? 4 : 8, 80)
    blocks = cld(columns, most)
    return min(columns, TILE_COLUMNS * cld(cld(columns, blocks), TILE_COLUMNS))
end

"Fewest conditions worth a thread: they should take it a tenth of a millisecond or so."
function worthwhile_columns(n::Int, S::Int, steps::Int)
    nanoseconds = steps * S * (0.13 * n^2 + 4.0 * n)
    return max(1, ceil(Int, 1e5 / max(nanoseconds, 1.0)))
end

"Split `total` into `parts` contiguous ranges of nearly equal length; the q-th of them."
span(total::Int, parts::Int, q::Int) = ((q - 1) * total ÷ parts + 1):(q * total ÷ parts)

"Number of threads to use for so many conditions, at most `limit`."
parts(columns::Int, least::Int, limit::Int) = clamp(columns ÷ least, 1, limit)

"Most threads that are used; fewer than there are where more cannot be had safely."
const MOST_THREADS = Ref(typemax(Int))

usable_threads() = min(Threads.nthreads(), MOST_THREADS[])

"Call f(1), …, f(parts), each on a thread of its own where there are threads."
function on_threads(f::F, parts::Int) where {F}
    parts == 1 && return f(1)
    tasks = [Threads.@spawn f(q) for q in 2:parts]
    try
        f(1)
    finally
        # However it ends: nobody may go on in buffers that the caller takes for its own.
        foreach(wait_for, tasks)
    end
    foreach(wait, tasks)  # for their errors
    return nothing
end

function wait_for(task::Task)
    try
        wait(task)
    catch
    end
    return nothing
end

# Where conditions start is decided by their treatment: see steady/treatment.jl.
set_off!(u::AbstractMatrix, parameters, index) = nothing

check_perturbation(structure, u) =
    size(u, 1) == nodes(structure) || throw(
        ModelError("perturbation has $(size(u, 1)) rows; there are $(nodes(structure)) nodes.")
    )

"""
    trajectory(structure, solver, parameters, perturbation, times; chunks=nothing)
    trajectory!(states, structure, solver, parameters, perturbation, times; chunks=nothing,
                strict=true)

Integrate all conditions from t = 0.

- `parameters`: effective values, a `NamedTuple` or dictionary of `W` (n × n, [target, source])
  and the [`rates`](@ref) of the model's form (n).
- `perturbation`: u, n × conditions; its element type is that of the computation. Or a
  [`Treatment`](@ref); the integration then starts with its first segment.
- `times`: strictly increasing, ≥ 0.
- `chunks`: parts into which the conditions are split over the threads.
- `strict`: whether states that are not finite are an error.

Returns x at the times, n × times × conditions, log-ratios. Raises `ModelError` or `SolverError`
for arguments that do not fit, `DivergenceError` where the trajectory is not finite.
"""
function trajectory(
    structure::Structure, solver, parameters, perturbation::Inputs{T}, times; chunks=nothing
) where {T<:Real}
    states = Array{float(T),3}(undef, nodes(structure), length(times), size(perturbation, 2))
    return trajectory!(
        states, structure, solver, parameters, perturbation, times; chunks=chunks
    )
end

function trajectory!(
    states::AbstractArray{T,3}, structure::Structure, solver::FixedStep, parameters,
    perturbation::Inputs, times; chunks=nothing, strict=true,
) where {T<:Real}
    check_parameters(structure, parameters)
    check_perturbation(structure, perturbation)
    grid = Grid(times, solver.dt, starts_of(perturbation))
    method, lowering = tableau(solver), Lowering(structure)
    n, c = size(perturbation)
    size(states) == (n, length(grid.times), c) || throw(
        ModelError("states has shape $(size(states)); it needs $((n, length(grid.times), c)).")
    )
    c == 0 && return states
    network = load!(Network{T}(lowering), lowering, parameters; reverse=false)
    check_steps(method, grid, network.coefficients.c)
    GC.@preserve perturbation begin
        u = held_where_it_lies(T, perturbation)
        set_off!(u, parameters, 1:c)
        _trajectory!(states, network, method, grid, lowering, u, _chunks(chunks))
    end
    strict && check_finite(states, grid)
    return states
end

_chunks(::Nothing) = nothing
function _chunks(chunks)
    chunks isa Integer && chunks >= 1 && return Int(chunks)
    return throw(SolverError("chunks=$(repr(chunks)); it needs nothing or an integer ≥ 1."))
end

function _trajectory!(states, network, method, grid, lowering, u, chunks)
    n, c = size(u)
    S = stages(method)
    least = chunks === nothing ? worthwhile_columns(n, S, nsteps(grid)) : 1
    used = parts(c, least, chunks === nothing ? usable_threads() : chunks)
    on_threads(used) do q
        share = span(c, used, q)
        ws = Forward{eltype(u)}(network, lowering, S, block_width(n, length(share)), u)
        for first in first(share):(ws.width):last(share)
            columns = first:min(first + ws.width - 1, last(share))
            begin!(ws, lowering, u, columns)
            reached = CopyStates(states, ws, columns)
            stop_at_start!(ws, grid, reached)
            run!(ws, network, method, grid, 1, nsteps(grid), false, reached)
        end
    end
    return states
end

"Copies the states of a block to their place among all."
struct CopyStates{A,W}
    states::A
    ws::W
    columns::UnitRange{Int}
end

(to::CopyStates)(k, at) = copy_states!(to.states, k, to.ws, to.columns, at)

function copy_states!(states, k, ws::Forward, columns, at)
    state, n = ws.state, ws.n
    for (q, column) in enumerate(columns), i in 1:n
        @inbounds states[i, k, column] = state[at + (q - 1) * n + i]
    end
    return nothing
end

"Raise unless all states are finite; `run` says how they were found."
function check_finite(states, run)
    all(isfinite, states) && return nothing
    row = findfirst(j -> !all(isfinite, view(states, :, :, j)), axes(states, 3))
    return throw(diverged(row, run))
end

function diverged(row, grid::Grid)
    return DivergenceError(
        "the trajectory of condition number $row is not finite by t = $(grid.times[end]): the " *
        "network is unstable or the step too long; use a smaller dt, or smaller W.",
    )
end
