# Generated equations with the solvers of OrdinaryDiffEq: one condition after the other, with our own
# Jacobian and products.

"""
A generated equation in the segment at hand as SciML wants it, over the parameter vector [p; u].

Plain numbers go to the compiled programs by their address, others, those of automatic differentiation,
to the functions that these were compiled from.
"""
struct EquationNetwork{T}
    run::EquationRun{T}
    # Of the states that stay; nothing where all move.
    moves::Union{Nothing,Vector{T}}
end

function EquationNetwork(run::EquationRun{T}, j::Int, s::Int) where {T}
    return EquationNetwork(run, isempty(run.moves) ? nothing : run_moves(run, j, s))
end

function run_moves(run::EquationRun, j, s)
    n = length(run.equation.states)
    at = ((s - 1) * run.columns + j - 1) * n
    return run.moves[(at + 1):(at + n)]
end

masked_by(::Nothing, λ) = λ
masked_by(moves, λ) = ifelse.(moves .== 0, zero(eltype(λ)), λ)

"""
Call a program for one condition; `q` is [p; u], `a` and places that it does not have are `nothing`.
"""
function on_one(program::Program, run::EquationRun{T}, x, q, a, o1, o2, o3) where {T}
    plain = all(array -> array === nothing || eltype(array) == T, (x, q, a, o1))
    N = plain ? T : promote_type(map(eltype, filter(!isnothing, (x, q, a)))...)
    w = zeros(N, program.room)
    if plain
        # Views are copied, vectors are not.
        vector(array) = convert(Vector{T}, array)
        by_address(program, run, vector(x), vector(q), a === nothing ? T[] : vector(a), o1, o2, o3, w)
    else
        u = view(q, (run.equation.parameters + 1):length(q))
        program.generic(1, 1, x, u, q, a, o1, o2, o3, w)
    end
    return nothing
end

function by_address(
    program::Program, run::EquationRun{T}, x::Vector{T}, q::Vector{T}, a::Vector{T}, o1, o2, o3, w
) where {T}
    at(array) = array === nothing ? Ptr{T}(0) : pointer(array)
    GC.@preserve x q a o1 o2 o3 w call!(
        program, 1, 1, at(x), at(q) + run.equation.parameters * sizeof(T), at(q), at(a), at(o1), at(o2),
        at(o3), at(w),
    )
    return nothing
end

"Have `f` write to a plain vector in place of `out`."
function into!(f::F, out::AbstractArray) where {F}
    plain = zeros(eltype(out), length(out))
    f(plain)
    copyto!(out, plain)
    return nothing
end

function (net::EquationNetwork)(dx, x, q, t)
    into!(dx) do out
        on_one(net.run.equation.value, net.run, x, q, nothing, out, nothing, nothing)
        net.moves === nothing || copyto!(out, masked_by(net.moves, out))
    end
end

"Write λᵀ∂f/∂x to `out`."
function vjp!(net::EquationNetwork, out, λ, x, q, t)
    into!(out) do to
        on_one(
            net.run.equation.transposed, net.run, x, q, masked_by(net.moves, λ), to, nothing, nothing
        )
    end
end

"Write λᵀ∂f/∂q to `out`."
function vjp_p!(net::EquationNetwork, out, λ, x, q, t)
    equation = net.run.equation
    of_x, of_u, of_p = (zeros(eltype(out), k) for k in
        (length(x), length(equation.inputs), equation.parameters))
    on_one(equation.pull_back, net.run, x, q, masked_by(net.moves, λ), of_x, of_u, of_p)
    copyto!(out, [of_p; of_u])
    return nothing
end

"Write the Jacobian, row by row."
function jacobian!(net::EquationNetwork, J, x, q, t)
    unit = zeros(eltype(net.run.p), length(x))
    for i in eachindex(unit)
        unit .= eachindex(unit) .== i
        vjp!(net, view(J, i, :), unit, x, q, t)
    end
    return nothing
