# A problem of a generated equation held for repeated evaluation.

"What one thread needs for the conditions at hand: adjoints, and those of the stages."
mutable struct EquationReverse{T}
    adjoint::Vector{T}
    kappa::Vector{T}
    bars::Vector{T}
    due::Vector{T}
end
EquationReverse{T}() where {T} = EquationReverse(T[], T[], T[], T[])

"""
    EquationSession(equation, solver, times, starts, u, moves, initial, parameters, y, weight, loss)

Hold a problem of a generated equation.

- `starts`: when segments begin, or `nothing` where the one begins at 0.
- `u`: nodes × segments × conditions; `moves`, of the same shape, which nodes follow the equation, or
  `nothing` for all.
- `initial`, `parameters`: nodes × conditions, NaN for the equation's own start, and parameters ×
  conditions; read anew in every evaluation, in which the first columns are those of the rows.
- `y`, `weight`: nodes × times × conditions.
"""
struct EquationSession{T,R<:EquationRun{T},L<:AnyLoss} <: Held
    run::R
    starts::Union{Nothing,Vector{Float64}}
    u::Array{T,3}
    moves::Union{Nothing,Array{UInt8,3}}
    initial::Matrix{T}
    # Where the conditions at hand start, nodes × conditions, and which of their states do so by themselves.
    begin_::Matrix{T}
    own::Matrix{Bool}
    y::Array{T,3}
    weight::Array{T,3}
    loss::L
    every_row::Vector{Int}
    # Measured entries of each condition up to each time, times × conditions.
    measured::Matrix{Int}
    # All nodes at a requested time, and derivatives with respect to them: nodes × conditions × times.
    nodes::Vector{T}
    seeds::Vector{T}
    observed::Vector{T}
    backward::Vector{EquationReverse{T}}
end

function EquationSession(
    equation::Equation{T}, solver, times, starts, u::Array{T,3}, moves, initial::Matrix{T},
    parameters::Matrix{T}, y::Array{T,3}, weight::Array{T,3}, loss::AnyLoss,
) where {T}
    run = EquationRun(equation, solver, times, starts, parameters)
    n, s, c = size(u)
    run.u = zeros(T, length(equation.inputs), c, s)
    moves === nothing || (run.moves = ones(T, length(equation.states), c, s))
    return EquationSession(
        run, starts, u, moves, initial, zeros(T, n, c), fill(true, length(equation.states), c), y, weight,
        loss, collect(1:c), [count(!iszero, view(weight, :, 1:k, j)) for k in 1:size(weight, 2), j in 1:c],
        zeros(T, n * c), zeros(T, n * c * length(times)),
        zeros(T, length(equation.observed) * c), EquationReverse{T}[],
    )
end

release!(session::EquationSession) = foreach(free!, (session.run.tape, session.run.k))

"Integrate the conditions `index` from where they begin through the first `count` stops."
function run!(session::EquationSession{T}, index, keep::Bool, count::Int, reached::R) where {T,R}
    run, c = session.run, length(index)
    gather!(session, index)
    begin!(run, c, keep)
    begin_all!(session)
    integrate!(run, session.starts, reached, count)
    return run
end

"Lay inputs and moves of the conditions one after the other, segment by segment."
function gather!(session::EquationSession{T}, index) where {T}
    run, c = session.run, length(index)
    inputs, states = run.equation.inputs, run.equation.states
    for s in axes(session.u, 2), (q, column) in enumerate(index)
        at = ((s - 1) * c + q - 1) * length(inputs)
        for (i, node) in enumerate(inputs)
            run.u[at + i] = session.u[node, s, column]
        end
        session.moves === nothing && continue
        at = ((s - 1) * c + q - 1) * length(states)
        for (i, node) in enumerate(states)
            run.moves[at + i] = session.moves[node, s, column]
        end
    end
    return nothing
end

"Write where the conditions at hand begin, and their states to the tape."
function begin_all!(session::EquationSession{T}) where {T}
    run, equation = session.run, session.run.equation
    n, no = length(equation.states), Ptr{T}(0)
    run.segment = 1
    call!(
        equation.start, 1, run.columns, no, inputs_in(run, run.segment), pointer(run.p), no, pointer(run.tape), no,
        no, pointer(run.rooms[1]),
    )
    begin_, given = session.begin_, session.initial
    for j in 1:(run.columns)
        for i in axes(given, 1)
            begin_[i, j] = isnan(given[i, j]) ? zero(T) : given[i, j]
        end
        for (i, node) in enumerate(equation.states)
            own = isnan(given[node, j])
            session.own[i, j] = own
            at = (j - 1) * n + i
            own ? (begin_[node, j] = run.tape[at]) : (run.tape[at] = given[node, j])
        end
    end
    return nothing
