# Tsit5: the tableau, the passes that fixed steps do not have, and how long a step may be. The
# same step control as in the NumPy backend (pycellbox/backends/numpy/integrate.py), so that both
# take the same steps.

using LinearAlgebra: Symmetric, eigmax, mul!

"""
    Tsit5(; rtol=1e-3, atol=1e-6, max_steps=100_000)

Adaptive Runge-Kutta 5(4) of Tsitouras. All conditions share one step, and the error is held to
`atol + rtol·max(|x before|, |x after|)` in root mean square over all entries.

The step also stays inside the method's region of stability for every state the network can
reach. Error control alone does not see this: once a condition has settled, its error is nil at
any step, and the exact derivative of the steps then taken grows without bound although the
solution looks right.

Source: Ch. Tsitouras, Comput. Math. Appl. 62:770-775 (2011), table 1.
"""
struct Tsit5
    rtol::Float64
    atol::Float64
    max_steps::Int

    function Tsit5(rtol, atol, max_steps)
        for (name, value) in (("rtol", rtol), ("atol", atol))
            0 < value < Inf || throw(
                SolverError("Tsit5 was given $name=$value; it needs a finite number > 0.")
            )
        end
        max_steps >= 1 ||
            throw(SolverError("Tsit5 was given max_steps=$max_steps; it needs at least 1."))
        return new(rtol, atol, max_steps)
    end
end
Tsit5(; rtol=1e-3, atol=1e-6, max_steps=100_000) = Tsit5(rtol, atol, max_steps)

const TSIT5_A = (
    (),
    (0.161,),
    (-0.008480655492356989, 0.335480655492357),
    (2.8971530571054935, -6.359448489975075, 4.3622954328695815),
    (5.325864828439257, -11.748883564062828, 7.4955393428898365, -0.09249506636175525),
    (
        5.86145544294642, -12.92096931784711, 8.159367898576159, -0.071584973281401,
        -0.028269050394068383,
    ),
)
const TSIT5_B = (
    0.09646076681806523, 0.01, 0.4798896504144996, 1.379008574103742, -3.290069515436081,
    2.324710524099774,
)
# Weights of the error estimate, the last one that of the derivative at the end of the step.
const TSIT5_ERROR = (
    -0.00178001105222577714, -0.0008164344596567469, 0.007880878010261995, -0.1447110071732629,
    0.5823571654525552, -0.45808210592918697, 0.015151515151515152,
)
# What is recorded and reversed: six stages.
tableau(::Tsit5) = Tableau{6,TSIT5_A,TSIT5_B}()
# What a running step does: the new state is the argument of a seventh, whose increment only the
# error estimate wants, and which is the first one of the next step.
const TSIT5_PAIR = Tableau{7,(TSIT5_A...,TSIT5_B),TSIT5_ERROR}()

# Tsit5's region of stability holds |hλ| up to the first within 72° of the negative real axis and up
# to the second within 87°: all decaying modes but the nearly undamped.
const REACH_72, REACH_87 = 3.3, 2.5

"sup |φ'|."
steepest(::Envelope) = 1.0
steepest(::Sigmoid) = 0.25
steepest(::Polynomial{K}) where {K} = steepest_power(K)
steepest(::Hill{K}) where {K} = 2 * steepest_power(K)

"Maximum of k sᵏ⁻¹/(1+sᵏ)², reached where sᵏ = (k−1)/(k+1)."
function steepest_power(k)
    s = ((k - 1) / (k + 1))^(1 / k)
    return k * s^(k - 1) / (1 + s^k)^2
end

