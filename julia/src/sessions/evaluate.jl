# One evaluation of a session: chunk by chunk on threads, block by block in a chunk.

function _evaluate!(
    session::Session, parameters, rows, mode::Val{Gradient}, prefix=nothing, inputs=nothing
) where {Gradient}
    check_parameters(session.lowering.structure, parameters)
    index = _rows(session, rows)
    check_inputs(inputs, session.perturbation, length(index))
    set_off!(session.perturbation, parameters, index)
    load!(session.network, session.lowering, parameters; reverse=Gradient)
    check_steps(session.method, session.grid, session.network.coefficients.c)
    grid = first_times(session.grid, prefix)
    entries = 0
    for row in index
        entries += session.measured[length(grid.times), row]
    end
    entries = max(entries, 1)
    used = parts(length(index), session.least, length(session.chunks))
    on_threads(used) do q
        share = span(length(index), used, q)
        _evaluate_chunk!(session, grid, q, index, share, entries, mode, inputs)
    end
    # In the order of the chunks, so that the sums do not depend on which thread was faster.
    total, first_chunk = 0.0, session.chunks[1]
    for q in 1:used
        chunk = session.chunks[q]
        chunk.bad == 0 || throw(diverged(chunk.bad, grid))
        total += chunk.total
        if Gradient
            finish!(chunk.backward)
            q > 1 && add!(first_chunk.backward.gradient, chunk.backward.gradient)
        end
    end
    isfinite(total) || throw(
        DivergenceError("the loss is not finite: the trajectory is finite but too large.")
    )
    return total / entries
end

# Of any session: all of them have `every_row`.
_rows(session, ::Nothing) = session.every_row
function _rows(session, rows)
    index = convert(Vector{Int}, vec(collect(rows)))
    c = length(session.every_row)
    all(row -> 1 <= row <= c, index) && return index
    return throw(ModelError("rows=$index; the problem has the conditions 1 to $c."))
end

const UNSTABLE =
    "the network is unstable over this horizon; shorten it, use a smaller step, or shrink W."

"Raise `DivergenceError`, with the likely reason, if an entry of the gradient is not finite."
function check_gradient(gradient, inputs, model::Model, why)
    for name in parameter_names(model)
        check_gradient(parameter(gradient, name), name, why)
    end
    inputs === nothing && return nothing
    check_gradient(inputs.perturbation, "the perturbation", why)
    inputs isa TreatmentGradient &&
        check_gradient(inputs.pretreatment, "the pre-treatment", why)
    return check_gradient(inputs.initial_state, "the initial state", why)
end
function check_gradient(array::AbstractArray, name, why)
    all(isfinite, array) ||
        throw(DivergenceError("the gradient with respect to $name is not finite: $why"))
    return nothing
end

function add!(k::Coefficients, other::Coefficients)
    foreach((to, part) -> to .+= part, arrays(k), arrays(other))
    return k
end

function _evaluate_chunk!(
    session, grid, q, index, share, entries, mode::Val{Gradient}, inputs
) where {Gradient}
    chunk = session.chunks[q]
    ws, network, method = chunk.forward, session.network, session.method
    chunk.total, chunk.bad = 0.0, 0
    if Gradient
        clear!(chunk.backward)
        lengthen!(ws, network, stages(method), session.segment)
    end
    for start in first(share):(ws.width):last(share)
        block = start:min(start + ws.width - 1, last(share))
        begin!(ws, session.lowering, session.perturbation, view(index, block))
        reached = AddLoss(session, chunk, view(index, block), start - 1, entries, mode)
        stop_at_start!(ws, grid, reached)
        _forward_sweep!(session, grid, chunk, reached, mode)
        chunk.bad == 0 || return nothing
        if Gradient
            _reverse_sweep!(session, grid, chunk, inputs, block)
            leave_start!(
                chunk.backward, ws, ws.course, session.lowering, session.perturbation,
                view(index, block), inputs, block,
            )
        end
    end
    return nothing
end

"Adds a block's loss at a requested time to the chunk's and keeps its derivative."
struct AddLoss{S,C,I,M}
    session::S
    chunk::C
    columns::I
    offset::Int
    entries::Int
    mode::M
end

function (add::AddLoss{S,C,I,Val{Gradient}})(k, at) where {S,C,I,Gradient}
    session, chunk = add.session, add.chunk
    total, finite = add_loss!(
        Gradient ? chunk.seeds : nothing, (k - 1) * chunk.forward.m, session.loss,
        chunk.forward.state, at, session.response, session.weight, k, add.columns, add.entries,
    )
    chunk.total += total
    if !finite
        state = view(chunk.forward.state, (at + 1):(at + chunk.forward.m))
        bad = add.offset + cld(findfirst(!isfinite, state), chunk.forward.n)
        chunk.bad = chunk.bad == 0 ? bad : min(bad, chunk.bad)
    end
    return nothing
end

_segments(session, grid) = cld(nsteps(grid), session.segment)

"The steps of the s-th segment between kept states."
function _segment(session, grid, s)
    return ((s - 1) * session.segment + 1):min(s * session.segment, nsteps(grid))
end

function _forward_sweep!(session, grid, chunk, reached, ::Val{Gradient}) where {Gradient}
    ws, network, method = chunk.forward, session.network, session.method
    if !Gradient
        run!(ws, network, method, grid, 1, nsteps(grid), false, reached)
        return nothing
    end
    segments = _segments(session, grid)
    segments > 1 && resize!(chunk.checkpoints, segments * ws.n * ws.width)
    for s in 1:segments
        segments > 1 && copyto!(chunk.checkpoints, (s - 1) * ws.m + 1, ws.state, 1, ws.m)
        steps = _segment(session, grid, s)
        # The last segment stays on the tape, whence the reverse sweep starts.
        run!(ws, network, method, grid, first(steps), last(steps), s == segments, reached)
    end
    return nothing
end

function _reverse_sweep!(session, grid, chunk, inputs, positions)
    ws, back = chunk.forward, chunk.backward
    segments, k = _segments(session, grid), length(grid.steps_at)
    fill!(back.adjoint, 0)
    driven = of_drive(inputs, ws)
    driven && clear_drive!(back, ws)
    for s in segments:-1:1
        steps = _segment(session, grid, s)
        if s < segments
            copyto!(ws.state, 1, chunk.checkpoints, (s - 1) * ws.m + 1, ws.m)
            run!(
                ws, session.network, session.method, grid, first(steps), last(steps), true,
                no_report,
            )
        end
        for step in reverse(steps)
            check_interrupt()
            k = pass_stops!(
                back, ws, grid, grid.steps_at, k, step, chunk.seeds, inputs, positions
            )
            set_step!(ws, session.network, grid.h[k + 1])
            reverse_step!(back, ws, session.network, session.method, step - first(steps))
            driven && add_drive!(back, ws, session.method, step - first(steps))
        end
    end
    # The loss at a first requested time of 0 is one of x₀ itself.
    pass_stops!(back, ws, grid, grid.steps_at, k, 0, chunk.seeds, inputs, positions)
    return nothing
end