end

"Write all nodes of the conditions, with those that are observed, for the states behind `at`."
function show_nodes!(session::EquationSession{T}, at::Int) where {T}
    run, equation, nodes = session.run, session.run.equation, session.nodes
    n, all_, no = length(equation.states), equation.nodes, Ptr{T}(0)
    copyto!(nodes, 1, session.begin_, 1, all_ * run.columns)
    for j in 1:(run.columns), (i, node) in enumerate(equation.states)
        @inbounds nodes[(j - 1) * all_ + node] = run.tape[at + (j - 1) * n + i]
    end
    isempty(equation.observed) && return nodes
    call!(
        equation.observing, 1, run.columns, behind(run.tape, at), inputs_in(run, run.segment), pointer(run.p), no,
        pointer(session.observed), no, no, pointer(run.rooms[1]),
    )
    for j in 1:(run.columns), (i, node) in enumerate(equation.observed)
        nodes[(j - 1) * all_ + node] = session.observed[(j - 1) * length(equation.observed) + i]
    end
    return nodes
end

"What is wrong with an evaluation in which one of the conditions is not finite."
function not_finite(session::EquationSession, row)
    stop = session.run.stops.times[end]
    return DivergenceError(
        "the trajectory of condition number $row is not finite by t = $stop: the equations are " *
        "unstable or the step too long; use a smaller dt, or Tsit5.",
    )
end

"Adds the loss at a requested time, and keeps its derivative."
mutable struct AddEquationLoss{S,I}
    session::S
    index::I
    entries::Int
    gradient::Bool
    total::Float64
    bad::Int
end

function (add::AddEquationLoss)(k::Int, at::Int)
    session = add.session
    n, c = session.run.equation.nodes, length(add.index)
    nodes = show_nodes!(session, at)
    # Seeds of the conditions at hand lie at the beginning of each time's.
    from = (k - 1) * n * length(session.every_row)
    total, finite = add_loss!(
        add.gradient ? session.seeds : nothing, from, session.loss, nodes, 0, session.y,
        session.weight, k, add.index, add.entries,
    )
    add.total += total
    if !finite && add.bad == 0
        add.bad = cld(findfirst(!isfinite, view(nodes, 1:(n * c))), n)
    end
    return nothing
end

function evaluate!(session::EquationSession, rows, prefix, gradient::Bool)
    index = _rows(session, rows)
    if isempty(index)
        begin!(session.run, 0, gradient)  # what the evaluation before has left
        return 0.0
    end
    count_ = last_stop(session.run.stops, prefix)
    times = prefix === nothing ? size(session.y, 2) : Int(prefix)
    entries = 0
    for row in index
        entries += session.measured[times, row]
    end
    entries = max(entries, 1)
    add = AddEquationLoss(session, index, entries, gradient, 0.0, 0)
    GC.@preserve session begin
        run!(session, index, gradient, count_, add)
    end
    add.bad == 0 || throw(not_finite(session, add.bad))
    isfinite(add.total) || throw(
        DivergenceError("the loss is not finite: the trajectory is finite but too large.")
    )
    return add.total / entries
end

"Mean loss over the measured entries of the conditions `rows`, at the first `prefix` times."
value(session::EquationSession, ::Nothing; rows=nothing, prefix=nothing) =
    evaluate!(session, rows, prefix, false)

"""
Loss, and its derivatives with respect to the parameters and inputs of each condition, and to where it
begins: `of_p` (parameters × rows), `of_u` (inputs × rows × segments), `of_start` (nodes × rows).
"""
function value_and_gradient!(
    of_p::Matrix{T}, of_u::Array{T,3}, of_start::Matrix{T}, session::EquationSession{T};
    rows=nothing, prefix=nothing,
) where {T}
    found = evaluate!(session, rows, prefix, true)
    GC.@preserve session of_p of_u of_start begin
        reverse_all!(session, of_p, of_u, of_start)
    end
    return found
end

"States of all nodes of the conditions `index`, nodes × times × conditions; the number of steps."
function solve_states!(
    out::Array{T,3}, session::EquationSession{T}, index=session.every_row
) where {T}
    n, c = session.run.equation.nodes, length(index)
    function reached(k, at)
        nodes = show_nodes!(session, at)
        for j in 1:c
            copyto!(out, ((j - 1) * size(out, 2) + k - 1) * n + 1, nodes, (j - 1) * n + 1, n)
        end
        return nothing
    end
    GC.@preserve session run!(session, index, false, length(session.run.stops.begins), reached)
    return length(session.run.sizes)
end
