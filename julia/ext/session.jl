# A problem held with an adaptive solver, its solutions and its loss.

"Find an algorithm by name, loading the package that has it; and whether it is implicit."
function find_algorithm(name::AbstractString)
    package, implicit = PycellboxCore.ALGORITHMS[name]
    id = Base.identify_package(String(package))
    id === nothing && throw(
        SolverError("solver $name needs the Julia package $package, which is not installed.")
    )
    constructor = Base.invokelatest(getproperty, Base.require(id), Symbol(name))
    return Base.invokelatest(constructor), implicit
end
function find_algorithm(algorithm)
    # SciMLSensitivity has loaded it; whoever made the algorithm has too.
    for (id, package) in Base.loaded_modules
        id.name == "OrdinaryDiffEqCore" && return algorithm, package.isimplicit(algorithm)
    end
    return algorithm, false
end

"""
A problem held for repeated evaluation with an adaptive solver. Implicit methods integrate one
condition at a time: their Jacobian is then n × n instead of (n·conditions)².
"""
mutable struct AdaptiveSession{T,A,U<:Inputs{T}}
    structure::Structure
    lowering::Lowering
    u::U
    y::Array{T,3}
    weight::Array{T,3}
    times::Vector{Float64}
    loss::AnyLoss
    solver::Adaptive
    algorithm::A
    one_by_one::Bool
    k::Coefficients{T}
    p::Vector{T}
    # Its kernel is given the conditions at hand.
    network::Union{Nothing,Network{T}}
    # The segment at hand where there is a treatment.
    course::Any
end

PycellboxCore._source(session::AdaptiveSession) = session.u

"""
What is integrated without a break: the times since a segment began that are stopped at, which of those
asked for they are (0 for the end of the segment), and when it began.
"""
struct Leg
    segment::Int
    began::Float64
    times::Vector{Float64}
    asked::Vector{Int}
end

"The legs that lead through the requested times of a session."
legs(session::AdaptiveSession) = legs(Stops(session.times, starts_of(session.u)), starts_of(session.u))
function legs(stops::Stops, starts)
    found, first = Leg[], 1
    for k in eachindex(stops.since)
        over = k == length(stops.since) || stops.begins[k] != 0
        over || continue
        s, range = length(found) + 1, first:k
        began = starts === nothing ? 0.0 : starts[s]
        push!(found, Leg(s, began, stops.since[range], stops.asked[range]))
        first = k + 1
    end
    return found
end

function PycellboxCore.adaptive_session(
    structure::Structure, u::Inputs{T}, y::Array{T,3}, weight::Array{T,3}, times, loss::AnyLoss,
    solver::Adaptive,
) where {T}
    algorithm, implicit = find_algorithm(solver.algorithm)
    k = Coefficients{T}(nodes(structure), length(shifts(structure.model)))
    return AdaptiveSession(
        structure, Lowering(structure), u, y, weight, collect(Float64, times), loss, solver,
        algorithm, implicit, k, zeros(T, length(k)), nothing, nothing,
    )
end

"Integrate one leg from the state `start`; `nothing` where it takes no time."
function integrate(
    session::AdaptiveSession{T}, net::Network, p, leg::Leg, start; dense::Bool
) where {T}
    leg.times[end] == 0 && return nothing
    problem = ODEProblem(
        ode_function(net; one_condition=session.one_by_one),
        session.one_by_one ? vec(start) : start, (zero(T), T(leg.times[end])), p,
    )
    return solve_leg(problem, session.solver, session.algorithm, leg; dense=dense)
end

function solve_leg(problem, solver::Adaptive, algorithm, leg::Leg; dense::Bool)
    times = leg.times
    keep = dense ? (;) : (; saveat=times, dense=false, save_start=false)
    # The algorithm's package may have been loaded only just now, by its name: newer methods.
    solution = Base.invokelatest(
        SciMLBase.solve, problem, algorithm; abstol=solver.atol, reltol=solver.rtol,
        maxiters=solver.maxiters, tstops=times[times .> 0], keep...,
    )
    SciMLBase.successful_retcode(solution) || throw(
        DivergenceError(
            "the adaptive solve ended at t = $(leg.began + solution.t[end]) of " *
            "$(leg.began + times[end]) ($(solution.retcode)): the network is stiff or unstable; " *
            "loosen the tolerances, use a stiff solver, or shrink W.",
        ),
    )
    return solution
end

"Copy the states at the requested times of a leg into `states` (n × times × columns); its last state."
function read_states!(states, solution, leg::Leg, start, at)
    x = start
    for (t, k) in zip(leg.times, leg.asked)
        x = t == 0 ? start : reshape(Base.invokelatest(solution, t), size(start))
        k == 0 || copyto!(view(states, :, k, at), x)
    end
    return x
end

groups(session::AdaptiveSession, columns) =
    session.one_by_one ? [[c] for c in columns] : [collect(Int, columns)]

columns_of(session::AdaptiveSession, rows) = rows === nothing ? (1:size(session.u, 2)) : rows

