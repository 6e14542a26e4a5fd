# The parts of limit.py in Julia: its BLAS, a loop of one's own for tiny matrices, and the tanh of
# PycellboxCore.jl.
module Limit

using PycellboxCore, LinearAlgebra

function best(f, seconds)
    f()
    once = @elapsed f()
    count = clamp(floor(Int, 1e-3 / max(once, 1e-9)), 1, 10_000)
    shortest, finish = once, time() + seconds
    while true
        total = @elapsed for _ in 1:count
            f()
        end
        shortest = min(shortest, total / count)
        time() > finish && return shortest
    end
end

# Down the columns, the order in which memory lies.
function loop!(C, A, B)
    fill!(C, 0)
    @inbounds for j in axes(B, 2), k in axes(A, 2)
        b = B[k, j]
        @simd ivdep for i in axes(A, 1)
            C[i, j] = muladd(A[i, k], b, C[i, j])
        end
    end
    return C
end

function measure(W, u, y, stages, small, seconds)
    T = eltype(W)
    # Conditions as columns, and as rows.
    W, x, g = Matrix{T}(W), Matrix{T}(transpose(u)), Matrix{T}(transpose(y))
    xt, gt, Wt = permutedims(x), permutedims(g), permutedims(W)
    state, state_t, square = similar(x), similar(xt), similar(W)
    long_x, long_g = repeat(x, 1, stages), repeat(g, 1, stages)
    found = Tuple{String,String,Float64}[]
    add(part, name, f, count=1) = push!(found, (part, name, best(f, seconds) / count))
    blas = "BLAS"
    add("forward", blas, () -> mul!(state, W, x))
    add("forward", blas, () -> mul!(state_t, xt, transpose(W)))
    add("states", blas, () -> mul!(state, transpose(W), g))
    add("states", blas, () -> mul!(state_t, gt, W))
    add("weights", blas, () -> mul!(square, g, transpose(x)))
    add("weights", blas, () -> mul!(square, transpose(gt), xt))
    add("weights", blas, () -> mul!(square, long_g, transpose(long_x)), stages)
    if small
        add("forward", "own loop", () -> loop!(state, W, x))
        add("forward", "own loop", () -> loop!(state_t, xt, Wt))
        add("states", "own loop", () -> loop!(state, Wt, g))
        add("states", "own loop", () -> loop!(state_t, gt, W))
        add("weights", "own loop", () -> loop!(square, g, xt))
    end
    add("tanh", "PycellboxCore", () -> PycellboxCore.tanh!(state, x))
    if Threads.nthreads() > 1
        add("tanh", "PycellboxCore, threads", () -> threaded!(state, x))
    end
    return found
end

function threaded!(out, x)
    parts = Iterators.partition(eachindex(x), cld(length(x), Threads.nthreads()))
    @sync for part in parts
        Threads.@spawn PycellboxCore.tanh!(view(out, part), view(x, part))
    end
    return out
end

end
