# Steady states under a treatment: those of its last segment, and those of the pre-treatment, from which
# conditions start.

check_horizon(u::AbstractMatrix, horizon) = nothing

"Raise unless there is time to settle in the last segment."
function check_horizon(treatment::Treatment, horizon)
    last_start(treatment) < horizon && return nothing
    return throw(
        SolverError(
            "the last phase starts at $(last_start(treatment)) and the horizon is $horizon: give a " *
            "later horizon, so that there is time to settle.",
        ),
    )
end

hold!(block::SteadyBlock, u::AbstractMatrix, columns) = nothing

"Have the entries of a block stay that do not move in the last segment, at their level."
function hold!(block::SteadyBlock{T}, treatment::Treatment{T}, columns) where {T}
    moves, n, last = treatment.moves, block.n, length(treatment.starts)
    block.holds = false
    for (j, column_) in enumerate(columns), i in 1:n
        e = (j - 1) * n + i
        given = given_start(treatment, i, column_)
        isnan(given) || (block.initial[e] = given)
        if moves !== nothing && !moves[i, last, column_]
            block.holds = block.stays[e] = true
            block.gain[e] = zero(T)
        end
        block.stays[e] && (block.offset[e] = block.initial[e])
    end
    return nothing
end

function write_inputs!(
    inputs::TreatmentGradient{T}, positions, block, session, treatment::Treatment, columns
) where {T}
    n, last, jumps = block.n, length(treatment.starts), treatment.jumps
    for (j, column_) in enumerate(columns), i in 1:n
        e = (j - 1) * n + i
        inputs.initial_state[i, positions[j]] = block.slope[e]
        # Only a dose goes on to u.
        (jumps !== nothing && jumps[i, column_]) || (block.slope[e] = zero(T))
    end
    pull_back_drive!(
        view(inputs.perturbation, :, last, :), positions, session.lowering, last_input(treatment),
        columns, block.g, block.phi, block.slope,
    )
    return inputs
end

"Of time constants: how long a pre-treatment is integrated that has no proven steady state."
const LONG_BEFORE = 40

"The pre-treatment as a problem of its own, whose weights are what is handed back to it."
function problem_before(treatment::Treatment{T}) where {T}
    n, c = size(treatment)
    last, moves = length(treatment.starts), treatment.moves
    u = treatment.pretreatment
    before = Treatment(
        treatment.structure, [0.0], reshape(u, n, 1, c);
        moves=moves === nothing ? nothing : moves[:, last:last, :], initial=treatment.initial,
    )
    before.jumps = treatment.jumps
    nothing_, ones_ = zeros(T, n, 1, c), ones(T, n, 1, c)
    return SteadySession(
        treatment.structure, before, nothing_, ones_, [1.0], HandOn(), treatment.settle
    )
end

"The conditions, of those asked for, that begin in a steady state; their places among them."
places_before(treatment::Treatment, index) = findall(row -> treatment.pretreated[row], index)

"Find where the conditions `index` of a treatment start."
function set_off!(treatment::Treatment{T}, parameters, index) where {T}
    n, _ = size(treatment)
    for column_ in index, i in 1:n
        treatment.start[i, column_] = given_start(treatment, i, column_)
    end
    treatment.pretreatment === nothing && return nothing
    rows = index[places_before(treatment, index)]
    isempty(rows) && return nothing
    treatment.before === nothing && (treatment.before = problem_before(treatment))
    settle_before!(treatment.before, parameters, rows)
    for row in rows, i in 1:n
        jumps = treatment.jumps !== nothing && treatment.jumps[i, row]
        jumps || (treatment.start[i, row] = treatment.before.states[i, row])
    end
    return nothing
end

"Find the steady states of the pre-treatment, from the same beginnings every time."
function settle_before!(before::SteadySession, parameters, rows)
    load!(before.network, before.lowering, parameters)
    horizon = LONG_BEFORE / Float64(minimum(Gains(before.network.coefficients).decay))
    horizon == before.horizon || (before.integrated = nothing)
    before.horizon = horizon
    before.correction.made = false
    fill!(before.states, 0)
    fill!(before.adjoints, 0)
    find!(before, parameters, rows)
    if before.integrated === nothing && !all(row -> before.settled[row], rows)
        # Which weights are 0 is counted once, and they come later.
        fill!(before.weight, 1)
        before.integrated = integrating_session(before, before.solver.integrator)
    end
    return nothing
end

"Keep the derivatives with respect to where the conditions `columns` start."
function keep_start!(treatment::Treatment, columns, adjoint)
    treatment.before === nothing && return nothing
    n, weight = size(treatment, 1), treatment.before.weight
    for (q, column_) in enumerate(columns)
        treatment.pretreated[column_] &&
            copyto!(weight, (column_ - 1) * n + 1, adjoint, (q - 1) * n + 1, n)
    end
    return nothing
end

"""
Add to `gradient` and `inputs` what comes through the pre-treatment of the rows asked for.
"""
reverse_start!(gradient, source::AbstractMatrix, parameters, index, inputs) = nothing
function reverse_start!(gradient, treatment::Treatment, parameters, index, inputs)
    treatment.pretreatment === nothing && return nothing
    places = places_before(treatment, index)
    isempty(places) && return nothing
    before, rows_before = treatment.before, index[places]
    part = inputs === nothing ? nothing : gradient_for(before.perturbation, length(places))
    shared = Gains(before.network.coefficients)
    gradient_at!(before.gradient, before, shared, parameters, rows_before, 1, part)
    for name in keys(before.gradient)
        parameter(gradient, name) .+= before.gradient[name]
    end
    part === nothing && return nothing
    inputs.pretreatment[:, places] .= view(part.perturbation, :, 1, :)
    inputs.initial_state[:, places] .= part.initial_state
    return nothing
end
