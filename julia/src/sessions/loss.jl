# Losses on blocks of states.

const LOSSES = (:mse, :mae, :huber)

"A loss: ℓ by `penalty`, ℓ' by `penalty_slope`."
abstract type AnyLoss end

"""
    Loss(name=:mse; delta=1.0)

Mean of ℓ(r) over the measured entries, r = (predicted − observed)/sigma: r² (`:mse`), |r|
(`:mae`), or Huber's r²/2 up to `delta` and δ(|r| − δ/2) beyond (`:huber`; `delta` in units of
r).
"""
struct Loss{Name} <: AnyLoss
    delta::Float64

    function Loss(name=:mse; delta=1.0)
        name = one_of("loss", _symbol(name), LOSSES)
        if !(delta isa Real) || !(0 < delta < Inf)
            throw(
                ModelError("delta=$(repr(delta)); Huber's threshold must be finite and > 0.")
            )
        end
        return new{name}(delta)
    end
end

"ℓ(r) = r: weights that are the derivative of something else are handed on."
struct HandOn <: AnyLoss end

# ℓ and ℓ' of a residual.
@inline penalty(::HandOn, r) = r
@inline penalty_slope(::HandOn, r) = one(r)
@inline penalty(::Loss{:mse}, r) = r * r
@inline penalty_slope(::Loss{:mse}, r) = 2 * r
@inline penalty(::Loss{:mae}, r) = abs(r)
@inline penalty_slope(::Loss{:mae}, r) = sign(r)
@inline _near(loss::Loss{:huber}, r::T) where {T} = clamp(r, -T(loss.delta), T(loss.delta))
# r²/2 inside and δ|r| − δ²/2 outside are both near·(r − near/2).
@inline penalty(loss::Loss{:huber}, r) = (near = _near(loss, r); near * (r - near / 2))
@inline penalty_slope(loss::Loss{:huber}, r) = _near(loss, r)

"""
    add_loss!(seeds, at, loss, state, state_at, response, weight, k, columns, count)

Sum of ℓ over a block at the k-th requested time, in Float64, and whether its states are finite.

`state` holds the block's states behind entry `state_at`; `response` and `weight` (n × times ×
conditions) are read at the conditions `columns`. Unless `seeds` is `nothing`, the derivative of
sum/`count` with respect to the states is written behind its entry `at`.
"""
function add_loss!(
    seeds, at::Int, loss::AnyLoss, state::Vector{T}, state_at::Int, response::Array{T,3},
    weight::Array{T,3}, k::Int, columns, count::Int,
) where {T}
    n = size(response, 1)
    total, finite = 0.0, true
    share = one(T) / T(count)
    for (q, column) in enumerate(columns)
        start = (q - 1) * n
        @inbounds @simd ivdep for i in 1:n
            x = state[state_at + start + i]
            w = weight[i, k, column]
            r = (x - response[i, k, column]) * w
            total += Float64(penalty(loss, r))
            finite &= isfinite(x)
            if seeds !== nothing
                seeds[at + start + i] = penalty_slope(loss, r) * w * share
            end
        end
    end
    return total, finite
end
