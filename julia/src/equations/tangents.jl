# Derivatives of a generated equation's computed trajectory with respect to all parameters, forward
# along the steps that were made, one condition after the other, on threads.

"""
What one thread needs: dx/dp and its value at a stage, the stages' increments (between the steps the
derivatives of what is observed), slopes at a state.
"""
struct Tangents{T}
    X::Vector{T}
    K::Vector{T}
    slopes::Vector{T}
    unit::Vector{T}
    # What programs write beside what is wanted.
    aside::Vector{T}
end

function Tangents(run::EquationRun{T}) where {T}
    equation = run.equation
    n, P = length(equation.states), equation.parameters
    rows = max(n, length(equation.observed))
    return Tangents(
        zeros(T, 2 * n * P), zeros(T, max(n * stages(run), rows) * P), zeros(T, rows * (n + P)),
        zeros(T, rows), zeros(T, length(equation.inputs)),
    )
end

"Address from which a program finds, or puts, what it has of condition `j`, at that of `array`."
shifted(array::Array{T}, at::Int, j::Int, size::Int) where {T} = behind(array, at - (j - 1) * size)

"""
    residuals_and_jacobian!(residuals, jacobian, session, rows, wanted)

Write (x − y)·weight of the entries whose number in `rows` (nodes × times × conditions) is not 0, and
its derivatives with respect to the parameters `wanted`, of each condition for itself:
wanted × entries.
"""
function residuals_and_jacobian!(
    residuals::Vector{T}, jacobian::Matrix{T}, session::EquationSession{T}, rows::Array{Int,3}, wanted
) where {T}
    run = session.run
    reached(k, at) = write_residuals!(residuals, session, rows, k, at)
    GC.@preserve session begin
        run!(session, session.every_row, true, length(run.stops.begins), reached)
        jacobian_rows!(jacobian, session, rows, wanted)
    end
    weigh!(jacobian, session, rows)
    return nothing
end

"Write the residuals of the k-th time, whose states stand behind `at` of the tape."
function write_residuals!(residuals, session::EquationSession, rows, k, at)
    nodes, n = show_nodes!(session, at), session.run.equation.nodes
    for j in axes(rows, 3), i in 1:n
        row = rows[i, k, j]
        row == 0 && continue
        residuals[row] = (nodes[(j - 1) * n + i] - session.y[i, k, j]) * session.weight[i, k, j]
    end
    return nothing
end

"Multiply rows of a Jacobian of states by their weights."
function weigh!(jacobian, session::EquationSession, rows)
    for e in eachindex(rows)
        rows[e] == 0 && continue
        weight = session.weight[e]
        @inbounds for p in axes(jacobian, 1)
            jacobian[p, rows[e]] *= weight
        end
    end
    return nothing
end

"Write derivatives of the states of the conditions at hand by the parameters `wanted`."
function jacobian_rows!(jacobian, session::EquationSession, rows, wanted)
    run, c = session.run, session.run.columns
    used = parts(c, worthwhile_conditions(run), length(run.rooms))
    on_threads(used) do q
        tangents = Tangents(run)
        for j in span(c, used, q)
            along!(jacobian, tangents, session, rows, wanted, j, q)
        end
    end
    return nothing
end

"Carry the derivatives of condition `j` along its steps."
function along!(jacobian, tangents::Tangents{T}, session, rows, wanted, j, q) where {T}
    run, equation = session.run, session.run.equation
    n, P, s, k = length(equation.states), equation.parameters, 1, 1
    GC.@preserve tangents begin
        start_slopes!(tangents, session, j, q)
        for step in 0:length(run.sizes)
            while k <= length(run.steps_at) && run.steps_at[k] == step
                run.stops.begins[k] == 0 || (s = run.stops.begins[k])
                asked = run.stops.asked[k]
                asked == 0 ||
                    write_rows!(jacobian, tangents, session, rows, wanted, asked, j, s, step, q)
                k += 1
            end
            step == length(run.sizes) && break
            check_interrupt()
            tangent_step!(tangents, run, tableau(run.solver), n, P, j, s, step, q)
        end
    end
    return nothing
end

function start_slopes!(tangents::Tangents{T}, session, j, q) where {T}
    run, equation, no = session.run, session.run.equation, Ptr{T}(0)
    n, P = length(equation.states), equation.parameters
    fill!(tangents.X, zero(T))
    for i in 1:n
        session.own[i, j] || continue
        unit!(tangents.unit, n, i)
        call!(
            equation.start_back, j, j, no, inputs_in(run, 1), pointer(run.p),
            shifted(tangents.unit, 0, j, n), no, shifted(tangents.aside, 0, j, length(equation.inputs)),
            shifted(tangents.X, (i - 1) * P, j, P), pointer(run.rooms[q]),
        )
    end
    return nothing
