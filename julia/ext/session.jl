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
mutable struct AdaptiveSession{T,A}
    structure::Structure
    lowering::Lowering
    u::Matrix{T}
    y::Array{T,3}
    weight::Array{T,3}
    times::Vector{Float64}
    loss::Loss
    solver::Adaptive
    algorithm::A
    one_by_one::Bool
    k::Coefficients{T}
    p::Vector{T}
    # Its kernel is given the conditions at hand.
    network::Union{Nothing,Network{T}}
end

function PycellboxCore.adaptive_session(
    structure::Structure, u::Matrix{T}, y::Array{T,3}, weight::Array{T,3}, times, loss::Loss,
    solver::Adaptive,
) where {T}
    algorithm, implicit = find_algorithm(solver.algorithm)
    n = nodes(structure)
    return AdaptiveSession(
        structure, Lowering(structure), u, y, weight, collect(Float64, times), loss, solver,
        algorithm, implicit, Coefficients{T}(n), zeros(T, n^2 + 3n), nothing,
    )
end

function integrate(session::AdaptiveSession{T}, net::Network, p; dense::Bool) where {T}
    times, solver = session.times, session.solver
    problem = ODEProblem(
        ode_function(net; one_condition=session.one_by_one),
        session.one_by_one ? vec(initial_state(net.kernel)) : initial_state(net.kernel),
        (zero(T), T(times[end])), p,
    )
    keep = dense ? (;) : (; saveat=times, dense=false, save_start=false)
    # The algorithm's package may have been loaded only just now, by its name: newer methods.
    solution = Base.invokelatest(
        SciMLBase.solve, problem, session.algorithm; abstol=solver.atol, reltol=solver.rtol,
        maxiters=solver.maxiters, tstops=times[times .> 0], keep...,
    )
    SciMLBase.successful_retcode(solution) || throw(
        DivergenceError(
            "the adaptive solve ended at t = $(solution.t[end]) of $(times[end]) " *
            "($(solution.retcode)): the network is stiff or unstable; loosen the tolerances, " *
            "use a stiff solver, or shrink W.",
        ),
    )
    return solution
end

"Copy the states at the requested times into `states` (n × times × columns)."
function read_states!(states, session::AdaptiveSession, solution, net::Network, at)
    n = n_nodes(net)
    for (k, t) in enumerate(session.times)
        x = t == 0 ? net.kernel.initial : reshape(Base.invokelatest(solution, t), n, :)
        copyto!(view(states, :, k, at), x)
    end
    return states
end

groups(session::AdaptiveSession, columns) =
    session.one_by_one ? [[c] for c in columns] : [collect(Int, columns)]

columns_of(session::AdaptiveSession, rows) = rows === nothing ? axes(session.u, 2) : rows

"The session of the first `prefix` times; itself for `nothing`."
first_times(session::AdaptiveSession, ::Nothing) = session
function first_times(s::AdaptiveSession, prefix::Integer)
    return AdaptiveSession(
        s.structure, s.lowering, s.u, s.y[:, 1:prefix, :], s.weight[:, 1:prefix, :],
        s.times[1:prefix], s.loss, s.solver, s.algorithm, s.one_by_one, s.k, s.p, s.network,
    )
end

function prepare!(session::AdaptiveSession, parameters)
    coefficients!(session.k, session.lowering, parameters)
    return pack!(session.p, session.k)
end

"The network of the session for these conditions, with the parameters that were prepared."
function network!(session::AdaptiveSession{T}, group) where {T}
    net = session.network
    if net === nothing || size(net.kernel.initial, 2) != length(group)
        zero_ = zero_parameters(T, session.structure)
        net = Network(session.structure, zero_, session.u[:, group]; ours=true)
        session.network = net
    end
    return prepare_network!(net, session, group)
end

function prepare_network!(net::Network, session::AdaptiveSession, group)
    kernel = net.kernel
    drive!(
        kernel.inside, kernel.outside, kernel.initial, kernel.lowering, session.u, group
    )
    if net.loaded != session.p
        copyto!(net.loaded, session.p)
        load_coefficients!(kernel, session.p)
    end
    return net
end

function PycellboxCore.value(session::AdaptiveSession{T}, parameters; rows=nothing, prefix=nothing) where {T}
    session = first_times(session, prefix)
    columns = collect(Int, columns_of(session, rows))
    return value_at(session, prepare!(session, parameters), columns)
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
    p = prepare!(session, parameters)
    return first(forward(session, p, axes(session.u, 2); dense=false))
end

function forward(session::AdaptiveSession{T}, p, columns; dense::Bool, inputs=nothing) where {T}
    states = zeros(T, nodes(session.structure), length(session.times), length(columns))
    solutions, at = [], 0
    for group in groups(session, columns)
        net = network!(session, group)
        # Room for the derivatives with respect to the drive.
        q = inputs === nothing ? p : [p; zeros(T, 2 * n_nodes(net) * length(group))]
        solution = integrate(session, net, q; dense=dense)
        read_states!(states, session, solution, net, (at + 1):(at + length(group)))
        at += length(group)
        push!(solutions, solution)
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
