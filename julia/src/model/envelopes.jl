# Envelopes φ and their derivatives, on single numbers and free of branches, so that loops over
# them become SIMD code.

const ENVELOPES = (:tanh, :polynomial, :hill, :linear, :clip, :sigmoid)

"""
An envelope φ: `value(φ, z)` and `slope(φ, z, value)`; where `needs_z(φ)` is false the slope
follows from the value alone and its `z` is ignored.
"""
abstract type Envelope end
struct Tanh <: Envelope end
struct Linear <: Envelope end
struct Clip <: Envelope end
struct Sigmoid <: Envelope end
struct Polynomial{K} <: Envelope end
struct Hill{K} <: Envelope end

"The envelope of a model."
function envelope(model::Model)
    model.envelope == :polynomial && return Polynomial{model.order}()
    model.envelope == :hill && return Hill{model.order}()
    simple = (tanh=Tanh(), linear=Linear(), clip=Clip(), sigmoid=Sigmoid())
    return getproperty(simple, model.envelope)
end

needs_z(::Envelope) = false
needs_z(::Union{Polynomial,Hill}) = true

@inline value(::Tanh, z) = fast_tanh(z)
@inline slope(::Tanh, z, φ) = one(φ) - φ * φ

@inline value(::Linear, z) = z
@inline slope(::Linear, z, φ) = one(φ)

@inline value(::Clip, z::T) where {T} = ifelse(z > 1, one(T), ifelse(z < -1, -one(T), z))
# At the corners themselves the one-sided derivative of the flat side is taken.
@inline slope(::Clip, z, φ::T) where {T} = ifelse(abs(φ) < 1, one(T), zero(T))

# Through tanh it neither overflows nor loses digits on either side.
@inline value(::Sigmoid, z::T) where {T} = muladd(T(0.5), fast_tanh(T(0.5) * z), T(0.5))
@inline slope(::Sigmoid, z, φ) = (one(φ) - φ) * φ

@inline function value(::Polynomial{K}, z) where {K}
    return copysign(power_value(abs(z), Val(K)), z)
end
@inline slope(::Polynomial{K}, z, φ) where {K} = power_slope(abs(z), Val(K))

@inline function value(::Hill{K}, z::T) where {K,T}
    return 2 * power_value(_ramp(z + 1), Val(K)) - 1
end
@inline slope(::Hill{K}, z, φ) where {K} = 2 * power_slope(_ramp(z + 1), Val(K))

# max(s, 0), but NaN stays NaN.
@inline _ramp(s::T) where {T} = ifelse(s < 0, zero(T), s)

"sᵏ/(1+sᵏ) for s ≥ 0."
@inline function power_value(s, ::Val{K}) where {K}
    q = power(_capped(s, Val(K)), Val(K))
    return q / (1 + q)
end

"Derivative of `power_value`, k sᵏ⁻¹/(1+sᵏ)²."
@inline function power_slope(s::T, ::Val{K}) where {T,K}
    s = _capped(s, Val(K))
    q = power(s, Val(K - 1))
    below = muladd(s, q, one(T))
    # Divided twice: the square of `below` would overflow in Float32.
    return K * (q / below / below)
end

# Beyond this sᵏ/(1+sᵏ) is 1 to rounding; without the cap large s would give ∞/∞.
@generated function _capped(s::T, ::Val{K}) where {T,K}
    cap = 1e18^(1 / K)
    return quote
        $(Expr(:meta, :inline))
        return ifelse(s > $cap, T($cap), s)
    end
end

"s to the whole power K by repeated squaring, written out."
@generated function power(s, ::Val{K}) where {K}
    body = quote
        $(Expr(:meta, :inline))
    end
    result, square, left = nothing, :s, K
    while left > 0
        if isodd(left)
            result = result === nothing ? square : :($result * $square)
        end
        left >>= 1
        if left > 0
            next = gensym(:square)
            push!(body.args, :($next = $square * $square))
            square = next
        end
    end
    push!(body.args, :(return $(result === nothing ? :(one(s)) : result)))
    return body
end
