# Adaptive solvers through OrdinaryDiffEq, continuous adjoints through SciMLSensitivity.
module CellBoxSciMLExt

using CellBox
using CellBox:
    Adaptive, Coefficients, DivergenceError, Kernel, Lowering, Loss, SolverError, Structure,
    coefficients!, drive!, initial_state, load_coefficients!, nodes, pack!, penalty,
    penalty_slope, pull_back!, rhs!, slope, unpack!, value, vjp_coefficients!, vjp_state!,
    zero_parameters
using ForwardDiff: ForwardDiff
using LinearAlgebra: BLAS
using SciMLBase: SciMLBase, ODEFunction, ODEProblem, ReturnCode
using SciMLSensitivity:
    GaussAdjoint, InterpolatingAdjoint, QuadratureAdjoint, ZygoteVJP, adjoint_sensitivities

# The vectorised tanh works on bits; dual numbers take Julia's own.
CellBox.value(::CellBox.Tanh, z::ForwardDiff.Dual) = tanh(z)
CellBox.value(::CellBox.Sigmoid, z::ForwardDiff.Dual) = (1 + tanh(z / 2)) / 2

"""
The right-hand side dx/dt = a∘φ(Mx + p) + b∘v − c∘x on matrices (n × conditions), and its products,
over the parameter vector [vec(M); a; b; c].

CellBox's `Kernel` does the work for plain numbers of its own type. It has packed copies of the
parameters: `loaded` tells of which vector, and where it is `ours` alone, nobody else changes it and
it is not compared at every call. Dual numbers and other types take plain loops.
"""
struct Network{T,K<:Kernel{T}}
    kernel::K
    loaded::Vector{T}
    ours::Bool
end

function Network(structure::Structure, parameters, u::AbstractMatrix{T}; ours::Bool) where {T}
    kernel = Kernel(structure, parameters, u)
    k = kernel.network.coefficients
    return Network(kernel, pack!(zeros(T, length(k.M) + 3length(k.a)), k), ours)
end

n_nodes(net::Network) = size(net.kernel.initial, 1)

"The kernel with the parameters `p`, or `nothing` where the numbers are not of its type."
function kernel_at(net::Network{T}, p::AbstractVector{T}, arrays::AbstractArray{T}...) where {T}
    if !net.ours && net.loaded != p
        copyto!(net.loaded, p)
        load_coefficients!(net.kernel, p)
    end
    return net.kernel
end
kernel_at(net::Network, p, arrays...) = nothing

"M, a, b and c as views of the parameter vector."
function unpack(p::AbstractVector, n::Integer)
    M = reshape(view(p, 1:(n * n)), n, n)
    at = n * n
    return M, view(p, (at + 1):(at + n)), view(p, (at + n + 1):(at + 2n)),
    view(p, (at + 2n + 1):(at + 3n))
end

"Mx + p by plain loops, n × conditions."
function inner_input(net::Network, M, X)
    z = M * X
    inside = net.kernel.inside
    inside === nothing || (z .+= reshape(inside, size(z)))
    return z
end

outside(net::Network) =
    net.kernel.outside === nothing ? nothing : reshape(net.kernel.outside, n_nodes(net), :)

function (net::Network)(dx, x, p, t)
    kernel = kernel_at(net, p, dx, x)
    kernel === nothing || (rhs!(dx, x, kernel); return nothing)
    n = n_nodes(net)
    M, a, b, c = unpack(p, n)
    X, v = reshape(x, n, :), outside(net)
    z = inner_input(net, M, X)
    dX = reshape(dx, n, :)
    dX .= a .* value.(Ref(kernel_envelope(net)), z) .- c .* X
    v === nothing || (dX .+= b .* v)
    return nothing
end

kernel_envelope(net::Network) = net.kernel.network.envelope

