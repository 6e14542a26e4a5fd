# Every variant of the model reduced to one right-hand side,
#
#     dx/dt = a∘φ(Mx + p) + b∘v − c∘x ,   x(0) = x₀ ,
#
# M (n, n); a, b, c (n); p, v, x₀ (n, conditions). Nothing beyond this file asks which form it
# is. Operating points and common effects are shifts, which are a part of p where they reach; −ε∘φ(b)
# is the coefficient of v = 1.

"M (n × n), a, b, c (n) and the shifts (n × any number) of the right-hand side, or their gradient."
struct Coefficients{T}
    M::Matrix{T}
    a::Vector{T}
    b::Vector{T}
    c::Vector{T}
    shifts::Matrix{T}
end

function Coefficients{T}(n::Integer, shifts::Integer) where {T}
    return Coefficients(zeros(T, n, n), zeros(T, n), zeros(T, n), zeros(T, n), zeros(T, n, shifts))
end

"The arrays of coefficients, in the order in which a vector has them."
arrays(k::Coefficients) = (k.M, k.a, k.b, k.c, k.shifts)

function clear!(k::Coefficients{T}) where {T}
    foreach(array -> fill!(array, zero(T)), arrays(k))
    return k
end

"""
    Lowering(structure)

The linear map from a model's parameters to `Coefficients`, its transpose, and the drive.

With gain g = ε (α for the `:ji` forms) and decay α (1 for `:ji_code`),
a = g∘A, b = g∘B + ψ∘P, c = decay∘C with 0/1 vectors A, B, P, C; with an operating point o,
b = g∘B − a∘φ(o).
"""
struct Lowering
    structure::Structure
    gain_to_a::Vector{Bool}
    gain_to_b::Vector{Bool}
    psi_to_b::Vector{Bool}
    decay_to_c::Vector{Bool}
    clamped::Vector{Bool}
    mapped::Vector{Bool}
    u_inside::Bool
    u_outside::Bool
end

function Lowering(structure::Structure)
    model, drug = structure.model, structure.is_drug
    none = falses(length(drug))
    outside_form = model.form in (1, 2)
    clamped = model.drugs == :clamped ? drug : none
    # A drug node whose dose is mapped leaves the envelope: it receives the dose directly.
    mapped = model.dose_saturation === nothing ? none : drug
    receives = .!clamped .& (outside_form .| mapped)
    # With an operating point v is 1 of all other nodes.
    return Lowering(
        structure,
        .!clamped .& .!(mapped .& !outside_form),
        receives .& (model.form != 2),
        receives .& (model.form == 2),
        .!clamped,
        clamped,
        mapped,
        !outside_form,
        outside_form || any(mapped) || model.operating_point,
    )
end

"One parameter out of a `NamedTuple` or a dictionary with symbols or strings as keys."
parameter(parameters::NamedTuple, name::Symbol) = getproperty(parameters, name)
function parameter(parameters::AbstractDict, name::Symbol)
    return haskey(parameters, name) ? parameters[name] : parameters[String(name)]
end

"Raise `ModelError` unless all parameters are there and have their shapes."
function check_parameters(structure::Structure, parameters)
    n = nodes(structure)
    names = parameter_names(structure.model)
    there = Symbol.(keys(parameters))
    missing_ = [name for name in names if !(name in there)]
    if !isempty(missing_)
        throw(
            ModelError(
                "parameters lack $(join(missing_, ", ")); form $(repr(structure.model.form)) " *
                "needs $(join(names, ", ")).",
            ),
        )
    end
    for name in names
        want = name == :W ? (n, n) : (n,)
        got = size(parameter(parameters, name))
        got == want || throw(ModelError("parameter $name has shape $got; it needs $want."))
    end
    return parameters
end

"""
    zero_parameters(T, structure)

A `NamedTuple` of zeros in the shape of the parameters: `W` (n × n, [target, source]), the rates of
the model's form (n), and its [`shifts`](@ref) (n).
"""
function zero_parameters(::Type{T}, structure::Structure) where {T}
    n = nodes(structure)
    names = parameter_names(structure.model)
    return NamedTuple{names}(
        map(name -> name == :W ? zeros(T, n, n) : zeros(T, n), names)
    )
