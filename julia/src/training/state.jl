# The state of a run as arrays, to be written down and gone on from to the same bits.

"What a run has one array for of every raw parameter."
const PARTS = (:raw, :mean, :square, :previous, :best_raw)

"The arrays of one of `PARTS`, the run's own."
function part(run::AdamWRun{T}, name::Symbol) where {T}
    name == :mean && return Raw{T}(k => moments[1] for (k, moments) in run.state)
    name == :square && return Raw{T}(k => moments[2] for (k, moments) in run.state)
    return getproperty(run, name)
end

"Go on from the arrays that now stand in `PARTS`, after `count` updates."
function restore!(run::AdamWRun{T}, best, since, count, shrink, retried) where {T}
    run.best, run.since_best, run.iterations = best, since, count
    run.shrink, run.retried = shrink, retried
    beta = T.(run.rule.beta)
    powers = beta
    for _ in 1:count  # as Optimisers does, factor by factor
        powers = powers .* beta
    end
    for (name, moments) in run.state
        run.state[name] = (moments[1], moments[2], powers)
    end
    return run
end