"The session of the first `prefix` times; itself for `nothing`."
first_times(session::AdaptiveSession, ::Nothing) = session
function first_times(s::AdaptiveSession, prefix::Integer)
    return AdaptiveSession(
        s.structure, s.lowering, s.u, s.y[:, 1:prefix, :], s.weight[:, 1:prefix, :],
        s.times[1:prefix], s.loss, s.solver, s.algorithm, s.one_by_one, s.k, s.p, s.network,
        s.course,
    )
end

function prepare!(session::AdaptiveSession, parameters, columns)
    set_off!(session.u, parameters, columns)
    coefficients!(session.k, session.lowering, parameters)
    return pack!(session.p, session.k)
end

"The network of the session for these conditions in a segment, with the parameters that were prepared."
function network!(session::AdaptiveSession{T}, group, s=1) where {T}
    net = session.network
    if net === nothing || size(net.kernel.initial, 2) != length(group)
        session.course = Course(session.u, nodes(session.structure) * length(group))
        net = Network(
            session.structure, zero_parameters(T, session.structure),
            segment(session.u, s)[:, group]; ours=true, masked=masked(typeof(session.course)),
        )
        session.network = net
    end
    return prepare_network!(net, session, session.course, group, s)
end

function prepare_network!(net::Network, session::AdaptiveSession, course, group, s)
    kernel = net.kernel
    drive!(
        kernel.bare, kernel.outside, kernel.initial, kernel.reach, kernel.lowering,
        segment(session.u, s), group,
    )
    if course !== nothing
        copyto!(resize!(course.columns, length(group)), group)
        course.segment = s
        write_moves!(kernel.moves, course)
    end
    if net.loaded != session.p
        copyto!(net.loaded, session.p)
        load_coefficients!(kernel, session.p)
    else
        loaded!(kernel)
    end
    return net
end

"Where a leg starts: at the beginning, or in the state `x` that the one before has led to."
enter(session::AdaptiveSession, net::Network, ::Nothing) =
    start!(initial_state(net.kernel), session.course)
function enter(session::AdaptiveSession, net::Network, x)
    start = copy(x)
    each_jump(e -> (start[e] = net.kernel.initial[e]), session.u.jumps, session.course)
    return start
end

function PycellboxCore.value(session::AdaptiveSession{T}, parameters; rows=nothing, prefix=nothing) where {T}
    session = first_times(session, prefix)
    columns = collect(Int, columns_of(session, rows))
    return value_at(session, prepare!(session, parameters, columns), columns)
end

"Run `f` with one BLAS thread where the products are too small for more."
function few_threads(f, session::AdaptiveSession)
    n, c = size(session.u)
    before = BLAS.get_num_threads()
    (before == 1 || n * n * c >= 2e7) && return f()
    BLAS.set_num_threads(1)
    try
        return f()
    finally
        BLAS.set_num_threads(before)
    end
end

value_at(session::AdaptiveSession, p, columns) =
    few_threads(() -> _value_at(session, p, columns), session)

function _value_at(session::AdaptiveSession, p, columns)
    states, _ = forward(session, p, columns; dense=false)
    return loss_of!(nothing, session, states, columns)
end

"States at the requested times, n × times × conditions."
function PycellboxCore.states(session::AdaptiveSession, parameters)
    columns = 1:size(session.u, 2)
    p = prepare!(session, parameters, columns)
    return first(forward(session, p, columns; dense=false))
end

"States at the requested times, and for each group of conditions its solutions leg by leg."
function forward(session::AdaptiveSession{T}, p, columns; dense::Bool, inputs=nothing) where {T}
    states = zeros(T, nodes(session.structure), length(session.times), length(columns))
    solutions, at = [], 0
    for group in groups(session, columns)
        mine, x, passed = (at + 1):(at + length(group)), nothing, []
        for leg in legs(session)
            net = network!(session, group, leg.segment)
            # Room for the derivatives with respect to the drive.
            q = inputs === nothing ? p : [p; zeros(T, 2 * n_nodes(net) * length(group))]
            start = enter(session, net, x)
            solution = integrate(session, net, q, leg, start; dense=dense)
            x = read_states!(states, solution, leg, start, mine)
            push!(passed, solution)
        end
        at = last(mine)
        push!(solutions, passed)
    end
    return states, solutions
end

"Mean loss; its derivative with respect to the states goes to `seeds` unless that is `nothing`."
function loss_of!(seeds, session::AdaptiveSession{T}, states, columns) where {T}
    y, w = view(session.y, :, :, columns), view(session.weight, :, :, columns)
    count_ = max(count(!iszero, w), 1)
    total = 0.0
    for i in eachindex(states, y, w)
        r = (states[i] - y[i]) * w[i]
        total += Float64(penalty(session.loss, r))
        seeds === nothing || (seeds[i] = penalty_slope(session.loss, r) * w[i] / T(count_))
    end
    isfinite(total) || throw(
        DivergenceError("the loss is not finite: the trajectory is finite but too large.")
    )
    return total / count_
end
