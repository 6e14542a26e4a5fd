# The thin face for Python. Arrays arrive as addresses: a C-ordered (condition, node) array is a
# (node × condition) matrix here, without a copy. The caller keeps them alive.
#
# Everything else arrives as numbers, strings and tuples of them, which become Julia's own: the
# methods for these are compiled when the package is installed (precompile.jl), those for wrapped
# Python objects would be compiled at the first fit.

wrap(::Type{T}, address::Integer, dims...) where {T} =
    unsafe_wrap(Array, Ptr{T}(UInt(address)), map(Int, dims); own=false)

# W is (target, source) in C order: in memory its transpose.
wrap_W(::Type{T}, address, n) where {T} = transpose(wrap(T, address, n, n))

element_type(name) = String(name) == "float32" ? Float32 : Float64

"""
A structure from Python's plain values: `options` are envelope, form, degree, order, drugs, dose
saturation, operating point and common effect; `is_drug` (n) and `mask` (n × n, C order) bytes.
"""
function python_structure(@nospecialize(options), n, is_drug, mask)
    envelope, form, degree, order, drugs, κ, point, common = options
    model = Model(
        envelope=envelope, form=form, degree=degree, order=order, drugs=drugs, dose_saturation=κ,
        operating_point=point, common_effect=common,
    )
    drug = Vector{Bool}(wrap(UInt8, is_drug, n))
    allowed = Matrix{Bool}(transpose(wrap(UInt8, mask, n, n)))
    return Structure(model, drug, allowed)
end

python_loss(name, delta) = Loss(String(name); delta=delta)

"Times from their address and number."
python_times(times) = copy(wrap(Float64, times...))

function python_parameters(::Type{T}, structure::Structure, addresses) where {T}
    n = nodes(structure)
    names = parameter_names(structure.model)
    arrays = map(enumerate(names)) do (i, name)
        name == :W ? wrap_W(T, addresses[i], n) : wrap(T, addresses[i], n)
    end
    return NamedTuple{names}(Tuple(arrays))
end

"""
A treatment from Python's plain values, or the perturbation (c, n) itself where `starts` is `nothing`.

- `sizes`: conditions and segments; `starts`: address of when these begin.
- `addresses`: of perturbation (c, s, n), moves (bytes) or 0, initial (c, n), pretreatment (c, n) or 0,
  pretreated (bytes, c).
- `settle`: a [`SteadyState`](@ref), or `nothing` for the default.
"""
function python_treatment(dtype, structure, sizes, starts, addresses, settle)
    T = element_type(dtype)
    n = nodes(structure)
    c, s = Int.(sizes)
    u, moves, initial, pretreatment, pretreated = addresses
    return Treatment(
        structure, copy(wrap(Float64, starts, s)), wrap(T, u, n, s, c);
        moves=moves == 0 ? nothing : wrap(UInt8, moves, n, s, c) .!= 0,
        initial=wrap(T, initial, n, c),
        pretreatment=pretreatment == 0 ? nothing : wrap(T, pretreatment, n, c),
        pretreated=wrap(UInt8, pretreated, c) .!= 0,
        settle=settle === nothing ? SteadyState() : settle,
    )
end

"The perturbation (c, n) at an address, or the treatment in place of it."
python_inputs(::Type{T}, u::Integer, n, c) where {T} = wrap(T, u, n, c)
python_inputs(::Type{T}, treatment::Treatment, n, c) where {T} = treatment

"Conditions as Julia counts them, from `count` integers at `address`; -1 of them are all."
function rows_from(address, count)
    count < 0 && return nothing
    return wrap(Int64, address, count) .+ 1
end
