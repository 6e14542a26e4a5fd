# A problem held for repeated evaluation with Tsit5: like `Session`, with steps that are found anew
# in every evaluation and then reversed as they were made.

"""
    adaptive_session(structure, perturbation, response, weight, times, loss, solver::Tsit5;
                     chunks=nothing)

Hold a problem for repeated evaluation of its loss and gradient with [`Tsit5`](@ref): for
[`value`](@ref) and [`value_and_gradient!`](@ref). Arguments as for [`Session`](@ref).

The gradient is the exact derivative of the computed trajectory, the step sizes taken as given:
every accepted step is kept (12 numbers per node and condition, 18 with the envelopes polynomial
and hill) and reversed. `chunks` is the number of threads to use.
"""
function adaptive_session end

struct Tsit5Session{T,R,L,G} <: Held
    run::R
    loss::L
    response::Array{T,3}
    weight::Array{T,3}
    # Measured entries of each condition up to each time, times × conditions.
    measured::Matrix{Int}
    every_row::Vector{Int}
    # One for each thread.
    backward::Vector{Reverse{T}}
    gradient::G
    # Keeps alive the memory that the arrays above are views of.
    owners::Vector{Any}
end

function adaptive_session(
    structure::Structure, perturbation::Inputs{T}, response::AbstractArray,
    weight::AbstractArray, times, loss::AnyLoss, solver::Tsit5; chunks=nothing,
) where {T<:AbstractFloat}
    u = held_where_it_lies(T, perturbation)
    run = Ensemble(structure, solver, u, times; chunks=chunks, seeds=true)
    n, c = size(u)
    shape = (n, length(run.stops.times), c)
    y = _observed("response", dense(T, response), shape)
    w = _observed("weight", dense(T, weight), shape)
    return Tsit5Session(
        run, loss, y, w, [count(!iszero, view(w, :, 1:k, j)) for k in 1:shape[2], j in 1:c],
        collect(1:c),
        Reverse{T}[], zero_parameters(T, structure), Any[perturbation, response, weight],
    )
end

function release!(session::Tsit5Session)
    for block in session.run.blocks
        release!(block.forward)
        free!(block.seeds)
    end
    return nothing
end

_lowering(session::Tsit5Session) = session.run.lowering
_network(session::Tsit5Session) = session.run.network
_source(session::Tsit5Session) = session.run.perturbation
_swept(session::Tsit5Session) = session.backward[1].gradient

function _evaluate!(
    session::Tsit5Session{T}, parameters, rows, mode::Val{Gradient}, prefix, inputs=nothing
) where {T,Gradient}
    run = session.run
    check_parameters(run.lowering.structure, parameters)
    index = _rows(session, rows)
    check_inputs(inputs, run.perturbation, length(index))
    Gradient && isempty(session.backward) && push!(session.backward, _reverse(run))
    if isempty(index)
        Gradient && clear!(session.backward[1])
        return 0.0
    end
    count_ = last_stop(run.stops, prefix)
    times = prefix === nothing ? length(run.stops.times) : Int(prefix)
    entries = max(sum(row -> session.measured[times, row], index), 1)
    begin!(run, parameters, index, Gradient)
    integrate!(run, AddAdaptiveLoss(session, entries, mode), count_)
    total = 0.0
    for b in 1:(run.used)
        block = run.blocks[b]
        block.finite || throw(diverged(first(block.columns), run))
        total += block.total
    end
    isfinite(total) || throw(
        DivergenceError("the loss is not finite: the trajectory is finite but too large.")
    )
    Gradient && _reverse_all!(session, inputs)
    return total / entries
end

_reverse(run::Ensemble{T}) where {T} = Reverse{T}(run.network, 6, run.blocks[1].forward.width)

"Adds a block's loss at a requested time and keeps its derivative."
struct AddAdaptiveLoss{S,M}
    session::S
    entries::Int
    mode::M
end

function (add::AddAdaptiveLoss{S,Val{Gradient}})(k, block, at) where {S,Gradient}
    session, ws = add.session, block.forward
    total, finite = add_loss!(
        Gradient ? block.seeds : nothing, (k - 1) * ws.m, session.loss, ws.state, at,
        session.response, session.weight, k, block.columns, add.entries,
    )
    block.total += total
    block.finite &= finite
    return nothing
end

"Reverse all blocks; the gradient of all of them is left in the first of `session.backward`."
function _reverse_all!(session::Tsit5Session, inputs)
    run, backward = session.run, session.backward
    while length(backward) < run.threads
        push!(backward, _reverse(run))
    end
    on_threads(run.threads) do q
        clear!(backward[q])
        for b in span(run.used, run.threads, q)
            block, positions = run.blocks[b], span(run.columns, run.used, b)
            _reverse_block!(backward[q], run, block, inputs, positions)
            leave_start!(
                backward[q], block.forward, block.forward.course, run.lowering, run.perturbation,
                block.columns, inputs, positions,
            )
        end
        finish!(backward[q])
    end
    for q in 2:(run.threads)
        add!(backward[1].gradient, backward[q].gradient)
    end
    return nothing
end

function _reverse_block!(back::Reverse, run::Ensemble, block::AdaptiveBlock, inputs, positions)
    ws, k = block.forward, length(run.steps_at)
    fill!(back.adjoint, 0)
    driven = of_drive(inputs, ws)
    driven && clear_drive!(back, ws)
    for step in length(run.sizes):-1:1
        check_interrupt()
        k = pass_stops!(
            back, ws, run.stops, run.steps_at, k, step, block.seeds, inputs, positions
        )
        set_step!(ws, run.network, run.sizes[step])
        reverse_step!(back, ws, run.network, tableau(run.solver), step - 1)
        driven && add_drive!(back, ws, tableau(run.solver), step - 1)
    end
    # The loss at a first requested time of 0 is one of x₀ itself.
    pass_stops!(back, ws, run.stops, run.steps_at, k, 0, block.seeds, inputs, positions)
    return nothing
end