"Write λᵀ∂f/∂x to `out`."
function vjp!(net::Network, out, λ, x, p, t)
    kernel = kernel_at(net, p, out, λ, x)
    kernel === nothing || (vjp_state!(out, λ, x, kernel); return nothing)
    M, _, _, c = unpack(p, n_nodes(net))
    Λ, _, g, _ = inner_adjoint(net, λ, x, p)
    dX = reshape(out, size(Λ))
    dX .= M' * g .- c .* Λ
    return nothing
end

"λ, φ(z), λ∘a∘φ'(z) and x as matrices, by plain loops."
function inner_adjoint(net::Network, λ, x, p)
    n, envelope = n_nodes(net), kernel_envelope(net)
    M, a, _, _ = unpack(p, n)
    Λ, X = reshape(λ, n, :), reshape(x, n, :)
    z = inner_input(net, M, X)
    φ = value.(Ref(envelope), z)
    return Λ, φ, Λ .* a .* slope.(Ref(envelope), z, φ), X
end

"Write λᵀ∂f/∂p to `out`."
function vjp_p!(net::Network, out, λ, x, p, t)
    kernel = kernel_at(net, p, out, λ, x)
    if kernel !== nothing
        pack!(vec(out), vjp_coefficients!(λ, x, kernel))
        return nothing
    end
    Λ, φ, g, X = inner_adjoint(net, λ, x, p)
    dM, da, db, dc = unpack(vec(out), n_nodes(net))
    v = outside(net)
    dM .= g * X'
    da .= vec(sum(Λ .* φ; dims=2))
    db .= v === nothing ? zero(eltype(db)) : vec(sum(Λ .* v; dims=2))
    dc .= .-vec(sum(Λ .* X; dims=2))
    return nothing
end

"Write the Jacobian of one condition, diag(a∘φ')M − diag(c)."
function jacobian!(net::Network, J, x, p, t)
    n, envelope = n_nodes(net), kernel_envelope(net)
    M, a, _, c = unpack(p, n)
    z = vec(inner_input(net, M, reshape(x, n, 1)))
    factor = a .* slope.(Ref(envelope), z, value.(Ref(envelope), z))
    J .= factor .* M
    for i in 1:n
        J[i, i] -= c[i]
    end
    return nothing
end

function ode_function(net::Network; one_condition::Bool)
    vjp = (out, λ, x, p, t) -> vjp!(net, out, λ, x, p, t)
    vjp_p = (out, λ, x, p, t) -> vjp_p!(net, out, λ, x, p, t)
    if one_condition
        jac = (J, x, p, t) -> jacobian!(net, J, x, p, t)
        return ODEFunction{true,SciMLBase.FullSpecialize}(net; vjp=vjp, vjp_p=vjp_p, jac=jac)
    end
    return ODEFunction{true,SciMLBase.FullSpecialize}(net; vjp=vjp, vjp_p=vjp_p)
end

function SciMLBase.ODEProblem(
    structure::Structure, parameters, perturbation::AbstractMatrix{T}, tspan; kwargs...
) where {T<:AbstractFloat}
    net = Network(structure, parameters, perturbation; ours=false)
    span = (T(tspan[1]), T(tspan[2]))
    return ODEProblem(
        ode_function(net; one_condition=false), initial_state(net.kernel), span, copy(net.loaded);
        kwargs...,
    )
end
CellBox.ode_problem(structure::Structure, args...; kwargs...) =
    ODEProblem(structure, args...; kwargs...)

"Find an algorithm by name, loading the package that has it; and whether it is implicit."
function find_algorithm(name::AbstractString)
    package, implicit = CellBox.ALGORITHMS[name]
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

