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

check_inputs(::Nothing, n::Int, c::Int) = nothing
function check_inputs(inputs::InputGradient, n::Int, c::Int)
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
    pull_back_drive!(inputs, positions, lowering, u, columns, inside, outside, initial)

The transpose of [`drive!`](@ref): from the derivatives with respect to p, v and x₀ of `columns` of
the perturbation `u`, one after the other in vectors, to those with respect to u and x₀ in the columns
`positions` of `inputs`.
"""
function pull_back_drive!(
    inputs::InputGradient{T}, positions, lowering::Lowering, u::AbstractMatrix, columns, inside,
    outside, initial,
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
        inputs.perturbation[i, to] = total
        inputs.initial_state[i, to] = initial[e]
    end
    return inputs
end
