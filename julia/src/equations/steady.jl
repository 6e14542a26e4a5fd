# Steady states of a generated equation, looked for along the trajectories of its conditions. As
# pycellbox/numerics/search.py does it.

# How much longer each integration is than the one before.
const LONGER = 4.0

"""
    EquationSteady(equation, solver::SteadyState, times, starts, u, moves, initial, parameters, y, weight, loss)

Hold a problem of steady states of a generated equation, for one segment and one time, the horizon; see
[`EquationSession`](@ref). Conditions without a proven steady state have their state at the horizon.
What they came to is in the order of the rows of the last evaluation; which of all conditions settled in
theirs, in `ended`.
"""
mutable struct EquationSteady{T,S<:EquationSession{T}} <: Held
    # Integrates the conditions at hand, whose places among the rows are `at_hand`.
    session::S
    at_hand::Vector{Int}
    tol::T
    lead::Float64
    horizon::Float64
    initial::Matrix{T}
    parameters::Matrix{T}
    states::Matrix{T}
    residual::Vector{T}
    settled::Vector{Bool}
    steps::Vector{Int}
    ended::Vector{Bool}
    # ρP, whether what is conserved depends on no parameter, the largest state at the start, its slope.
    projections::Vector{Matrix{T}}
    known::Vector{Bool}
    sizes::Vector{T}
    slopes::Vector{Float64}
    finders::Vector{RootFinder{T}}
end

function EquationSteady(
    equation::Equation{T}, solver::SteadyState, times, starts, u, moves, initial::Matrix{T},
    parameters::Matrix{T}, y, weight, loss,
) where {T}
    session = EquationSession(
        equation, solver.integrator, times, starts, u, moves, zero(initial), zero(parameters), y, weight, loss
    )
    n, c = length(equation.states), size(initial, 2)
    return EquationSteady(
        session, Int[], T(max(solver.tol, 1e3 * eps(T))), solver.lead, Float64(times[end]), initial, parameters,
        zeros(T, n, c), zeros(T, c), fill(false, c), zeros(Int, c), fill(true, c),
        [zeros(T, n, n) for _ in 1:c], fill(true, c), zeros(T, c), zeros(c), [RootFinder{T}(n) for _ in session.run.rooms],
    )
end

equation_session(equation, solver, given...) = EquationSession(equation, solver, given...)
equation_session(equation, solver::SteadyState, given...) = EquationSteady(equation, solver, given...)

"The session that integrates."
integrating(session::EquationSession) = session
integrating(steady::EquationSteady) = steady.session

release!(steady::EquationSteady) = release!(steady.session)

"A condition, by its place among the rows, in which an equation had no value; 0 for none."
fault_of(session::EquationSession) = session.run.fault
fault_of(steady::EquationSteady) =
    steady.session.run.fault == 0 ? 0 : steady.at_hand[steady.session.run.fault]

"Take the conditions at these places of the rows in hand."
function take!(steady::EquationSteady, places)
    resize!(steady.at_hand, length(places))
    copyto!(steady.at_hand, places)
    copy_columns!(steady.session.run.p, steady.parameters, places)
    copy_columns!(steady.session.initial, steady.initial, places)
    return steady
end

"Write the columns `places` of a matrix one after the other."
function copy_columns!(out::Array, from::Matrix, places)
    n = size(from, 1)
    for (q, place) in enumerate(places)
        copyto!(out, (q - 1) * n + 1, from, (place - 1) * n + 1, n)
    end
    return out
end

"Have the conditions at these places in hand, their states at the beginning, or those found, on the tape."
function lay!(steady::EquationSteady, index, places, found::Bool)
    take!(steady, places)
    session = steady.session
    gather!(session, view(index, places))
    begin!(session.run, length(places), false)
    begin_all!(session)
    found && copy_columns!(session.run.tape, steady.states, places)
    return session
end

"Call f(j, q) for all conditions in hand, on threads q."
function on_conditions(f::F, steady::EquationSteady) where {F}
    n, c = size(steady.states, 1), length(steady.at_hand)
    # About 25 Jacobians and eliminations, and eigenvalues.
    least = max(1, ceil(Int, 1e5 / (30.0 * n^3 + 1000.0 * n)))
    used = parts(c, least, length(steady.finders))
    on_threads(used) do q
        for j in span(c, used, q)
            f(j, q)
        end
    end
    return nothing
end

"Find the states of the conditions `index`."
function find!(steady::EquationSteady, index)
    left = collect(eachindex(index))
    lay!(steady, index, left, false)
    on_conditions((j, q) -> conserve!(steady, j, q), steady)
    fill!(steady.settled, false)
    fill!(steady.steps, 0)
    steepest = reduce(max, view(steady.slopes, left); init=0.0)
    time = min(steady.horizon, steady.lead / (steepest == 0 ? 1.0 : steepest))
    while !isempty(left)
        session = integrate_to!(steady, index, left, time, false)
        for place in left
            steady.steps[place] += length(session.run.sizes)
            all(isfinite, view(steady.states, :, place)) || throw(not_finite(session, place))
        end
        on_conditions((j, q) -> search!(steady, j, q), steady)
        filter!(place -> !steady.settled[place], left)
        time == steady.horizon && break
        time = min(steady.horizon, LONGER * time)
    end
    steady.ended[index] .= view(steady.settled, eachindex(index))
    return steady
