# Derivatives of steady states of a generated equation by the implicit function theorem, and of what did
# not settle through its integration.

"""
Call `settled(places)` for those of the rows that settled, whose states are laid, and `unsettled(places)`
for those that did not, which are integrated to the horizon.
"""
function each_kind(settled::F, unsettled::G, steady::EquationSteady, index) where {F,G}
    places = findall(view(steady.settled, eachindex(index)))
    if !isempty(places)
        lay!(steady, index, places, true)
        settled(places)
    end
    places = findall(!, view(steady.settled, eachindex(index)))
    if !isempty(places)
        integrate_to!(steady, index, places, steady.horizon, true)
        unsettled(places)
    end
    return nothing
end

"The derivatives of what has its seeds in the session, at the states that were found for the rows."
function reverse_all!(of_p, of_u, of_start, steady::EquationSteady, index)
    session, whole = steady.session, (of_p, of_u, of_start)
    nodes = size(session.initial, 1)
    all(view(steady.settled, eachindex(index))) &&
        return GC.@preserve steady of_p of_u of_start reverse_settled!(steady, whole...)
    seeds = reshape(session.seeds[1:(nodes * length(index))], nodes, :)
    function part(reverse!, places)
        copy_columns!(session.seeds, seeds, places)
        own = of_p[:, places], of_u[:, places, :], of_start[:, places]
        GC.@preserve steady own reverse!(own...)
        of_p[:, places], of_u[:, places, :], of_start[:, places] = own
        return nothing
    end
    each_kind(
        places -> part((own...) -> reverse_settled!(steady, own...), places),
        places -> part((own...) -> reverse_all!(session, own...), places), steady, index,
    )
    return nothing
end

"The same for conditions that all settled, and are in hand."
function reverse_settled!(steady::EquationSteady{T}, of_p, of_u, of_start) where {T}
    session, run = steady.session, steady.session.run
    foreach(array -> fill!(array, zero(T)), (of_p, of_u, of_start))
    c = run.columns
    c == 0 && return nothing
    isempty(session.backward) && push!(session.backward, EquationReverse{T}())
    back, n = session.backward[1], size(steady.states, 1)
    make_room!(back, run)
    fill!(view(back.adjoint, 1:(run.m)), zero(T))
    add_seeds!(session, back, 1:c, 1, 1, 1, 0, of_p, of_u, of_start)
    on_conditions((j, q) -> implicit!(steady, back, j, q), steady)
    isempty(run.moves) || mask!(back.kappa, 0, run, 1:c, 1)
    call!(
        run.equation.pull_back, 1, c, pointer(run.tape), inputs_in(run, 1), pointer(run.p), pointer(back.kappa),
        pointer(back.bars), pointer(of_u), pointer(of_p), pointer(run.rooms[1]),
    )
    leave_start!(session, back, 1:c, 1, of_p, of_u, of_start)
    return nothing
end

"Write μ = Sᵀ⁻¹λ of condition `j` in hand to `back.kappa`, and what of it is due to where it began for λ."
function implicit!(steady::EquationSteady{T}, back, j::Int, q::Int) where {T}
    find, run, n = steady.finders[q], steady.session.run, size(steady.states, 1)
    projection, from = steady.projections[steady.at_hand[j]], (j - 1) * size(steady.states, 1)
    jacobian!(find.J, find, run, run.tape, from, j, q)
    copyto!(find.change, 1, back.adjoint, from + 1, n)
    solve_rows!(system!(find.system, projection, find.J, true), find.change, 1) ||
        fill!(find.change, T(NaN))
    copyto!(back.kappa, from + 1, find.change, 1, n)
    @inbounds for i in 1:n
        total = zero(T)
        for l in 1:n
            total += projection[l, i] * find.change[l]
        end
        back.adjoint[from + i] = total
    end
    return nothing
end

function residuals_and_jacobian!(
    residuals::Vector{T}, jacobian::Matrix{T}, steady::EquationSteady{T}, rows::Array{Int,3}, wanted
) where {T}
    session, index = steady.session, steady.session.every_row
    GC.@preserve steady begin
        find!(steady, index)
        lay!(steady, index, index, true)
        write_residuals!(residuals, session, rows, 1, 0)
        each_kind(
            places -> settled_rows!(jacobian, steady, rows[:, :, places], wanted),
            places -> jacobian_rows!(jacobian, session, rows[:, :, places], wanted), steady, index,
        )
    end
    weigh!(jacobian, session, rows)
    return nothing
end

"Rows of the Jacobian of conditions that settled, and are in hand: dx = S⁻¹(∂f/∂p + ρP dx₀)."
function settled_rows!(jacobian, steady::EquationSteady{T}, rows, wanted) where {T}
    session, run = steady.session, steady.session.run
    n, P = size(steady.states, 1), run.equation.parameters
    tangents = [Tangents(run) for _ in steady.finders]
    on_conditions(steady) do j, q
        one_, find = tangents[q], steady.finders[q]
        projection = steady.projections[steady.at_hand[j]]
        GC.@preserve one_ begin
            start_slopes!(one_, session, j, q)
            slopes_at!(one_, run, 0, j, 1, q)
            for i in 1:n
                row = (i - 1) * (n + P)
                copyto!(find.J, (i - 1) * n + 1, one_.slopes, row + 1, n)
                copyto!(one_.slopes, row + 1, projection, (i - 1) * n + 1, n)
            end
            increment!(one_.K, one_.X, one_.slopes, n, P, 0, 0, n)
            solve_rows!(system!(find.system, projection, find.J), one_.K, P) || fill!(one_.K, T(NaN))
            copyto!(one_.X, 1, one_.K, 1, n * P)
            write_rows!(jacobian, one_, session, rows, wanted, 1, j, 1, 0, q)
        end
    end
    return nothing
end
