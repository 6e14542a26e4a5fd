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
    check_inputs(inputs, nodes(session.structure), length(columns))
    forward_mode = session.solver.gradient == :forward
    forward_mode && inputs !== nothing && throw(
        SolverError("forward mode has no gradient of the inputs; the adjoints have.")
    )
    p = prepare!(session, parameters)
    return few_threads(session) do
        forward_mode ? forward_mode!(gradient, session, p, columns) :
        adjoint_mode!(gradient, session, p, columns, inputs)
    end
end

function adjoint_mode!(gradient, session::AdaptiveSession{T}, p, columns, inputs) where {T}
    states, solutions = forward(session, p, columns; dense=true, inputs=inputs)
    seeds = similar(states)
    total = loss_of!(seeds, session, states, columns)
    dp, at = zeros(T, length(p)), 0
    for (group, solution) in zip(groups(session, columns), solutions)
        network!(session, group)
        mine = (at + 1):(at + length(group))
        at = last(mine)
        dx0, dq = adjoint(session, solution, seeds, mine)
        dp .+= view(dq, 1:length(p))
        inputs === nothing && continue
        # The loss at a first requested time of 0 is one of x₀ itself.
        session.times[1] == 0 && (dx0 .+= vec(view(seeds, :, 1, mine)))
        of_drive = reshape(view(dq, (length(p) + 1):length(dq)), :, 2)
        pull_back_drive!(
            inputs, mine, session.lowering, session.u, group, view(of_drive, :, 1),
            view(of_drive, :, 2), dx0,
        )
    end
    all(isfinite, dp) || throw(
        DivergenceError("the gradient is not finite: the network is unstable over this horizon.")
    )
    return finish!(gradient, session, dp, total)
end

"Derivatives with respect to the initial state and the parameter vector."
function adjoint(session::AdaptiveSession, solution, seeds, mine)
    moving = findall(>(0), session.times)  # the initial state does not depend on p
    seed!(out, u, p, t, i) = (vec(out) .= vec(view(seeds, :, moving[i], mine)); nothing)
    dx0, dp = Base.invokelatest(
        adjoint_sensitivities, solution, session.algorithm; t=session.times[moving], dgdu_discrete=seed!,
        sensealg=sense_algorithm(session.solver), abstol=session.solver.atol,
        reltol=session.solver.rtol, maxiters=session.solver.maxiters,
    )
    return vec(collect(dx0)), vec(dp)
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