"""
    longest_step(network)

Longest step of Tsit5 that damps what decays, and a bound of |λ|, for every state of the network.

The Jacobian is diag(a∘φ')M − diag(c). Its eigenvalues are within r of the interval from −max c to
−min c, with the smaller of two r for B = sup|φ'|·diag(a)M, both of which hold for every
φ' ≤ sup|φ'|: the spectral norm ‖B‖₂, and the Perron root of |B|, which is itself bounded from above
at every iterate v > 0 by max (|B|v)/v (Collatz-Wielandt). The first is much the smaller one for a
network of many nodes without a pattern, the second for a sparse one whose strong edges do not form
a loop. So |λ| ≤ max c + r; and where λ is more than 72° from the negative real axis, |λ| ≤ r/sin 72°,
because its imaginary part is at most r.
"""
function longest_step(network::Network)
    k, rise = network.coefficients, steepest(network.envelope)
    B = Float64[rise * k.a[i] * k.M[i, j] for i in axes(k.M, 1), j in axes(k.M, 2)]
    all(isfinite, B) || return 0.0, Inf
    # By a power of two, which changes no digit: squares must not leave the finite numbers.
    scale = exp2(exponent(max(maximum(abs, B), floatmin(Float64))))
    scaled = B ./ scale
    norm = scale * sqrt(max(eigmax(Symmetric(scaled'scaled)), 0.0))
    B .= abs.(B)
    v, w = ones(size(B, 1)), zeros(size(B, 1))
    root = Inf
    for _ in 1:30
        mul!(w, B, v)
        root = min(root, maximum(w ./ v))
        # Zero rows would end the iteration; a little of everything keeps v positive.
        v .= w .+ 1e-3 * max(maximum(w), 1e-300)
        v ./= maximum(v)
    end
    radius = max(min(norm, root), floatmin(Float64))
    largest = Float64(maximum(abs, k.c)) + radius
    return min(REACH_72 / largest, REACH_87 * sind(72) / radius), largest
end

"""
    first_stage!(ws, at, v, moves)

The first stage of a step, whose φ stands in the record behind entry `at`: the increment, and the
state of the second stage.
"""
function first_stage!(ws::Forward{T}, at::Int, v, moves) where {T}
    state, phi, increment = ws.state, ws.phi, ws.increment
    a, b, c, m = ws.scaled.a, ws.scaled.b, ws.scaled.c, ws.m
    weight = T(TSIT5_A[2][1])
    next = at + m
    for start in 0:length(a):(m - 1)
        @inbounds @simd ivdep for i in 1:min(length(a), m - start)
            e = start + i
            x = state[at + e]
            kh = a[i] * phi[at + e] - c[i] * x
            v === nothing || (kh = muladd(b[i], v[e], kh))
            moves === nothing || (kh *= moves[e])
            increment[e] = kh
            state[next + e] = muladd(weight, kh, x)
        end
    end
    return nothing
end

"""
    product_at!(ws, network, at)

Mx of the state behind entry `at`, where φ (or z) of that stage is recorded.
"""
function product_at!(ws::Forward, network::Network, at::Int)
    target = needs_z(network.envelope) ? ws.z : ws.phi
    product!(target, at, network.M, ws.state, at, ws.columns)
    return nothing
end

"Record φ of the state behind `at`, where Mx stands, and write h·f to `increment` behind `to`."
function evaluate_pass!(ws::Forward, φ::Envelope, at::Int, to::Int, p, v)
    state, phi, zs, increment = ws.state, ws.phi, ws.z, ws.increment
    a, b, c, m = ws.scaled.a, ws.scaled.b, ws.scaled.c, ws.m
    for start in 0:length(a):(m - 1)
        @inbounds @simd ivdep for i in 1:min(length(a), m - start)
            e = start + i
            z = needs_z(φ) ? zs[at + e] : phi[at + e]
            p === nothing || (z += p[e])
            needs_z(φ) && (zs[at + e] = z)
            output = value(φ, z)
            phi[at + e] = output
            kh = a[i] * output - c[i] * state[at + e]
            v === nothing || (kh = muladd(b[i], v[e], kh))
            increment[to + e] = kh
        end
    end
    return nothing
end

"""
Record φ of the new state behind entry `new`, where Mx stands, and return the sum over the block
of the squared error of the step from `old`, in units of the tolerance.
"""
function error_pass!(
    ws::Forward{T}, φ::Envelope, old::Int, new::Int, p, v, moves, rtol::Float64, atol::Float64
) where {T}
    state, phi, zs, k = ws.state, ws.phi, ws.z, ws.increment
    a, b, c, m = ws.scaled.a, ws.scaled.b, ws.scaled.c, ws.m
    E, relative, absolute = map(T, TSIT5_ERROR), T(rtol), T(atol)
    total = 0.0
    for start in 0:length(a):(m - 1)
        @inbounds @simd ivdep for i in 1:min(length(a), m - start)
            e = start + i
            x, before = state[new + e], state[old + e]
            z = needs_z(φ) ? zs[new + e] : phi[new + e]
            p === nothing || (z += p[e])
            needs_z(φ) && (zs[new + e] = z)
            output = value(φ, z)
            phi[new + e] = output
            kh = a[i] * output - c[i] * x
            v === nothing || (kh = muladd(b[i], v[e], kh))
            moves === nothing || (kh *= moves[e])
            sum_ = E[1] * k[e]
            sum_ = muladd(E[2], k[m + e], sum_)
            sum_ = muladd(E[3], k[2m + e], sum_)
            sum_ = muladd(E[4], k[3m + e], sum_)
            sum_ = muladd(E[5], k[4m + e], sum_)
            sum_ = muladd(E[6], k[5m + e], sum_)
            sum_ = muladd(E[7], kh, sum_)
            large = ifelse(abs(x) > abs(before), abs(x), abs(before))
            r = Float64(sum_ / muladd(relative, large, absolute))
            total += r * r
        end
    end
    return total
end

"""
    attempt_step!(ws, network, h, old, new, solver)

Make a step of size `h` from the state behind entry `old`, whose φ is recorded, to a new one
behind `new`, and record its φ. Returns the sum of the block's squared errors in units of the
tolerance.
"""
function attempt_step!(
    ws::Forward, network::Network, h::Float64, old::Int, new::Int, solver::Tsit5
)
    set_step!(ws, network, h)
    moves = moves_of(ws.course)
    first_stage!(ws, old, ws.outside, moves)
    middle_stages!(ws, network, TSIT5_PAIR, old, new)
    product_at!(ws, network, new)
    return error_pass!(
        ws, network.envelope, old, new, ws.inside, ws.outside, moves, solver.rtol, solver.atol
    )
end

@generated function middle_stages!(
    ws::Forward, network::Network, method::Tableau{S}, old::Int, new::Int
) where {S}
    body = quote end
    for s in 2:(S - 1)
        next = s == S - 1 ? :new : :(old + $s * ws.m)
        push!(body.args, quote
            product_at!(ws, network, old + $(s - 1) * ws.m)
            stage!(ws, network.envelope, method, Val($s), old, $next)
        end)
    end
    push!(body.args, :(return nothing))
    return body
end
