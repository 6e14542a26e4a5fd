# Arrays that come from elsewhere: NumPy's through PythonCall, views, reshaped parts of a vector.

"Whether an array lies in memory in Julia's order without gaps, so that its address says it all."
lies_dense(::DenseArray) = true
lies_dense(array::StridedArray) = has_dense_strides(array)
# Other packages' arrays that say where they lie.
function lies_dense(array::AbstractArray)
    applicable(strides, array) && applicable(pointer, array) || return false
    try
        return has_dense_strides(array)
    catch
        # Wrappers define `strides` and fail where what they wrap has none.
        return false
    end
end

function has_dense_strides(array::AbstractArray)
    step = 1
    for d in 1:ndims(array)
        # Along a dimension of length 1 nobody steps; NumPy leaves anything there.
        size(array, d) == 1 || stride(array, d) == step || return false
        step *= size(array, d)
    end
    return true
end

"`array` as an `Array{T,N}`: its own memory where it is dense and of that type, else a copy."
dense(::Type{T}, array::Array{T,N}) where {T,N} = array
function dense(::Type{T}, array::AbstractArray{S,N}) where {T,S,N}
    if S === T && isbitstype(T) && lies_dense(array)
        return unsafe_wrap(Array, pointer(array), size(array))
    end
    return convert(Array{T,N}, array)
end
