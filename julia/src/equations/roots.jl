# Steady states of a generated equation in one condition: Newton's method with its Jacobian J, where they
# are where a trajectory goes, and linear systems. As in pycellbox/numerics/steady_field.py, which says
# why: with P the projection on what the equation conserves, the matrix of all of it is S = ρP − J.
#
# Matrices are kept by rows: column i is row i.

using LinearAlgebra: eigvals!, opnorm, pinv, svd

const ROOT_STEPS, SAME_SLOPE = 25, 0.05
# Of the largest entry: what Re λ of a decaying mode is beyond rounding.
const DECAYS = 1e-12
# Singular values of rows of length 1 that are none but for rounding.
const CONSERVED = 1e-12

"""
    solve_rows!(A, B, count)

Solve AX = B in `B`, whose rows of `count` entries lie one after the other, by elimination in `A`;
whether there was a solution.
"""
function solve_rows!(A::Matrix{T}, B::Vector{T}, count::Int) where {T}
    n = size(A, 2)
    @inbounds for k in 1:n
        pivot = k
        for i in (k + 1):n
            abs(A[k, i]) > abs(A[k, pivot]) && (pivot = i)
        end
        isfinite(A[k, pivot]) && !iszero(A[k, pivot]) || return false
        if pivot != k
            for l in k:n
                A[l, k], A[l, pivot] = A[l, pivot], A[l, k]
            end
            for e in 1:count
                one_, other = (k - 1) * count + e, (pivot - 1) * count + e
                B[one_], B[other] = B[other], B[one_]
            end
        end
        for i in (k + 1):n
            factor = A[k, i] / A[k, k]
            iszero(factor) && continue
            @simd ivdep for l in (k + 1):n
                A[l, i] = muladd(-factor, A[l, k], A[l, i])
            end
            subtract_row!(B, factor, k, i, count)
        end
    end
    @inbounds for i in n:-1:1
        for l in (i + 1):n
            subtract_row!(B, A[l, i], l, i, count)
        end
        for e in ((i - 1) * count + 1):(i * count)
            B[e] /= A[i, i]
        end
    end
    return true
end

"Take `factor` times row `k` from row `i`."
@inline function subtract_row!(B::Vector{T}, factor::T, k::Int, i::Int, count::Int) where {T}
    from, to = (k - 1) * count, (i - 1) * count
    @inbounds @simd ivdep for e in 1:count
        B[to + e] = muladd(-factor, B[from + e], B[to + e])
    end
    return nothing
end

"What one thread needs to find the steady state of a condition."
struct RootFinder{T}
    x::Vector{T}
    change::Vector{T}
    unit::Vector{T}
    J::Matrix{T}
    here::Matrix{T}
    system::Matrix{T}
end

function RootFinder{T}(n::Int) where {T}
    return RootFinder(ntuple(_ -> zeros(T, n), 3)..., ntuple(_ -> zeros(T, n, n), 3)...)
end

function unit!(unit::Vector, n, i)
    for e in 1:n
        unit[e] = e == i
    end
    return nothing
end

"Whether state `i` of condition `j` stays where it is, in a segment."
stays(run::EquationRun, i, j, s) = !isempty(run.moves) &&
    run.moves[((s - 1) * run.columns + j - 1) * length(run.equation.states) + i] == 0

"Write the Jacobian of condition `j` at the states behind `at` of `x`, to `J`."
function jacobian!(J::Matrix{T}, find::RootFinder{T}, run, x::Array{T}, at::Int, j::Int, q::Int) where {T}
    n, no = size(J, 1), Ptr{T}(0)
    for i in 1:n
        unit!(find.unit, n, i)
        call!(
            run.equation.transposed, j, j, shifted(x, at, j, n), inputs_in(run, 1), pointer(run.p),
            shifted(find.unit, 0, j, n), shifted(J, (i - 1) * n, j, n), no, no, pointer(run.rooms[q]),
        )
        stays(run, i, j, 1) && fill!(view(J, :, i), zero(T))
    end
    return J