end

"Note what condition `j` in hand conserves, and how large it and its slopes are, where it begins."
function conserve!(steady::EquationSteady{T}, j::Int, q::Int) where {T}
    session, find, place = steady.session, steady.finders[q], steady.at_hand[j]
    run = session.run
    equation, n = run.equation, size(steady.states, 1)
    from = (j - 1) * n
    start = view(run.tape, (from + 1):(from + n))
    jacobian!(find.here, find, run, run.tape, from, j, q)
    size_ = steady.sizes[place] = largest(start)
    steady.slopes[place] = all(isfinite, find.here) ? opnorm(find.here) : 0.0
    # A state that is like no other.
    for (i, node) in enumerate(equation.states)
        wave = cos(T(node - 1))
        start[i] = start[i] * (1 + T(0.1) * wave) + T(0.01) * (size_ > 0 ? size_ : one(T)) * (T(1.5) + wave)
    end
    jacobian!(find.J, find, run, run.tape, from, j, q)
    projection, steady.known[place] = steady.projections[place], true
    conserved!(projection, find.here, find.J, equation.nodes) || return nothing
    tangents, P = Tangents(run), equation.parameters
    GC.@preserve tangents slopes_at!(tangents, run, 0, j, 1, q)
    of_parameters = reshape(view(tangents.slopes, 1:(n * (n + P))), n + P, n)[(n + 1):end, :]
    lost = largest(of_parameters * projection)
    steady.known[place] = lost <= 1e-9 * largest(projection) * largest(of_parameters)
    return nothing
end

"Look for the steady state of condition `j` in hand, from its state; keep it where that is proven."
function search!(steady::EquationSteady{T}, j::Int, q::Int) where {T}
    session, find, place = steady.session, steady.finders[q], steady.at_hand[j]
    run, n, projection = session.run, size(steady.states, 1), steady.projections[place]
    at = (place - 1) * n
    copyto!(find.x, 1, steady.states, at + 1, n)
    residual, tolerance = root!(find, run, projection, steady.tol, steady.sizes[place], j, q)
    good = residual <= 2 * tolerance && steady.known[place]
    if good && goes_there!(find, run, projection, steady.states, at, j, q)
        copyto!(steady.states, at + 1, find.x, 1, n)
        steady.residual[place], steady.settled[place] = residual, true
    else
        copyto!(find.x, 1, steady.states, at + 1, n)
        steady.residual[place] = change!(find, run, projection, j, q)
    end
    return nothing
end

"Integrate the conditions at these places to a time, and keep their states."
function integrate_to!(steady::EquationSteady, index, places, time::Float64, keep::Bool)
    take!(steady, places)
    session, n = steady.session, size(steady.states, 1)
    run = session.run
    run.stops = stops_of(run.solver, [time], session.starts)
    reached(k, at) = for (q, place) in enumerate(places)
        copyto!(steady.states, (place - 1) * n + 1, run.tape, at + (q - 1) * n + 1, n)
    end
    run!(session, view(index, places), keep, length(run.stops.begins), reached)
    return session
end

function evaluate!(steady::EquationSteady, index, gradient::Bool)
    session = steady.session
    if isempty(index)
        take!(steady, index)
        begin!(session.run, 0, gradient)  # what the evaluation before has left
        return 0.0
    end
    GC.@preserve steady begin
        find!(steady, index)
        lay!(steady, index, eachindex(index), true)
        entries = max(mapreduce(row -> session.measured[1, row], +, index; init=0), 1)
        add = AddEquationLoss(session, index, entries, gradient, 0.0, 0)
        add(1, 0)
    end
    isfinite(add.total) && add.bad == 0 || throw(
        DivergenceError("the loss is not finite: the states are finite but too large.")
    )
    return add.total / entries
end

value(steady::EquationSteady, ::Nothing; rows=nothing, prefix=nothing) =
    evaluate!(steady, _rows(steady.session, rows), false)

"See the method for an [`EquationSession`](@ref)."
function value_and_gradient!(
    of_p::Matrix{T}, of_u::Array{T,3}, of_start::Matrix{T}, steady::EquationSteady{T};
    rows=nothing, prefix=nothing,
) where {T}
    index = _rows(steady.session, rows)
    found = evaluate!(steady, index, true)
    reverse_all!(of_p, of_u, of_start, steady, index)
    return found
end

"See the method for an [`EquationSession`](@ref); the steps of each condition are in `steps`."
function solve_states!(
    out::Array{T,3}, steady::EquationSteady{T}, index=steady.session.every_row
) where {T}
    GC.@preserve steady begin
        find!(steady, index)
        lay!(steady, index, eachindex(index), true)
        copyto!(out, 1, show_nodes!(steady.session, 0), 1, size(out, 1) * length(index))
    end
    return reduce(max, steady.steps; init=0)
end
