# How conditions are treated over time. Time is cut into segments, the same for all conditions, in
# each of which the perturbation is constant.

"""
    Treatment(structure, starts, perturbation; moves=nothing, initial=nothing,
              pretreatment=nothing, pretreated=nothing, settle=SteadyState())

How conditions are treated over time, in place of a constant perturbation (see
[`trajectory`](@ref), [`Session`](@ref)).

- `starts`: when each of the segments begins, increasing, the first one at 0 or before.
- `perturbation`: u in each segment, n × segments × conditions.
- `moves`: of the same shape, which nodes follow the equation; the others stay where they are.
- `initial`: the state where the integration starts, n × conditions; NaN for the model's own. A
  clamped drug with NaN jumps to its dose whenever a segment begins.
- `pretreatment`: u before the first segment, n × conditions, in whose steady state, found as
  `settle` says, the conditions begin that are `pretreated`.

Dense arrays are used where they lie. Raises `ModelError` for shapes that do not fit, `SolverError`
for `starts` that cannot be used.
"""
mutable struct Treatment{T,M<:Union{Nothing,Array{Bool,3}}}
    structure::Structure
    lowering::Lowering
    starts::Vector{Float64}
    perturbation::Array{T,3}
    moves::M
    initial::Matrix{T}
    # Clamped drugs that take the dose of each segment, if there are any.
    jumps::Union{Nothing,Matrix{Bool}}
    pretreatment::Union{Nothing,Matrix{T}}
    pretreated::Vector{Bool}
    settle::Any
    # Where the conditions of the evaluation at hand start; NaN for the model's own.
    start::Matrix{T}
    # Finds and differentiates the steady states of the pre-treatment; made when first needed.
    before::Any
    # Keeps alive the memory that the arrays above are views of.
    owners::Vector{Any}
end

function Treatment(
    structure::Structure, starts, perturbation::AbstractArray{T,3}; moves=nothing,
    initial=nothing, pretreatment=nothing, pretreated=nothing, settle=SteadyState(),
) where {T<:AbstractFloat}
    n, s, c = size(perturbation)
    starts = Float64.(vec(collect(starts)))
    sound = length(starts) == s >= 1 && all(isfinite, starts) && starts[1] <= 0
    sound && all(k -> starts[k] > starts[k - 1], 2:s) || throw(
        SolverError(
            "starts=$starts; it needs $s increasing numbers, the first of them 0 or less."
        ),
    )
    check_perturbation(structure, perturbation)
    for (name, array, shape) in (
        ("moves", moves, (n, s, c)), ("initial", initial, (n, c)),
        ("pretreatment", pretreatment, (n, c)), ("pretreated", pretreated, (c,)),
    )
        array === nothing || size(array) == shape || throw(
            ModelError("$name of a treatment has shape $(size(array)); it needs $shape.")
        )
    end
    lowering = Lowering(structure)
    first_ = initial === nothing ? fill(T(NaN), n, c) : dense(T, initial)
    jumps = lowering.clamped .& isnan.(first_)
    return Treatment(
        structure, lowering, starts, dense(T, perturbation),
        moves === nothing ? nothing : convert(Array{Bool,3}, moves), first_,
        any(jumps) ? Matrix{Bool}(jumps) : nothing,
        pretreatment === nothing ? nothing : dense(T, pretreatment),
        pretreated === nothing ? fill(pretreatment !== nothing, c) : Vector{Bool}(pretreated),
        settle, zeros(T, n, c), nothing, Any[perturbation, initial, pretreatment],
    )
end

"The treatment of the conditions `columns`, copied."
function conditions_of(treatment::Treatment, columns)
    of(array) = array === nothing ? nothing : array[:, columns]
    moves = treatment.moves
    part = Treatment(
        treatment.structure, treatment.starts, treatment.perturbation[:, :, columns];
        moves=moves === nothing ? nothing : moves[:, :, columns], initial=of(treatment.initial),
        pretreatment=of(treatment.pretreatment), pretreated=treatment.pretreated[columns],
        settle=treatment.settle,
    )
    part.jumps = of(treatment.jumps)
    return part
end
conditions_of(u::AbstractMatrix, columns) = u[:, columns]

Base.size(treatment::Treatment) = (size(treatment.perturbation, 1), size(treatment.perturbation, 3))
Base.size(treatment::Treatment, d::Integer) = size(treatment)[d]
Base.eltype(::Treatment{T}) where {T} = T

"Anything that says what is done to conditions: u, or how it changes."
const Inputs{T} = Union{AbstractMatrix{T},Treatment{T}}

held_where_it_lies(::Type{T}, u::AbstractMatrix) where {T} = dense(T, u)
held_where_it_lies(::Type{T}, treatment::Treatment{T}) where {T} = treatment

starts_of(::AbstractMatrix) = nothing
starts_of(treatment::Treatment) = treatment.starts
last_start(::AbstractMatrix) = 0.0
last_start(treatment::Treatment) = treatment.starts[end]

