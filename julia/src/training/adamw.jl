# AdamW on raw parameters, many iterations a call: the same arithmetic, batches and judgement as
# the Python training loop (pycellbox/fitting), which keeps progress, stages and files.

import Optimisers

"""
    AdamWOptions(beta1, beta2, epsilon, weight_decay, clip_norm)

`clip_norm` is `Inf` for no clipping.
"""
struct AdamWOptions
    beta1::Float64
    beta2::Float64
    epsilon::Float64
    weight_decay::Float64
    clip_norm::Float64
end

"""
    AdamWRun(session, parametrization, options; raw, learning_rates, l1, l2, train, validation,
             patience, full_batch)

AdamW over one stage of a fit.

- `raw`, `learning_rates`: one array per raw parameter.
- `l1`, `l2`: strength of the penalty on every entry of `W`, `b0` and the shifts, scaled.
- `train`, `validation`: conditions of the session, from 1. Without validation the objective on
  the full batch judges, and nothing does where batches are smaller.
- `patience`: evaluations without a better one after which to stop; 0 for never.
"""
mutable struct AdamWRun{T,S,P,R}
    session::S
    parametrization::Parametrization{T}
    options::AdamWOptions
    rule::R
    raw::Raw{T}
    learning_rates::Raw{T}
    l1::Raw{T}
    l2::Raw{T}
    train::Vector{Int}
    validation::Vector{Int}
    patience::Int
    judged::Bool
    parameters::P
    gradient::P
    slope::Raw{T}
    state::Dict{Symbol,Any}
    previous::Raw{T}
    best_raw::Raw{T}
    best::Float64
    since_best::Int
    iterations::Int
    shrink::Float64
    retried::Int
end

const RETRIES = 30

function AdamWRun(
    session, parametrization::Parametrization{T}, options::AdamWOptions;
    raw, learning_rates, l1, l2, train, validation, patience, full_batch,
) where {T}
    # A rate of one: the step is scaled entry by entry afterwards.
    rule = Optimisers.Adam(one(T), (T(options.beta1), T(options.beta2)), T(options.epsilon))
    structure = parametrization.structure
    parameters = zero_parameters(T, structure)
    start = copy_raw(raw)
    return AdamWRun(
        session, parametrization, options, rule, start, learning_rates, l1, l2,
        collect(Int, train), collect(Int, validation), Int(patience),
        !isempty(validation) || full_batch, parameters, zero_parameters(T, structure),
        copy_raw(raw), Dict{Symbol,Any}(k => Optimisers.init(rule, v) for (k, v) in start),
        copy_raw(raw), copy_raw(raw), Inf, 0, 0, 1.0, 0,
    )
end

function penalize!(run::AdamWRun)
    total = 0.0
    for name in (:W, :b0, :b, :common)
        haskey(run.raw, name) || continue
        total += penalize!(run.slope[name], run.raw[name], run.l1[name], run.l2[name])
    end
    return total
end

# A function of its own, because the arrays' number of dimensions is not known in `run.raw`.
function penalize!(g::Array{T}, x::Array{T}, l1::Array{T}, l2::Array{T}) where {T}
    total = 0.0
    @inbounds for i in eachindex(x, g, l1, l2)
        total += l1[i] * abs(x[i]) + l2[i] * x[i]^2
        g[i] += l1[i] * sign(x[i]) + 2 * l2[i] * x[i]
    end
    return total
end

"Objective and loss at the current parameters; the gradient goes to `run.slope`."
function objective!(run::AdamWRun, rows, prefix=nothing)
    effective!(run.parameters, run.parametrization, run.raw)
    loss, _ = value_and_gradient!(
        run.gradient, run.session, run.parameters; rows=rows, prefix=prefix
    )
    pull_back_raw!(run.slope, run.parametrization, run.raw, run.gradient)
    total = loss + penalize!(run)
    isfinite(total) ||
        throw(DivergenceError("the penalty is not finite: parameters have grown too large."))
    return total, loss
end

"Evaluate; a blow-up takes the last step back by halves until the trajectory is finite."
function evaluate!(run::AdamWRun, rows, prefix)
    for _ in 1:RETRIES
        try
            return objective!(run, rows, prefix)
        catch error
            (error isa DivergenceError && run.iterations > 0) || rethrow()
            run.retried += 1
            run.shrink /= 2
            for (name, before) in run.previous
                @. run.raw[name] = (run.raw[name] + before) / 2
            end
        end
    end
    for (name, before) in run.previous
        copyto!(run.raw[name], before)
    end
    return objective!(run, rows, prefix)
end

function validation_loss(run::AdamWRun)
    isempty(run.validation) && return NaN
    effective!(run.parameters, run.parametrization, run.raw)
    try
        return value(run.session, run.parameters; rows=run.validation)
    catch error
        error isa DivergenceError || rethrow()
        return Inf
    end
end

"Judge the current parameters; their validation loss, and whether patience has run out."
function judge!(run::AdamWRun, objective)
    validation = validation_loss(run)
    run.judged || return validation, false
    score = isempty(run.validation) ? objective : validation
    if score < run.best
        run.best, run.since_best = score, 0
        for (name, array) in run.raw
            copyto!(run.best_raw[name], array)
        end
    else
        run.since_best += 1
    end
    return validation, run.patience > 0 && run.since_best >= run.patience
end

function step!(run::AdamWRun{T}, factor) where {T}
    len = sqrt(sum(x -> sum(abs2, x), values(run.slope)))
    shorten = len > run.options.clip_norm ? T(run.options.clip_norm / len) : one(T)
    for (name, x) in run.raw
        copyto!(run.previous[name], x)
        g = run.slope[name]
        shorten == 1 || (g .*= shorten)
        run.state[name], step = Optimisers.apply!(run.rule, run.state[name], x, g)
        decay = name in (:W, :b0) ? T(run.options.weight_decay) : zero(T)
        rate, scale = run.learning_rates[name], T(factor * run.shrink)
        @. x -= rate * scale * (step + decay * x)
    end
    run.iterations += 1
    return len
end

"""
    advance!(run, records, batches, prefixes, closes_epoch, factors)

Make an update on each batch of conditions, at its first `prefixes[k]` times (0 for all). Row k of
`records` (iterations × 4) receives the objective, loss, validation loss (NaN where not judged) and
gradient norm that iteration k saw at its start.

Returns the number of iterations made, whether patience has run out, and the message of the
`DivergenceError` that ended them early, or "".
"""
function advance!(run::AdamWRun, records, batches, prefixes, closes_epoch, factors)
    for k in eachindex(factors)
        objective, loss = try
            evaluate!(run, batches[k], prefixes[k] == 0 ? nothing : Int(prefixes[k]))
        catch error
            error isa DivergenceError || rethrow()
            return k - 1, false, error.message
        end
        validation, stop = NaN, false
        if closes_epoch[k]
            validation, stop = judge!(run, objective)
        end
        len = step!(run, factors[k])
        records[k, 1], records[k, 2] = objective, loss
        records[k, 3], records[k, 4] = validation, len
        stop && return k, true, ""
    end
    return length(factors), false, ""
end

"Have the parameters after the last update judged, which no iteration has looked at yet."
function finish!(run::AdamWRun)
    run.judged || return nothing
    try
        objective = isempty(run.validation) ? first(objective!(run, run.train)) : NaN
        judge!(run, objective)
    catch error
        error isa DivergenceError || rethrow()
    end
    return nothing
end