end

"Write [∂f/∂x ∂f/∂p] of a program and its `count` results, row by row: by products with an adjoint."
function rows_by_products!(tangents::Tangents{T}, program, run, count, at, j, s, q) where {T}
    equation = run.equation
    n, P = length(equation.states), equation.parameters
    fill!(view(tangents.slopes, 1:(count * (n + P))), zero(T))
    for i in 1:count
        unit!(tangents.unit, count, i)
        call!(
            program, j, j, behind(run.tape, at), inputs_in(run, s), pointer(run.p),
            shifted(tangents.unit, 0, j, count), shifted(tangents.slopes, (i - 1) * (n + P), j, n),
            shifted(tangents.aside, 0, j, length(equation.inputs)),
            shifted(tangents.slopes, (i - 1) * (n + P) + n, j, P), pointer(run.rooms[q]),
        )
    end
    return nothing
end

"Write ∂f/∂x and ∂f/∂p of condition `j` at the states behind `at`."
function slopes_at!(tangents::Tangents{T}, run, at, j, s, q) where {T}
    equation, no = run.equation, Ptr{T}(0)
    n, P = length(equation.states), equation.parameters
    if given(equation.slopes)
        call!(
            equation.slopes, j, j, behind(run.tape, at), inputs_in(run, s), pointer(run.p), no,
            shifted(tangents.slopes, 0, j, n * (n + P)), no, no, pointer(run.rooms[q]),
        )
    else
        rows_by_products!(tangents, equation.pull_back, run, n, at, j, s, q)
    end
    isempty(run.moves) && return nothing
    for i in 1:n
        run.moves[((s - 1) * run.columns + j - 1) * n + i] == 0 || continue
        fill!(view(tangents.slopes, ((i - 1) * (n + P) + 1):(i * (n + P))), zero(T))
    end
    return nothing
end

"""
Write [∂f/∂x ∂f/∂p]·[X; 1] of `count` results, of X behind `from`, behind `to` of `K`: the increment of a
stage, or the derivatives of what is observed.
"""
function increment!(K::Vector{T}, X::Vector{T}, slopes::Vector{T}, n, P, from, to, count) where {T}
    @inbounds for i in 1:count
        row, into = (i - 1) * (n + P), to + (i - 1) * P
        @simd ivdep for e in 1:P
            K[into + e] = slopes[row + n + e]
        end
        for l in 1:n
            factor, other = slopes[row + l], from + (l - 1) * P
            factor == 0 && continue
            @simd ivdep for e in 1:P
                K[into + e] = muladd(factor, X[other + e], K[into + e])
            end
        end
    end
    return nothing
end

@generated function tangent_step!(
    tangents::Tangents{T}, run::EquationRun{T}, ::Tableau{S,A,B}, n, P, j, s, step, q
) where {T,S,A,B}
    body = quote
        X, K, m, h = tangents.X, tangents.K, n * P, T(run.sizes[step + 1])
        at = record_at(run, step)
    end
    for stage in 1:S
        first_ = stage == 1
        push!(body.args, quote
            $(first_ ? nothing : :(combine!(X, K, $(Val(A[stage])), h, 0, m, m)))
            slopes_at!(tangents, run, at + $(stage - 1) * run.m, j, s, q)
            increment!(
                K, X, tangents.slopes, n, P, $(first_ ? 0 : :m), $(stage - 1) * m, n
            )
        end)
    end
    push!(body.args, :(combine!(X, K, $(Val(B)), h, 0, 0, m)), :(return nothing))
    return body
end

"Write the rows of a requested time."
function write_rows!(
    jacobian, tangents::Tangents{T}, session, rows, wanted, k, j, s, step, q
) where {T}
    run, equation = session.run, session.run.equation
    n, P = length(equation.states), equation.parameters
    for (i, node) in enumerate(equation.states)
        write_row!(jacobian, tangents.X, (i - 1) * P, rows[node, k, j], wanted)
    end
    o = length(equation.observed)
    o == 0 && return nothing
    at = record_at(run, step)
    rows_by_products!(tangents, equation.observing_back, run, o, at, j, s, q)
    increment!(tangents.K, tangents.X, tangents.slopes, n, P, 0, 0, o)
    for (i, node) in enumerate(equation.observed)
        write_row!(jacobian, tangents.K, (i - 1) * P, rows[node, k, j], wanted)
    end
    return nothing
end

function write_row!(jacobian, from::Vector, at, row, wanted)
    row == 0 && return nothing
    @inbounds for (e, parameter) in enumerate(wanted)
        jacobian[e, row] = from[at + parameter]
    end
    return nothing
end
