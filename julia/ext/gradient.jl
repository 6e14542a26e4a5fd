# Gradients of adaptive solves: continuous adjoints, and forward mode.

function sense_algorithm(solver::Adaptive)
    # An AD choice, so that SciMLSensitivity uses our products instead of building a Jacobian.
    solver.gradient == :gauss && return GaussAdjoint(; autojacvec=ZygoteVJP())
    solver.gradient == :interpolating && return InterpolatingAdjoint(; autojacvec=ZygoteVJP())
    return QuadratureAdjoint(;
        autojacvec=ZygoteVJP(), abstol=solver.atol, reltol=solver.rtol
    )
end

function PycellboxCore.value_and_gradient!(
    gradient, session::AdaptiveSession{T}, parameters; rows=nothing, prefix=nothing, inputs=nothing
) where {T}
    session = first_times(session, prefix)
    columns = collect(Int, columns_of(session, rows))
    check_inputs(inputs, session.u, length(columns))
    forward_mode = session.solver.gradient == :forward
    forward_mode && inputs !== nothing && throw(
        SolverError("forward mode has no gradient of the inputs; the adjoints have.")
    )
    forward_mode && session.u isa Treatment && throw(
        SolverError("forward mode has no phases, held nodes or initial states; the adjoints have.")
    )
    p = prepare!(session, parameters, columns)
    total, gradient = few_threads(session) do
        forward_mode ? forward_mode!(gradient, session, p, columns) :
        adjoint_mode!(gradient, session, p, columns, inputs)
    end
    reverse_start!(gradient, session.u, parameters, columns, inputs)
    return total, gradient
end

function adjoint_mode!(gradient, session::AdaptiveSession{T}, p, columns, inputs) where {T}
    states, solutions = forward(session, p, columns; dense=true, inputs=inputs)
    seeds = similar(states)
    total = loss_of!(seeds, session, states, columns)
    dp, at = zeros(T, length(p)), 0
    for (group, passed) in zip(groups(session, columns), solutions)
        mine = (at + 1):(at + length(group))
        at = last(mine)
        # With respect to the state at the end of a leg.
        adjoint = zeros(T, size(states, 1), length(group))
        for (leg, solution) in reverse(collect(zip(legs(session), passed)))
            network!(session, group, leg.segment)
            dx0, dq = reverse_leg(session, leg, solution, seeds, mine, adjoint, inputs)
            dp .+= view(dq, 1:length(p))
            of_drive = inputs === nothing ? nothing : reshape(view(dq, (length(p) + 1):length(dq)), :, 2)
            adjoint = leave!(session, leg, session.course, inputs, group, mine, of_drive, dx0)
        end
        session.u isa Treatment && keep_start!(session.u, group, adjoint)
    end
    all(isfinite, dp) || throw(
        DivergenceError("the gradient is not finite: the network is unstable over this horizon.")
    )
    return finish!(gradient, session, dp, total)
end

"""
Derivatives with respect to the state at the start of a leg and the parameter vector, `adjoint` being
that with respect to its end beside what is asked for.
"""
function reverse_leg(session::AdaptiveSession{T}, leg::Leg, solution, seeds, mine, adjoint, inputs) where {T}
    due = zeros(T, length(adjoint), length(leg.times))
    for (q, k) in enumerate(leg.asked)
        k == 0 ? (due[:, q] .= vec(adjoint)) : (due[:, q] .= vec(view(seeds, :, k, mine)))
    end
    # The loss at the start is one of that state itself, which does not depend on p.
    dx0 = vec(sum(view(due, :, leg.times .== 0); dims=2))
    moving_ = findall(>(0), leg.times)
    if isempty(moving_)
        length_ = length(session.p) + (inputs === nothing ? 0 : 2 * length(adjoint))
        return reshape(dx0, size(adjoint)), zeros(T, length_)
    end
    more, dp = adjoint_of(solution, session.solver, session.algorithm, leg.times, due, moving_)
    return reshape(dx0 + more, size(adjoint)), dp
end

"Derivatives with respect to the state at the start and the parameter vector, of what is `due` at times."
function adjoint_of(solution, solver::Adaptive, algorithm, times, due, moving_)
    seed!(out, u, p, t, i) = (vec(out) .= view(due, :, moving_[i]); nothing)
    more, dp = Base.invokelatest(
        adjoint_sensitivities, solution, algorithm; t=times[moving_], dgdu_discrete=seed!,
        sensealg=sense_algorithm(solver), abstol=solver.atol, reltol=solver.rtol,
        maxiters=solver.maxiters,
    )
    return vec(collect(more)), vec(dp)
end

"Write the derivatives with respect to u of a leg and to x₀; that with respect to the end of the leg before."
leave!(session, leg, ::Nothing, ::Nothing, group, mine, of_drive, dx0) = dx0
function leave!(session, leg, ::Nothing, inputs::InputGradient, group, mine, of_drive, dx0)
    inside, outside = view(of_drive, :, 1), view(of_drive, :, 2)
    pull_back_drive!(
        inputs, mine, session.lowering, session.u, group, inside, outside, dx0
    )
    return dx0
end
function leave!(session, leg, course::Course, inputs, group, mine, of_drive, dx0)
    doses, before = zero(dx0), copy(dx0)
    each_jump(session.u.jumps, course) do e
        doses[e], before[e] = dx0[e], 0
    end
    inputs === nothing && return before
    pull_back_drive!(
        view(inputs.perturbation, :, leg.segment, :), mine, session.lowering,
        segment(session.u, leg.segment), course.columns, view(of_drive, :, 1),
        view(of_drive, :, 2), doses,
    )
    leg.segment == 1 && (inputs.initial_state[:, mine] .= dx0)
    return before
end

function finish!(gradient, session::AdaptiveSession, dp, total)
    k = unpack!(session.k, dp)
    pull_back!(gradient, session.lowering, k, session.network.kernel.network)
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