end

function ode_function(net::EquationNetwork)
    return ODEFunction{true,SciMLBase.FullSpecialize}(
        net; vjp=(out, λ, x, p, t) -> vjp!(net, out, λ, x, p, t),
        vjp_p=(out, λ, x, p, t) -> vjp_p!(net, out, λ, x, p, t),
        jac=(J, x, p, t) -> jacobian!(net, J, x, p, t), tgrad=(dT, x, p, t) -> fill!(dT, 0),
    )
end

"The parameter vector of condition `j` in a segment, with other parameters in place of its own."
parameters_in(run::EquationRun, j, s, p=run.p[:, j]) = [p; run.u[inputs_of(run, j, s)]]
function inputs_of(run::EquationRun, j, s)
    k = size(run.u, 1)
    at = ((s - 1) * run.columns + j - 1) * k
    return (at + 1):(at + k)
end

"Solve a leg of condition `j` from `start`; `nothing` where it takes no time."
function solved(run::EquationRun, algorithm, leg::Leg, j, start, p; dense)
    leg.times[end] == 0 && return nothing
    span_ = (zero(eltype(run.p)), eltype(run.p)(leg.times[end]))
    net = EquationNetwork(run, j, leg.segment)
    problem = ODEProblem(ode_function(net), start, span_, parameters_in(run, j, leg.segment, p))
    return solve_leg(problem, run.solver, algorithm, leg; dense=dense)
end

state_at(solution, start, t) = t == 0 ? start : Vector(Base.invokelatest(solution, t))

"The legs up to a stop."
function legs_to(run::EquationRun, starts, count)
    stops = run.stops
    return legs(
        Stops(stops.times, stops.since[1:count], stops.asked[1:count], stops.begins[1:count]), starts
    )
end

function PycellboxCore.integrate!(
    run::EquationRun{T,<:Adaptive}, starts, reached::R, count::Int
) where {T,R}
    algorithm, n = first(find_algorithm(run.solver.algorithm)), length(run.equation.states)
    empty!(run.solutions)
    states = [run.tape[((j - 1) * n + 1):(j * n)] for j in 1:(run.columns)]
    for leg in legs_to(run, starts, count)
        found = [solved(run, algorithm, leg, j, states[j], run.p[:, j]; dense=run.keep)
                 for j in 1:(run.columns)]
        run.keep && push!(run.solutions, (leg, found, copy(states)))
        run.segment = leg.segment
        for (t, k) in zip(leg.times, leg.asked)
            here = [state_at(found[j], states[j], t) for j in 1:(run.columns)]
            if k == 0  # the end of the segment
                states = here
            else
                copyto!(run.tape, reduce(vcat, here))
                reached(k, 0)
            end
        end
    end
    return run
end

function PycellboxCore.reverse_all!(
    session::EquationSession{T,<:EquationRun{T,<:Adaptive}}, of_p, of_u, of_start
) where {T}
    foreach(array -> fill!(array, zero(T)), (of_p, of_u, of_start))
    run = session.run
    isempty(run.solutions) && return nothing
    if run.solver.gradient == :forward
        return forward_all!(session, of_p, of_u, of_start)
    end
    algorithm = first(find_algorithm(run.solver.algorithm))
    back = EquationReverse{T}()
    PycellboxCore.make_room!(back, run)
    for j in 1:(run.columns)
        adjoint = zeros(T, length(run.equation.states))
        for (leg, found, starts) in Iterators.reverse(run.solutions)
            due = due_at(session, back, leg, found[j], starts[j], j, adjoint, of_p, of_u, of_start)
            adjoint = vec(sum(view(due, :, leg.times .== 0); dims=2))
            moving_ = findall(>(0), leg.times)
            isempty(moving_) && continue
            dx0, dq = adjoint_of(found[j], run.solver, algorithm, leg.times, due, moving_)
            adjoint .+= dx0
            P = run.equation.parameters
            of_p[:, j] .+= view(dq, 1:P)
            of_u[:, j, leg.segment] .+= view(dq, (P + 1):length(dq))
        end
        place_of(back.adjoint, run, j) .= adjoint
    end
    PycellboxCore.leave_start!(session, back, 1:(run.columns), 1, of_p, of_u, of_start)
    return nothing