end

"""
    flatten(structure, parameters)
    unflatten(structure, vector)

Parameters as one vector, W column after column and then the others, and views of such a vector
as a `NamedTuple` of parameters.
"""
function flatten(structure::Structure, parameters)
    check_parameters(structure, parameters)
    names = parameter_names(structure.model)
    return reduce(vcat, [vec(collect(parameter(parameters, name))) for name in names])
end

function unflatten(structure::Structure, vector::AbstractVector)
    n, names = nodes(structure), parameter_names(structure.model)[2:end]
    want = n * n + n * length(names)
    length(vector) == want || throw(
        ModelError("the parameter vector has $(length(vector)) entries; it needs $want.")
    )
    W = reshape(view(vector, 1:(n * n)), n, n)
    rows(q) = view(vector, (n * (n + q - 1) + 1):(n * (n + q)))
    return NamedTuple{(:W, names...)}((W, map(rows, ntuple(identity, length(names)))...))
end

"""
    coefficients!(k, lowering, parameters)

Write the coefficients of effective parameters into `k`.
"""
function coefficients!(k::Coefficients, lowering::Lowering, parameters)
    model = lowering.structure.model
    alpha = parameter(parameters, :alpha)
    gain = model.form isa Symbol ? alpha : parameter(parameters, :epsilon)
    psi = model.form == 2 ? parameter(parameters, :psi) : alpha
    _coefficients!(k, lowering, model, parameter(parameters, :W), alpha, gain, psi)
    # By their names, which are then known to the compiler.
    at, drug, last_ = k.shifts, lowering.structure.is_drug, length(k.shifts) - length(k.a)
    model.operating_point && _of_others!(at, 0, drug, parameter(parameters, :b), 0)
    model.common_effect && _of_others!(at, last_, drug, parameter(parameters, :common), 0)
    model.operating_point && _offset!(k, envelope(model))
    return k
end

"Copy what is behind `from_at` behind `to_at`, with 0 for drugs."
function _of_others!(to, to_at, is_drug, from, from_at)
    for i in eachindex(is_drug)
        to[to_at + i] = is_drug[i] ? 0 : from[from_at + i]
    end
    return to
end

function _offset!(k::Coefficients, φ)
    for i in eachindex(k.a)
        k.b[i] -= k.a[i] * value(φ, k.shifts[i, 1])
    end
    return k
end

# A function of its own, compiled for the arrays that were given.
function _coefficients!(k::Coefficients{T}, lowering, model, W, alpha, gain, psi) where {T}
    copyto!(k.M, W)
    n = length(k.a)
    if model.degree == 2
        for i in 1:n
            total = zero(T)
            for j in 1:n
                total += W[i, j]
            end
            k.M[i, i] += total
        end
    end
    for i in 1:n
        k.a[i] = gain[i] * lowering.gain_to_a[i]
        k.b[i] = gain[i] * lowering.gain_to_b[i] + psi[i] * lowering.psi_to_b[i]
        decay = model.form == :ji_code ? one(T) : T(alpha[i])
        k.c[i] = decay * lowering.decay_to_c[i]
    end
    return k
end

"""
    pull_back!(gradient, lowering, k, network)

Write the gradient with respect to the parameters, from that to the coefficients `k`, into the
arrays of `gradient`; W's is zero where the mask is false. `network` has the coefficients themselves.
"""
function pull_back!(gradient, lowering::Lowering, k::Coefficients, network)
    model = lowering.structure.model
    _pull_back_W!(parameter(gradient, :W), k.M, lowering.structure.mask, model.degree)
    alpha = parameter(gradient, :alpha)
    decays, gains_alpha = model.form != :ji_code, model.form isa Symbol
    for i in eachindex(k.a)
        gain = k.a[i] * lowering.gain_to_a[i] + k.b[i] * lowering.gain_to_b[i]
        alpha[i] = k.c[i] * (decays & lowering.decay_to_c[i]) + gain * gains_alpha
        gains_alpha || (parameter(gradient, :epsilon)[i] = gain)
        model.form == 2 && (parameter(gradient, :psi)[i] = k.b[i] * lowering.psi_to_b[i])
    end
    of, drug, last_ = k.shifts, lowering.structure.is_drug, length(k.shifts) - length(k.a)
    model.common_effect && _of_others!(parameter(gradient, :common), 0, drug, of, last_)
    model.operating_point || return gradient
    b = _of_others!(parameter(gradient, :b), 0, drug, of, 0)
    _pull_back_offset!(
        parameter(gradient, :epsilon), b, lowering, k, network.coefficients, network.envelope
    )
    return gradient
