# Declarations: which equation, which edges. They hold no data and compute nothing.

const FORMS = (0, 1, 2, :ji, :ji_code)

"""
    Model(; envelope=:tanh, form=0, degree=1, order=nothing, drugs=:input, dose_saturation=0.25,
          operating_point=false, common_effect=false)

An interpretable ODE network, dx/dt = ε∘φ(Wx + u) − α∘x with x(0) = 0.

- `envelope`: the saturating function φ, one of `:tanh`, `:polynomial`, `:hill`, `:linear`,
  `:clip`, `:sigmoid`. With k the `order`, polynomial is sign(x)·|x|ᵏ/(1+|x|ᵏ); hill is
  2(1−1/(1+max(x+1,0)ᵏ))−1; clip limits to [−1, 1]; sigmoid is 1/(1+e⁻ˣ).
- `form`: where the perturbation u enters.
  `0`: ε∘φ(Wx+u) − α∘x; `1`: ε∘(φ(Wx)+u) − α∘x; `2`: ε∘φ(Wx) + ψ∘u − α∘x;
  `:ji`: α∘(φ(Wx−u) − x); `:ji_code`: α∘φ(Wx−u) − x.
- `degree`: 1, or 2, which adds rowsum(W)∘x to Wx.
- `order`: k ≥ 2 of the polynomial and hill envelopes; 2 by default.
- `drugs`: `:input`, drug nodes obey the equation, or `:clamped`, they are held at their
  perturbation.
- `dose_saturation`: κ ≥ 0 of the dose mapping tanh(κu)/κ through which drug nodes see their
  dose (0: the dose itself), in 1/(unit of u), or `nothing` for the published equation.
- `operating_point`: whether nodes have a resting input b of their own, ε∘(φ(Wx+u+b) − φ(b)) − α∘x.
- `common_effect`: whether `common` is added to Wx + u in conditions where u is not 0. Both are for
  form 0 alone, and drug nodes have none.

Names may be strings, and `"ji-code"` is `:ji_code`. All quantities are dimensionless
log-ratios; time is in the unit of the data.

Sources: Yuan et al., Cell Systems 12:128 (2021) for forms 0 to 2, degrees and envelopes;
Ji et al., arXiv 2104.06467, for `:ji` (the paper) and `:ji_code` (its code).
"""
struct Model
    envelope::Symbol
    form::Union{Int,Symbol}
    degree::Int
    order::Union{Nothing,Int}
    drugs::Symbol
    dose_saturation::Union{Nothing,Float64}
    operating_point::Bool
    common_effect::Bool

    function Model(;
        envelope=:tanh, form=0, degree=1, order=nothing, drugs=:input, dose_saturation=0.25,
        operating_point=false, common_effect=false,
    )
        envelope = one_of("envelope", _symbol(envelope), ENVELOPES)
        form = one_of("form", _symbol(form), FORMS)
        degree = one_of("degree", _symbol(degree), (1, 2))
        drugs = one_of("drugs", _symbol(drugs), (:input, :clamped))
        order = _settle_order(envelope, order)
        κ = dose_saturation
        if κ !== nothing && !(κ isa Real && !(κ isa Bool) && 0 <= κ < Inf)
            throw(
                ModelError(
                    "dose_saturation is $(repr(κ)); it needs nothing or a finite number ≥ 0 " *
                    "(0 passes the dose linearly).",
                ),
            )
        end
        if (operating_point || common_effect) && form != 0
            throw(
                ModelError(
                    "operating points and common effects are inputs inside φ, beside u, which is " *
                    "there in form 0 alone; this is form $(repr(form)).",
                ),
            )
        end
        return new(envelope, form, degree, order, drugs, κ, operating_point, common_effect)
    end
end

# true == 1 would pass for form 1.
_symbol(name::Bool) = Symbol(name)
_symbol(name::Symbol) = name
_symbol(name::AbstractString) = Symbol(replace(name, '-' => '_'))
_symbol(name) = name

function _settle_order(envelope, order)
    if !(envelope in (:polynomial, :hill))
        order === nothing && return nothing
        throw(
            ModelError(
                "order=$(repr(order)) has no meaning for the $envelope envelope; " *
                "leave it out or choose one of polynomial, hill.",
            ),
        )
    end
    order === nothing && return 2
    if !(order isa Integer) || order isa Bool || order < 2
        throw(
            ModelError("order=$(repr(order)); the $envelope envelope needs an integer k ≥ 2.")
        )
    end
    return Int(order)
end

"Names of the positive per-node parameters of a model's form, in storage order."
function rates(model::Model)
    model.form isa Symbol && return (:alpha,)
    return model.form == 2 ? (:alpha, :epsilon, :psi) : (:alpha, :epsilon)
end

"Names of the per-node parameters of any sign that are added to Wx + u, in storage order."
function shifts(model::Model)
    model.operating_point && return model.common_effect ? (:b, :common) : (:b,)
    return model.common_effect ? (:common,) : ()
end

"Names of all parameters of a model, in storage order."
parameter_names(model::Model) = (:W, rates(model)..., shifts(model)...)

"""
    Structure(model, is_drug, mask)
    Structure(model, node_kind; self_interaction=false, drugs_on_phenotypes=false, mask=nothing)

A model laid over n nodes.

- `is_drug`: n times true or false.
- `mask`: n × n, `mask[target, source]` true where W may differ from zero. In the second form
  it only removes edges from the [`structural_mask`](@ref) of the node kinds, each of which is
  protein, phenotype or drug.

Raises `ModelError` where sizes do not fit or drugs are to be clamped and there are none.
"""
struct Structure
    model::Model
    is_drug::Vector{Bool}
    mask::Matrix{Bool}

    function Structure(model::Model, is_drug::AbstractVector{Bool}, mask::AbstractMatrix)
        n = length(is_drug)
        size(mask) == (n, n) ||
            throw(ModelError("mask has shape $(size(mask)); there are $n nodes."))
        if model.drugs == :clamped && !any(is_drug)
            throw(
                ModelError(
                    "drugs=:clamped holds drug nodes at their perturbation, but no node is a " *
                    "drug; name one, or use drugs=:input.",
                ),
            )
        end
        return new(model, collect(is_drug), convert(Matrix{Bool}, mask))
    end
end

function Structure(
    model::Model, node_kind::AbstractVector; mask=nothing, options...
)
    kinds = Symbol.(node_kind)
    allowed = structural_mask(kinds; options...)
    if mask !== nothing
        size(mask) == size(allowed) || throw(
            ModelError("mask has shape $(size(mask)); there are $(length(kinds)) nodes.")
        )
        allowed .&= mask
    end
    return Structure(model, kinds .== :drug, allowed)
end

"Number of nodes, drugs and phenotypes included."
nodes(structure::Structure) = length(structure.is_drug)

"""
    structural_mask(node_kind; self_interaction=false, drugs_on_phenotypes=false)

`mask[target, source]`: no self-interaction and no drug → phenotype edge (unless asked for), nothing
into drugs, nothing out of phenotypes.
"""
function structural_mask(
    node_kind::AbstractVector; self_interaction::Bool=false, drugs_on_phenotypes::Bool=false
)
    kinds = Symbol.(node_kind)
    for kind in kinds
        one_of("node_kind", kind, (:protein, :phenotype, :drug))
    end
    may(target, source) =
        (self_interaction || target != source) &&
        kinds[target] != :drug &&
        kinds[source] != :phenotype &&
        (drugs_on_phenotypes || !(kinds[target] == :phenotype && kinds[source] == :drug))
    return [may(i, j) for i in eachindex(kinds), j in eachindex(kinds)]
end
