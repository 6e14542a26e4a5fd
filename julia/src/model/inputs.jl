# Derivatives with respect to what drives the equation: the perturbation and the initial state.

"""
    InputGradient(perturbation, initial_state)
    InputGradient{T}(nodes, conditions)

Where ∂L/∂u and ∂L/∂x₀ are written, each node × condition, the conditions in the order of the rows
that are asked for. A clamped drug starts from its dose and stays there: the way by x₀ is in ∂L/∂u
too.
"""
struct InputGradient{T}
    perturbation::Matrix{T}
    initial_state::Matrix{T}
end

InputGradient{T}(n::Integer, c::Integer) where {T} = InputGradient(zeros(T, n, c), zeros(T, n, c))

"Room for the derivatives with respect to what is done to `c` conditions."
gradient_for(u::AbstractMatrix{T}, c) where {T} = InputGradient{T}(size(u, 1), c)

"Write `share` times the derivatives of `part` to the conditions `positions`."
function take_share!(inputs::InputGradient, positions, part, share)
    inputs.perturbation[:, positions] .= share .* part.perturbation
    inputs.initial_state[:, positions] .= share .* part.initial_state
    return inputs
end

check_inputs(::Nothing, source, c::Int) = nothing
function check_inputs(inputs::InputGradient, u::AbstractMatrix, c::Int)
    n = size(u, 1)
    size(inputs.perturbation) == size(inputs.initial_state) == (n, c) && return nothing
    return throw(
        ModelError(
            "the gradient of the inputs has shapes $(size(inputs.perturbation)) and " *
            "$(size(inputs.initial_state)); it needs (nodes, conditions) = $((n, c)).",
        ),
    )
end

"d'(u) of [`map_dose`](@ref)."
function dose_slope(model::Model, u::T) where {T}
    κ = model.dose_saturation
    return (κ === nothing || κ == 0) ? one(T) : one(T) - fast_tanh(T(κ) * u)^2
end

"""
    pull_back_drive!(of_u, positions, lowering, u, columns, inside, outside, initial)

The transpose of [`drive!`](@ref): from the derivatives with respect to p, v and x₀ of `columns` of
the perturbation `u`, one after the other in vectors, to those with respect to u in the columns
`positions` of `of_u`, or to those with respect to u and x₀ of an `InputGradient`.
"""
function pull_back_drive!(
    inputs::InputGradient, positions, lowering::Lowering, u, columns, inside, outside, initial
)
    n = size(u, 1)
    for (q, to) in enumerate(positions)
        copyto!(inputs.initial_state, (to - 1) * n + 1, initial, (q - 1) * n + 1, n)
    end
    pull_back_drive!(
        inputs.perturbation, positions, lowering, u, columns, inside, outside, initial
    )
    return inputs
end

function pull_back_drive!(
    of_u::AbstractMatrix{T}, positions, lowering::Lowering, u, columns, inside, outside, initial
) where {T}
    model = lowering.structure.model
    sign = model.form isa Symbol ? -1 : 1
    n = size(u, 1)
    for (q, column) in enumerate(columns), i in 1:n
        e, to = (q - 1) * n + i, positions[q]
        mapped, total = lowering.mapped[i], zero(T)
        slope_ = mapped ? dose_slope(model, convert(T, u[i, column])) : one(T)
        lowering.clamped[i] && (total += slope_ * initial[e])
        lowering.u_inside && !mapped && (total += sign * inside[e])
        lowering.u_outside && (mapped || !lowering.u_inside) &&
            (total += sign * slope_ * outside[e])
        of_u[i, to] = total
    end
    return of_u
end
