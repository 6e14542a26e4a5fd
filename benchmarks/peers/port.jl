# The way of the Julia port of Ji et al. (arXiv 2104.06467): a condition at a time, Zygote through
# `solve`, InterpolatingAdjoint with its default products, all parameters in one matrix. Written
# anew from the paper's description; the equation is that of the other contenders,
# ε∘tanh(Wx + u) − α∘x, so that the gradients can be compared.
module Port

using OrdinaryDiffEqTsit5, SciMLSensitivity, Zygote

function slope!(dx, x, p, t, u)
    W = view(p, :, 3:size(p, 2))
    dx .= view(p, :, 1) .* tanh.(W * x .+ u) .- view(p, :, 2) .* x
    return nothing
end

# Everything a call needs, in Julia's own arrays: conditions are columns.
struct Held{T}
    p::Matrix{T}
    u::Matrix{T}
    y::Matrix{T}
    horizon::T
    rtol::T
    atol::T
end

function held(W, alpha, epsilon, u, y, horizon, rtol, atol)
    T = eltype(W)
    p = hcat(Vector{T}(epsilon), Vector{T}(alpha), Matrix{T}(W))
    return Held{T}(
        p, Matrix{T}(transpose(u)), Matrix{T}(transpose(y)), T(horizon), T(rtol), T(atol)
    )
end

# The problem of one condition, and its state at the horizon as a function of the parameters.
function condition(h::Held{T}, j) where {T}
    u = h.u[:, j]
    f!(dx, x, p, t) = slope!(dx, x, p, t, u)
    problem = ODEProblem(f!, zeros(T, length(u)), (zero(T), h.horizon), h.p)
    return p -> vec(
        Array(
            solve(
                remake(problem; p=p), Tsit5(); saveat=[h.horizon], save_start=false,
                reltol=h.rtol, abstol=h.atol, sensealg=InterpolatingAdjoint(),
            ),
        ),
    )
end

function gradient(h::Held)
    total, sum_of = 0.0, zero(h.p)
    for j in axes(h.u, 2)
        y, state = h.y[:, j], condition(h, j)
        value, back = Zygote.pullback(p -> sum(abs2, state(p) .- y), h.p)
        total += value
        sum_of .+= back(one(value))[1]
    end
    sum_of ./= length(h.u)
    return total / length(h.u), sum_of[:, 3:end], sum_of[:, 2], sum_of[:, 1]
end

states(h::Held) = reduce(hcat, [condition(h, j)(h.p) for j in axes(h.u, 2)])

end