end

function _pull_back_offset!(dε, db, lowering, k::Coefficients, at::Coefficients, φ)
    for i in eachindex(k.b)
        lowering.gain_to_a[i] || continue
        point = at.shifts[i, 1]
        output = value(φ, point)
        dε[i] -= k.b[i] * output
        lowering.structure.is_drug[i] || (db[i] -= k.b[i] * at.a[i] * slope(φ, point, output))
    end
    return nothing
end

function _pull_back_W!(dW, dM::Matrix{T}, mask, degree) where {T}
    n = size(dM, 1)
    for j in 1:n, i in 1:n
        slope = degree == 2 ? dM[i, j] + dM[i, i] : dM[i, j]
        dW[i, j] = mask[i, j] ? slope : zero(T)
    end
    return dW
end

"d(u) = tanh(κu)/κ, or u itself where the model maps no dose or maps it linearly."
function map_dose(model::Model, u::T) where {T}
    κ = model.dose_saturation
    return (κ === nothing || κ == 0) ? u : fast_tanh(T(κ) * u) / T(κ)
end

"""
    drive!(inside, outside, initial, reach, lowering, u, columns)

Write p, v and x₀ of the given columns of the perturbation `u` (n × conditions) one after the
other into vectors; `inside` or `outside` is `nothing` where the form has none. What the shifts add to
p is not in it: how much of each, 0 or 1, goes to `reach` (shifts × conditions), for [`lay!`](@ref).
"""
function drive!(inside, outside, initial, reach, lowering::Lowering, u::AbstractMatrix, columns)
    model = lowering.structure.model
    sign = model.form isa Symbol ? -1 : 1
    n = size(u, 1)
    for (q, column) in enumerate(columns), i in 1:n
        e = (q - 1) * n + i
        value = convert(eltype(initial), u[i, column])
        mapped, clamped = lowering.mapped[i], lowering.clamped[i]
        dose = mapped ? map_dose(model, value) : value
        initial[e] = clamped ? dose : zero(value)
        inside === nothing || (inside[e] = mapped ? zero(value) : sign * value)
        if outside !== nothing
            other = model.operating_point ? one(value) : zero(value)
            outside[e] = lowering.u_inside ? (mapped ? sign * dose : other) : dose
        end
    end
    isempty(reach) && return nothing
    for (q, column) in enumerate(columns)
        model.operating_point && (reach[1, q] = 1)
        model.common_effect && (reach[end, q] = any(!iszero, view(u, :, column)))
    end
    return nothing
end

"Write p with the shifts to `inside`, from that without them, of so many conditions."
function lay!(inside, bare, shifts::AbstractMatrix, reach::AbstractMatrix, columns::Int)
    n = size(shifts, 1)
    isempty(reach) && return nothing
    inside === bare || copyto!(inside, 1, bare, 1, n * columns)
    for q in 1:columns, k in axes(shifts, 2), i in 1:n
        inside[(q - 1) * n + i] += shifts[i, k] * reach[k, q]
    end
    return nothing
end

"Add to the gradient with respect to the shifts what that to p, of so many conditions, has of them."
function add_shifts!(of_shifts, inside, reach, columns::Int)
    n = size(of_shifts, 1)
    for q in 1:columns, k in axes(of_shifts, 2), i in 1:n
        of_shifts[i, k] += reach[k, q] * inside[(q - 1) * n + i]
    end
    return nothing
end
