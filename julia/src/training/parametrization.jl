# Raw parameters, which an optimizer may move freely, and the effective ones that they stand for.

const Raw{T} = Dict{Symbol,Array{T}}

copy_raw(raw::Raw{T}) where {T} = Raw{T}(name => copy(array) for (name, array) in raw)

"""
    Parametrization(structure, ranges; shared)

Maps raw parameters, which an optimizer may move freely, to effective ones, and gradients back.

- `ranges`: response range of each node (n) where ε = range∘α is held, or `nothing`.
- `shared`: whether W[:, drug j] = b₀ + B_j, one column common to all drugs and a deviation each.

Raw values are `W` (n × n, [target, source]; with shared columns the deviations B_j), `b0` (n),
`alpha`, `epsilon`, `psi` (n) through softplus, and the shifts (n) as they are.
"""
struct Parametrization{T}
    structure::Structure
    ranges::Union{Nothing,Vector{T}}
    shared::Bool
    drug_mask::Matrix{Bool}
    raw_rates::Vector{Symbol}
end

function Parametrization{T}(structure::Structure, ranges; shared::Bool) where {T}
    drug_mask = structure.mask .& structure.is_drug'
    held = ranges === nothing ? nothing : convert(Vector{T}, ranges)
    raw_rates = [r for r in rates(structure.model) if !(r == :epsilon && held !== nothing)]
    return Parametrization{T}(structure, held, shared && any(drug_mask), drug_mask, raw_rates)
end

softplus(x) = max(x, zero(x)) + log1p(exp(-abs(x)))
logistic(x) = (1 + tanh(x / 2)) / 2

"Write the effective parameters of `raw` into the arrays of `parameters`."
function effective!(parameters, p::Parametrization, raw::Raw)
    W, mask = parameters.W, p.structure.mask
    if p.shared
        b0 = raw[:b0]
        @. W = ifelse(mask, raw[:W] + ifelse(p.drug_mask, b0, 0), 0)
    else
        @. W = ifelse(mask, raw[:W], 0)
    end
    for name in p.raw_rates
        getproperty(parameters, name) .= softplus.(raw[name])
    end
    for name in shifts(p.structure.model)
        copyto!(getproperty(parameters, name), raw[name])
    end
    p.ranges === nothing || (parameters.epsilon .= p.ranges .* parameters.alpha)
    return parameters
end

"Write the gradient with respect to the raw values into `slope`."
function pull_back_raw!(slope::Raw, p::Parametrization, raw::Raw, gradient)
    dW = gradient.W
    @. slope[:W] = ifelse(p.structure.mask, dW, 0)
    p.shared && sum!(slope[:b0], ifelse.(p.drug_mask, dW, 0))
    for name in p.raw_rates
        d = getproperty(gradient, name)
        if name == :alpha && p.ranges !== nothing
            d = d .+ p.ranges .* gradient.epsilon
        end
        slope[name] .= d .* logistic.(raw[name])
    end
    for name in shifts(p.structure.model)
        copyto!(slope[name], getproperty(gradient, name))
    end
    return slope
end
