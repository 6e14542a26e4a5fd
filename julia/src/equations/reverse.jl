# The exact reverse of the steps that an integration of a generated equation made, on threads: the
# conditions do not know of each other.

"Fewest conditions worth a thread: their steps should take it a tenth of a millisecond or so."
function worthwhile_conditions(run::EquationRun)
    nanoseconds = length(run.sizes) * stages(run) * length(run.equation.states) * 10.0
    return max(1, ceil(Int, 1e5 / max(nanoseconds, 1.0)))
end

"Write the derivatives of a loss whose seeds stand in the session; see `value_and_gradient!`."
function reverse_all!(session::EquationSession{T}, of_p, of_u, of_start) where {T}
    run, c = session.run, session.run.columns
    fill!(of_p, zero(T))
    fill!(of_u, zero(T))
    fill!(of_start, zero(T))
    isempty(run.steps_at) && return nothing
    used = parts(c, worthwhile_conditions(run), length(run.rooms))
    while length(session.backward) < used
        push!(session.backward, EquationReverse{T}())
    end
    # Threads share `run`, which they read alone: the segment that they are in is their own.
    on_threads(used) do q
        reverse_some!(session, session.backward[q], span(c, used, q), q, of_p, of_u, of_start)
    end
    return nothing
end

function reverse_some!(
    session::EquationSession{T}, back::EquationReverse{T}, range, q::Int, of_p, of_u, of_start
) where {T}
    run, equation = session.run, session.run.equation
    n = length(equation.states)
    make_room!(back, run)
    mine = ((first(range) - 1) * n + 1):(last(range) * n)
    fill!(view(back.adjoint, mine), zero(T))
    stops, k = run.stops, length(run.steps_at)
    s = 1 + count(!=(0), view(stops.begins, 1:k))
    for step in length(run.sizes):-1:0
        while k > 0 && run.steps_at[k] == step
            if stops.asked[k] != 0
                add_seeds!(session, back, range, q, s, stops.asked[k], step, of_p, of_u, of_start)
            end
            stops.begins[k] == 0 || (s -= 1)
            k -= 1
        end
        step == 0 && break
        check_interrupt()
        reverse_step!(run, tableau(run.solver), back, range, q, s, step - 1, of_p, of_u)
    end
    leave_start!(session, back, range, q, of_p, of_u, of_start)
    return nothing
end

function make_room!(back::EquationReverse, run::EquationRun)
    resize!(back.adjoint, run.m)
    resize!(back.kappa, run.m)
    resize!(back.bars, run.m * stages(run))
    resize!(back.due, length(run.equation.observed) * run.columns)
    return nothing
end

"Write the adjoint as that of the state at the beginning, and add what that was made of."
function leave_start!(session::EquationSession{T}, back, range, q, of_p, of_u, of_start) where {T}
    run, equation, no = session.run, session.run.equation, Ptr{T}(0)
    n = length(equation.states)
    for j in range, (i, node) in enumerate(equation.states)
        e = (j - 1) * n + i
        of_start[node, j] += back.adjoint[e]
        session.own[i, j] || (back.adjoint[e] = 0)
    end
    GC.@preserve session back of_p of_u call!(
        equation.start_back, first(range), last(range), no, inputs_in(run, 1), pointer(run.p),
        pointer(back.adjoint), no, pointer(of_u), pointer(of_p), pointer(run.rooms[q]),
    )
    return nothing
end

"Add what a requested time says of the nodes to the adjoint, and to what it depends on beside."
function add_seeds!(
    session::EquationSession{T}, back, range, q, s, k, step, of_p, of_u, of_start
) where {T}
    run, equation = session.run, session.run.equation
    n, all_, no = length(equation.states), equation.nodes, Ptr{T}(0)
    from = (k - 1) * all_ * length(session.every_row)
    o = length(equation.observed)
    for j in range
        at = from + (j - 1) * all_
        for i in 1:o
            node = equation.observed[i]
            back.due[(j - 1) * o + i] = session.seeds[at + node]
            session.seeds[at + node] = zero(T)
        end
        for i in 1:n
            node = equation.states[i]
            back.adjoint[(j - 1) * n + i] += session.seeds[at + node]
            session.seeds[at + node] = zero(T)
        end
        for i in 1:all_  # the others stay where they begin
            of_start[i, j] += session.seeds[at + i]
        end
    end
    o == 0 && return nothing
    call!(
        equation.observing_back, first(range), last(range), behind(run.tape, record_at(run, step)),
        inputs_in(run, s), pointer(run.p), pointer(back.due), pointer(back.kappa),
        behind(of_u, (s - 1) * size(of_u, 1) * run.columns), pointer(of_p), pointer(run.rooms[q]),
    )
    @inbounds for e in ((first(range) - 1) * n + 1):(last(range) * n)
        back.adjoint[e] += back.kappa[e]
    end
    return nothing
end

"The adjoint of stage s: h times its share in the step's end and in the stages after it."
@generated function stage_adjoint!(
    back::EquationReverse{T}, ::Tableau{S,A,B}, ::Val{s}, h::T, mine, m::Int
) where {T,S,A,B,s}
    sum_ = B[s] == 0 ? nothing : :(T($(B[s])) * adjoint[e])
    for r in (s + 1):S
        A[r][s] == 0 && continue
        term = :(bars[$(r - 1) * m + e])
        sum_ = sum_ === nothing ? :(T($(A[r][s])) * $term) : :(muladd(T($(A[r][s])), $term, $sum_))
    end
    sum_ === nothing && (sum_ = :(zero(T)))
    return quote
        kappa, adjoint, bars = back.kappa, back.adjoint, back.bars
        @inbounds @simd ivdep for e in mine
            kappa[e] = h * $sum_
        end
        return nothing
    end
end

@generated function reverse_step!(
    run::EquationRun{T}, method::Tableau{S}, back::EquationReverse{T}, range, q::Int, s::Int,
    step::Int, of_p::Matrix{T}, of_u::Array{T,3},
) where {T,S}
    body = quote
        equation, m, h = run.equation, run.m, T(run.sizes[step + 1])
        n, at = length(equation.states), record_at(run, step)
        mine = ((first(range) - 1) * n + 1):(last(range) * n)
        u, to_u = inputs_in(run, s), behind(of_u, (s - 1) * size(of_u, 1) * run.columns)
    end
    for stage in S:-1:1
        push!(body.args, quote
            stage_adjoint!(back, method, $(Val(stage)), h, mine, m)
            isempty(run.moves) || mask!(back.kappa, 0, run, range, s)
            call!(
                equation.pull_back, first(range), last(range), behind(run.tape, at + $(stage - 1) * m),
                u, pointer(run.p), pointer(back.kappa), behind(back.bars, $(stage - 1) * m), to_u,
                pointer(of_p), pointer(run.rooms[q]),
            )
        end)
    end
    total = :(adjoint[e])
    for stage in 1:S
        total = :($total + bars[$(stage - 1) * m + e])
    end
    push!(body.args, quote
        adjoint, bars = back.adjoint, back.bars
        @inbounds @simd ivdep for e in mine
            adjoint[e] = $total
        end
        return nothing
    end)
    return body
end