"u of a segment, n × conditions."
segment(treatment::Treatment, s) = view(treatment.perturbation, :, s, :)
segment(u::AbstractMatrix, s) = u
last_input(u::AbstractMatrix) = u
last_input(treatment::Treatment) = segment(treatment, length(treatment.starts))

"The segment that a block of conditions is in, and which of its entries move, as numbers 1 and 0."
mutable struct Course{R<:Treatment,F<:Union{Nothing,Vector}}
    treatment::R
    columns::Vector{Int}
    segment::Int
    moves::F
end

Course(::AbstractMatrix, size) = nothing
Course(::Nothing, size) = nothing
function Course(treatment::Treatment{T}, size) where {T}
    moves = treatment.moves === nothing ? nothing : ones(T, size)
    return Course(treatment, Int[], 0, moves)
end

"Whether some entries of a block may stay where they are."
masked(::Type) = false
masked(::Type{<:Course{<:Any,<:Vector}}) = true

moves_of(::Nothing) = nothing
moves_of(course::Course) = course.moves

"The state of a node where the integration starts; NaN for the model's own, as for drugs that jump."
function given_start(treatment::Treatment{T}, i, column) where {T}
    jumps = treatment.jumps
    return jumps !== nothing && jumps[i, column] ? T(NaN) : treatment.initial[i, column]
end

# A constant perturbation says nothing of it.
start!(state::AbstractArray, ::Nothing) = state

"Write the state of the conditions where the evaluation starts, of which the model's own stands there."
function start!(state::AbstractArray, course::Course)
    treatment = course.treatment
    n = size(treatment, 1)
    for (q, column) in enumerate(course.columns), i in 1:n
        given = treatment.start[i, column]
        isnan(given) || (state[(q - 1) * n + i] = given)
    end
    return state
end

"Write which entries move in the segment that the block is in."
write_moves!(::Nothing, course) = nothing
function write_moves!(moves::Vector{T}, course) where {T}
    all_ = course.treatment.moves
    n = size(all_, 1)
    for (q, column) in enumerate(course.columns), i in 1:n
        moves[(q - 1) * n + i] = T(all_[i, course.segment, column])
    end
    return moves
end

"Call f(entry) for every entry of the block that jumps when a segment begins."
each_jump(f::F, ::Nothing, course) where {F} = nothing
function each_jump(f::F, jumps::Matrix{Bool}, course) where {F}
    n = size(jumps, 1)
    for (q, column) in enumerate(course.columns), i in 1:n
        jumps[i, column] && f((q - 1) * n + i)
    end
    return nothing
end

"""
    TreatmentGradient(perturbation, initial_state, pretreatment)
    TreatmentGradient{T}(nodes, segments, conditions)

Where the derivatives with respect to a [`Treatment`](@ref) are written: to u of each segment, nodes ×
segments × conditions, to its initial state and its pre-treatment, nodes × conditions, the conditions
in the order of the rows that are asked for. With respect to an initial state that a pre-treatment
decides it is 0.
"""
struct TreatmentGradient{T}
    perturbation::Array{T,3}
    initial_state::Matrix{T}
    pretreatment::Matrix{T}
end

TreatmentGradient{T}(n::Integer, s::Integer, c::Integer) where {T} =
    TreatmentGradient(zeros(T, n, s, c), zeros(T, n, c), zeros(T, n, c))

function gradient_for(treatment::Treatment{T}, c) where {T}
    return TreatmentGradient{T}(size(treatment, 1), length(treatment.starts), c)
end

function take_share!(inputs::TreatmentGradient, positions, part, share)
    inputs.perturbation[:, :, positions] .= share .* part.perturbation
    inputs.initial_state[:, positions] .= share .* part.initial_state
    inputs.pretreatment[:, positions] .= share .* part.pretreatment
    return inputs
end

function clear!(inputs::TreatmentGradient{T}) where {T}
    foreach(a -> fill!(a, zero(T)), (inputs.perturbation, inputs.initial_state, inputs.pretreatment))
    return inputs
end

function check_inputs(inputs::TreatmentGradient, treatment::Treatment, c::Int)
    n, s, _ = size(treatment.perturbation)
    whole = size(inputs.perturbation) == (n, s, c)
    whole && size(inputs.initial_state) == size(inputs.pretreatment) == (n, c) && return clear!(inputs)
    return throw(
        ModelError(
            "the gradient of the treatment has shapes $(size(inputs.perturbation)), " *
            "$(size(inputs.initial_state)) and $(size(inputs.pretreatment)); it needs " *
            "(nodes, segments, conditions) = $((n, s, c)), and twice (nodes, conditions).",
        ),
    )
end
function check_inputs(inputs, source, c::Int)
    want = source isa Treatment ? "a TreatmentGradient" : "an InputGradient"
    return throw(ModelError("the gradient of the inputs is a $(typeof(inputs)); it needs $want."))
end