function CellBox.adaptive_session(
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

function CellBox.value(session::AdaptiveSession{T}, parameters; rows=nothing) where {T}
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
function CellBox.states(session::AdaptiveSession, parameters)
    p = prepare!(session, parameters)
    return first(forward(session, p, axes(session.u, 2); dense=false))
end

function forward(session::AdaptiveSession{T}, p, columns; dense::Bool) where {T}
    states = zeros(T, nodes(session.structure), length(session.times), length(columns))
    solutions, at = [], 0
    for group in groups(session, columns)
        net = network!(session, group)
        solution = integrate(session, net, p; dense=dense)
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

function sense_algorithm(solver::Adaptive)
    # An AD choice, so that SciMLSensitivity uses our products instead of building a Jacobian.
    solver.gradient == :gauss && return GaussAdjoint(; autojacvec=ZygoteVJP())
    solver.gradient == :interpolating && return InterpolatingAdjoint(; autojacvec=ZygoteVJP())
    return QuadratureAdjoint(;
        autojacvec=ZygoteVJP(), abstol=solver.atol, reltol=solver.rtol
    )
end

function CellBox.value_and_gradient!(
    gradient, session::AdaptiveSession{T}, parameters; rows=nothing, prefix=nothing
) where {T}
    session = first_times(session, prefix)
    columns = collect(Int, columns_of(session, rows))
    p = prepare!(session, parameters)
    return few_threads(session) do
        session.solver.gradient == :forward ? forward_mode!(gradient, session, p, columns) :
        adjoint_mode!(gradient, session, p, columns)
    end
end

function adjoint_mode!(gradient, session::AdaptiveSession{T}, p, columns) where {T}
    states, solutions = forward(session, p, columns; dense=true)
    seeds = similar(states)
    total = loss_of!(seeds, session, states, columns)
    dp, at = zeros(T, length(p)), 0
    for (group, solution) in zip(groups(session, columns), solutions)
        network!(session, group)
        mine = (at + 1):(at + length(group))
        at = last(mine)
        dp .+= adjoint(session, solution, seeds, mine)
    end
    all(isfinite, dp) || throw(
        DivergenceError("the gradient is not finite: the network is unstable over this horizon.")
    )
    return finish!(gradient, session, dp, total)
end

function adjoint(session::AdaptiveSession, solution, seeds, mine)
    moving = findall(>(0), session.times)  # the initial state does not depend on p
    seed!(out, u, p, t, i) = (vec(out) .= vec(view(seeds, :, moving[i], mine)); nothing)
    _, dp = Base.invokelatest(
        adjoint_sensitivities, solution, session.algorithm; t=session.times[moving], dgdu_discrete=seed!,
        sensealg=sense_algorithm(session.solver), abstol=session.solver.atol,
        reltol=session.solver.rtol, maxiters=session.solver.maxiters,
    )
    return vec(dp)
end

function finish!(gradient, session::AdaptiveSession, dp, total)
    pull_back!(gradient, session.lowering, unpack!(session.k, dp))
    return total, gradient
end

function forward_mode!(gradient, session::AdaptiveSession{T}, p, columns) where {T}
    function objective(q)
        total = zero(eltype(q))
        for group in groups(session, columns)
            net = network!(session, group)
            start = convert(Array{eltype(q)}, net.kernel.initial)
            problem = ODEProblem{true,SciMLBase.FullSpecialize}(
                net, session.one_by_one ? vec(start) : start,
                (zero(T), T(session.times[end])), q,
            )
            solution = Base.invokelatest(
                SciMLBase.solve, problem, session.algorithm; abstol=session.solver.atol,
                reltol=session.solver.rtol, maxiters=session.solver.maxiters,
                tstops=session.times[session.times .> 0],
            )
            for (k, t) in enumerate(session.times), (j, column) in enumerate(group)
                x = t == 0 ? start : reshape(Base.invokelatest(solution, t), nodes(session.structure), :)
                y, w = view(session.y, :, k, column), view(session.weight, :, k, column)
                total += sum(penalty.(Ref(session.loss), (view(x, :, j) .- y) .* w))
            end
        end
        return total / max(count(!iszero, view(session.weight, :, :, columns)), 1)
    end
    dp = ForwardDiff.gradient(objective, p)
    return finish!(gradient, session, dp, value_at(session, p, columns))
end

end # module
