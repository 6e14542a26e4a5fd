# Random problems, and the equations written down a second time as in the papers.

const KINDS = [:protein, :protein, :protein, :protein, :phenotype, :drug, :drug]
const ENVELOPE_OPTIONS = [
    (envelope=:tanh,),
    (envelope=:polynomial, order=2),
    (envelope=:polynomial, order=3),
    (envelope=:hill, order=2),
    (envelope=:hill, order=5),
    (envelope=:linear,),
    (envelope=:clip,),
    (envelope=:sigmoid,),
]

const SHIFTS = [
    (operating_point=true, common_effect=true), (operating_point=true,), (common_effect=true,)
]

"Every model of the family, without regard to the envelope."
function variants(; options...)
    plain = [
        CB.Model(; form=form, degree=degree, drugs=drugs, dose_saturation=κ, options...) for
        form in CB.FORMS for degree in (1, 2) for drugs in (:input, :clamped) for
        κ in (nothing, 0, 0.5)
    ]
    # Each of the shifts with drugs of both kinds, seen in both ways.
    shifted = [
        CB.Model(; drugs=drugs, degree=1 + (κ === nothing), dose_saturation=κ, shift..., options...)
        for shift in SHIFTS for (drugs, κ) in ((:input, nothing), (:clamped, 0.5))
    ]
    return [plain; shifted]
end

function random_parameters(rng, T, structure)
    n = CB.nodes(structure)
    interactions() = T(0.4) .* randn(rng, T, n, n) .* structure.mask
    function draw(name)
        name == :W && return interactions()
        name in CB.shifts(structure.model) && return randn(rng, T, n) .* .!structure.is_drug
        return 1 .+ rand(rng, T, n)
    end
    names = CB.parameter_names(structure.model)
    return NamedTuple{names}(map(draw, names))
end

"A problem with some entries not measured."
function random_problem(
    model; kinds=KINDS, conditions=5, times=[2.0], T=Float64, seed=1
)
    rng = MersenneTwister(seed)
    structure = CB.Structure(model, kinds)
    n, t = length(kinds), length(times)
    weight = (0.5 .+ rand(rng, T, n, t, conditions)) .* (rand(rng, n, t, conditions) .> 0.3)
    parameters, u = random_parameters(rng, T, structure), randn(rng, T, n, conditions)
    # Where nothing is given there is no common effect.
    model.common_effect && (u[:, 2] .= 0)
    return (
        structure=structure,
        parameters=parameters,
        perturbation=u,
        response=randn(rng, T, n, t, conditions),
        weight=weight,
        times=times,
    )
end

function session(problem; options...)
    return CB.Session(
        problem.structure, problem.perturbation, problem.response, problem.weight,
        problem.times; options...,
    )
end

"φ by its definition."
function plain_envelope(model, x)
    k = model.order
    model.envelope == :tanh && return tanh(x)
    model.envelope == :polynomial && return sign(x) * abs(x)^k / (1 + abs(x)^k)
    model.envelope == :hill && return 2 * (1 - 1 / (1 + max(x + 1, 0)^k)) - 1
    model.envelope == :linear && return x
    model.envelope == :clip && return clamp(x, -1, 1)
    return 1 / (1 + exp(-x))
end

plain_dose(model, u) =
    model.dose_saturation in (nothing, 0) ? u :
    tanh(model.dose_saturation * u) / model.dose_saturation

"dx/dt of one condition by the equations of the papers, node by node."
function plain_rhs(structure, parameters, u, x)
    model, drug = structure.model, structure.is_drug
    W, α = parameters.W, parameters.alpha
    Wx = W * x
    model.degree == 2 && (Wx .+= vec(sum(W; dims=2)) .* x)
    φ(z) = plain_envelope(model, z)
    mapped = drug .& (model.dose_saturation !== nothing)
    dose = [mapped[i] ? plain_dose(model, u[i]) : u[i] for i in eachindex(u)]
    return map(eachindex(x)) do i
        drug[i] && model.drugs == :clamped && return zero(x[i])
        if model.form == 0
            ε = parameters.epsilon[i]
            b = model.operating_point ? parameters.b[i] : zero(ε)
            common = model.common_effect && any(!iszero, u) ? parameters.common[i] : zero(ε)
            at_point = model.operating_point ? φ(b) : zero(ε)
            inside() = φ(Wx[i] + u[i] + b + common) - at_point
            return ε * (mapped[i] ? dose[i] : inside()) - α[i] * x[i]
        elseif model.form == 1
            return parameters.epsilon[i] * (φ(Wx[i]) + dose[i]) - α[i] * x[i]
        elseif model.form == 2
            return parameters.epsilon[i] * φ(Wx[i]) + parameters.psi[i] * dose[i] - α[i] * x[i]
        end
        input = mapped[i] ? -dose[i] : φ(Wx[i] - u[i])
        return α[i] * input - (model.form == :ji ? α[i] : 1) * x[i]
    end
end

"Largest difference, relative to the largest entry of `b`."
relative(a, b) = maximum(abs.(a .- b)) / max(maximum(abs.(b)), floatmin(eltype(b)))