end

"Write S of ρP and J, or, with `transposed`, its transpose."
function system!(S::Matrix{T}, projection::Matrix{T}, J::Matrix{T}, transposed::Bool=false) where {T}
    @inbounds for i in axes(S, 2), l in axes(S, 1)
        S[l, i] = projection[l, i] - (transposed ? J[i, l] : J[l, i])
    end
    return S
end

"Write the step of Newton's method from `find.x` to `find.change`; its largest entry, NaN without one."
function change!(find::RootFinder{T}, run, projection::Matrix{T}, j::Int, q::Int) where {T}
    n, no = length(find.x), Ptr{T}(0)
    system!(find.system, projection, jacobian!(find.J, find, run, find.x, 0, j, q))
    call!(
        run.equation.value, j, j, shifted(find.x, 0, j, n), inputs_in(run, 1), pointer(run.p), no,
        shifted(find.change, 0, j, n), no, no, pointer(run.rooms[q]),
    )
    for i in 1:n
        stays(run, i, j, 1) && (find.change[i] = zero(T))
    end
    solve_rows!(find.system, find.change, 1) || fill!(find.change, T(NaN))
    return largest(find.change)
end

"The largest magnitude, NaN where there is one."
function largest(x::AbstractArray{T}) where {T}
    found = zero(T)
    for value in x
        # Not `max`, which takes a loop of single numbers longer.
        (abs(value) > found || isnan(value)) && (found = abs(value))
    end
    return found
end

"Go on from `find.x` to a root; the last change, and what of it counts as none near states of a `size`."
function root!(find::RootFinder{T}, run, projection, tol, size, j::Int, q::Int) where {T}
    residual = tolerance = T(NaN)
    for _ in 1:ROOT_STEPS
        check_interrupt()
        residual = change!(find, run, projection, j, q)
        find.x .+= find.change
        tolerance = tol * max(largest(find.x), size) + floatmin(T)
        (residual <= tolerance || isnan(residual)) && break
    end
    return residual, tolerance
end

"Whether the trajectory through the states behind `at` of `from` goes to the root in `find.x`."
function goes_there!(find::RootFinder{T}, run, projection, from::Array{T}, at, j::Int, q::Int) where {T}
    there = jacobian!(find.J, find, run, find.x, 0, j, q)
    here = jacobian!(find.here, find, run, from, at, j, q)
    for i in axes(there, 2)
        apart = size_ = zero(T)
        for l in axes(there, 1)
            apart, size_ = max(apart, abs(here[l, i] - there[l, i])), max(size_, abs(there[l, i]))
        end
        (isfinite(size_) && apart <= T(SAME_SLOPE) * size_) || return false
    end
    system = find.system
    system .= there .- projection
    size_ = largest(system)
    return maximum(real, eigvals!(system)) < -T(DECAYS) * size_
end

"""
Write ρP of an equation of so many `nodes` from two Jacobians to `projection`; whether anything is
conserved.
"""
function conserved!(projection::Matrix{T}, one_::Matrix{T}, other::Matrix{T}, nodes::Int) where {T}
    slopes = [one_; other]  # one column for each state
    for row in axes(slopes, 1)
        # What has no derivative says nothing.
        all(isfinite, view(slopes, row, :)) || fill!(view(slopes, row, :), zero(T))
    end
    rates = [largest(view(slopes, :, i)) for i in axes(slopes, 2)]
    scale = [rate > 0 ? rate : one(T) for rate in rates]
    fill!(projection, zero(T))
    found = svd(slopes ./ transpose(scale))
    w = found.V[:, found.S .<= CONSERVED * nodes] ./ scale
    isempty(w) && return false
    rate = maximum(rates)
    projection .= (rate > 0 ? rate : one(T)) .* (w * pinv(w))
    return true
end
