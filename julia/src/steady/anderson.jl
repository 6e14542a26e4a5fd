# Fixed points by Anderson's acceleration (Walker and Ni, SIAM J. Numer. Anal. 49:1715, 2011), for
# a block of conditions together: the last few iterates are combined with one set of weights,
# chosen by least squares over the residuals of the whole block.

const MEMORY = 4

"Buffers for states of up to `size` numbers."
struct Anderson{T}
    image::Vector{T}
    image_last::Vector{T}
    f::Vector{T}
    f_last::Vector{T}
    df::Matrix{T}
    dg::Matrix{T}
    gram::Matrix{Float64}
    factor::Matrix{Float64}
    weights::Vector{Float64}
end

function Anderson{T}(size::Integer) where {T}
    block() = zeros(T, size)
    return Anderson(
        block(), block(), block(), block(), zeros(T, size, MEMORY), zeros(T, size, MEMORY),
        zeros(MEMORY, MEMORY), zeros(MEMORY, MEMORY), zeros(MEMORY),
    )
end

"""
    fixed_point!(x, step!, ws, n, columns, tolerance, residual, limit, correction=nothing)

Iterate x ← x + K(G(x) − x), where `step!(out, x)` writes G(x), until max |G(x) − x| over each of
the `columns` (of n entries, one after the other in `x`) is at most its `tolerance`, or `limit`
evaluations are made. The last of these maxima are left in `residual`. K, the packed `correction`,
makes this Newton's method with one matrix for all columns; it is given up where it leads astray.
Without it K is 1.
"""
function fixed_point!(
    x::Vector{T}, step!::F, ws::Anderson{T}, n::Int, columns::Int, tolerance, residual, limit::Int,
    correction::Union{Packed{T},Nothing}=nothing,
) where {T,F}
    m, kept, accelerating = n * columns, 0, false
    lowest = before = Inf
    image, image_last, f, f_last = ws.image, ws.image_last, ws.f, ws.f_last
    for k in 0:(limit - 1)
        check_interrupt()
        step!(image, x)
        worst, done = residual!(residual, f, image, x, n, columns, tolerance)
        (done || !isfinite(worst)) && return nothing
        # Far above the best the combination has gone astray: begin anew from here.
        if worst > 10 * lowest
            kept, accelerating, correction = 0, false, nothing
        end
        lowest = min(lowest, worst)
        if correction !== nothing
            product!(image, 0, correction, f, 0, columns)
            image, f = f, image
            add!(image, x, f, m)
        end
        if accelerating
            slot = kept % MEMORY + 1
            difference!(ws.df, slot, f, f_last, m)
            difference!(ws.dg, slot, image, image_last, m)
            kept += 1
            for q in 1:min(kept, MEMORY)
                ws.gram[q, slot] = ws.gram[slot, q] = dot_columns(ws.df, q, slot, m)
            end
        end
        # While the residual halves by itself, the plain iteration costs less.
        accelerating |= k >= 1 && worst > before / 2
        before = worst
        image, image_last, f, f_last = image_last, image, f_last, f
        copyto!(x, 1, image_last, 1, m)
        used = min(kept, MEMORY)
        used == 0 && continue
        combination!(ws, f_last, used, m)
        for q in 1:used
            subtract_column!(x, ws.dg, q, T(ws.weights[q]), m)
        end
    end
    return nothing
end

"f = image − x, its largest magnitude over all and over each column, and whether all are small."
function residual!(residual, f, image, x, n::Int, columns::Int, tolerance)
    worst, done = 0.0, true
    for j in 1:columns
        start = (j - 1) * n
        largest, total = zero(eltype(x)), zero(eltype(x))
        @inbounds @simd for i in 1:n
            d = image[start + i] - x[start + i]
            f[start + i] = d
            # `max` looks after NaN, which takes a loop of single numbers; the sum sees to it here.
            largest = ifelse(abs(d) > largest, abs(d), largest)
            total += d
        end
        residual[j] = isfinite(total) ? largest : oftype(largest, Inf)
        worst = max(worst, Float64(residual[j]))
        done &= residual[j] <= tolerance[j]
    end
    return worst, done
end

function difference!(out::Matrix, column::Int, a::Vector, b::Vector, m::Int)
    @inbounds @simd ivdep for e in 1:m
        out[e, column] = a[e] - b[e]
    end
    return nothing
end

function add!(out::Vector, a::Vector, b::Vector, m::Int)
    @inbounds @simd ivdep for e in 1:m
        out[e] = a[e] + b[e]
    end
    return nothing
end

function dot_columns(A::Matrix{T}, p::Int, q::Int, m::Int) where {T}
    total = zero(T)
    @inbounds @simd for e in 1:m
        total += A[e, p] * A[e, q]
    end
    return Float64(total)
end

function subtract_column!(x::Vector{T}, A::Matrix{T}, column::Int, weight::T, m::Int) where {T}
    @inbounds @simd ivdep for e in 1:m
        x[e] -= weight * A[e, column]
    end
    return nothing
end

"Least squares by the normal equations; nearly parallel differences count as one."
function combination!(ws::Anderson{T}, f::Vector{T}, used::Int, m::Int) where {T}
    L, w, gram = ws.factor, ws.weights, ws.gram
    tiny = floatmin(Float64)
    size(q) = sqrt(gram[q, q]) + tiny
    for q in 1:used
        total = zero(T)
        @inbounds @simd for e in 1:m
            total += ws.df[e, q] * f[e]
        end
        w[q] = total / size(q)
    end
    # Cholesky of the scaled Gram matrix, then two triangular solves.
    for q in 1:used, p in q:used
        entry = gram[p, q] / size(p) / size(q) + (p == q) * 100 * eps(T)
        for r in 1:(q - 1)
            entry -= L[p, r] * L[q, r]
        end
        L[p, q] = p == q ? sqrt(max(entry, eps(T))) : entry / L[q, q]
    end
    for p in 1:used
        for r in 1:(p - 1)
            w[p] -= L[p, r] * w[r]
        end
        w[p] /= L[p, p]
    end
    for p in used:-1:1
        for r in (p + 1):used
            w[p] -= L[r, p] * w[r]
        end
        w[p] /= L[p, p]
    end
    for q in 1:used
        w[q] /= size(q)
    end
    return nothing
end