end

place_of(array, run, j) =
    view(array, ((j - 1) * length(run.equation.states) + 1):(j * length(run.equation.states)))

"What is due at the times of a leg, states × times; the rest of what a loss says goes to its place."
function due_at(
    session::EquationSession{T}, back, leg, solution, start, j, adjoint, of_p, of_u, of_start
) where {T}
    run = session.run
    due = zeros(T, length(adjoint), length(leg.times))
    for (q, (t, k)) in enumerate(zip(leg.times, leg.asked))
        if k == 0
            due[:, q] .= adjoint
        else
            place_of(run.tape, run, j) .= state_at(solution, start, t)
            place_of(back.adjoint, run, j) .= 0
            GC.@preserve session back of_p of_u add_seeds!(
                session, back, j:j, 1, leg.segment, k, 0, of_p, of_u, of_start
            )
            due[:, q] .= place_of(back.adjoint, run, j)
        end
    end
    return due
end

"All nodes of condition `j` at the requested times, nodes × times, by any parameters of its."
function course_of(session::EquationSession{T}, j::Int, p::AbstractVector, count::Int) where {T}
    run, equation = session.run, session.run.equation
    algorithm = first(find_algorithm(run.solver.algorithm))
    n, N = length(equation.states), eltype(p)
    start = zeros(N, n)
    on_one(equation.start, run, T[], parameters_in(run, j, 1, p), nothing, start, nothing, nothing)
    for (i, node) in enumerate(equation.states)
        session.own[i, j] || (start[i] = session.begin_[node, j])
    end
    found = repeat(N.(session.begin_[:, j]), 1, length(run.stops.times))
    for leg in legs_to(run, session.starts, count)
        solution = solved(run, algorithm, leg, j, start, p; dense=false)
        q = parameters_in(run, j, leg.segment, p)
        for (t, k) in zip(leg.times, leg.asked)
            x = state_at(solution, start, t)
            if k == 0
                start = x
                continue
            end
            found[equation.states, k] .= x
            isempty(equation.observed) && continue
            seen = zeros(N, length(equation.observed))
            on_one(equation.observing, run, x, q, nothing, seen, nothing, nothing)
            found[equation.observed, k] .= seen
        end
    end
    return found
end

"∂(nodes × times)/∂p of condition `j`, by forward sensitivities."
function slopes_of(session, j, count)
    objective(p) = vec(course_of(session, j, p, count))
    return ForwardDiff.jacobian(objective, session.run.p[:, j])
end

function forward_all!(session, of_p, of_u, of_start)
    run = session.run
    count = sum(length(leg.times) for (leg, _, _) in run.solutions)
    n, c = run.equation.nodes, length(session.every_row)
    seeds = reshape(session.seeds, n, c, :)
    for j in 1:(run.columns)
        of_p[:, j] .= transpose(slopes_of(session, j, count)) * vec(seeds[:, j, :])
    end
    fill!(seeds, 0)
    return nothing
end

function PycellboxCore.jacobian_rows!(
    jacobian, session::EquationSession{T,<:EquationRun{T,<:Adaptive}}, rows, wanted
) where {T}
    n = session.run.equation.nodes
    for j in 1:(session.run.columns)
        slopes = slopes_of(session, j, length(session.run.stops.asked))
        for k in axes(rows, 2), i in 1:n
            row = rows[i, k, j]
            row == 0 && continue
            jacobian[:, row] .= view(slopes, (k - 1) * n + i, wanted)
        end
    end
    return nothing
end
