# One loss and gradient: PycellboxCore with all conditions as one matrix beside the way of the Julia port
# of Ji et al. (arXiv 2104.06467): a condition at a time, Zygote through `solve`, and
# InterpolatingAdjoint with its default products. Written anew from the paper's description.
#
#     julia --project=PROJECT benchmarks/port.jl [nodes conditions [repeats of the port]]
#
# PROJECT has PycellboxCore, OrdinaryDiffEqTsit5, SciMLSensitivity, ForwardDiff and Zygote.

using PycellboxCore, ForwardDiff, LinearAlgebra, OrdinaryDiffEqTsit5, Printf, Random
using SciMLSensitivity, Statistics, Zygote

const RTOL, ATOL, HORIZON = 1e-3, 1e-6, 10.0

function port_loss(W, alpha, u, y)
    # dx/dt = α∘tanh(Wx − u) − x, the equation of the port's code, for one condition.
    p = hcat(alpha, W)
    f!(dx, x, p, t) = (dx .= view(p, :, 1) .* tanh.(view(p, :, 2:size(p, 2)) * x .- u) .- x)
    problem = ODEProblem(f!, zeros(length(u)), (0.0, HORIZON), p)
    return function (q)
        x = Array(
            solve(
                remake(problem; p=q), Tsit5(); saveat=[HORIZON], save_start=false, reltol=RTOL,
                abstol=ATOL, sensealg=InterpolatingAdjoint(),
            ),
        )
        return sum(abs2, vec(x) .- y)
    end, p
end

function port(W, alpha, U, Y)
    n, c = size(U)
    total, gradient = 0.0, zeros(n, n + 1)
    for j in 1:c
        loss, p = port_loss(W, alpha, U[:, j], Y[:, j])
        value, back = Zygote.pullback(loss, p)
        total += value
        gradient .+= back(1.0)[1]
    end
    return total / (n * c), gradient ./ (n * c)
end

seconds(f) = (t = time_ns(); f(); (time_ns() - t) / 1e9)

function main(n=99, c=89, repeats=2)
    Random.seed!(0)
    structure = Structure(Model(form=:ji_code), fill(:protein, n))
    W = randn(n, n) .* structure.mask ./ sqrt(n)
    alpha = 0.5 .+ rand(n)
    U, Y = randn(n, c), randn(n, c)
    parameters = (W=W, alpha=alpha)
    y, weight = reshape(copy(Y), n, 1, c), ones(n, 1, c)
    adaptive = adaptive_session(
        structure, U, y, weight, [HORIZON], Loss(), Adaptive("Tsit5"; rtol=RTOL, atol=ATOL)
    )
    heun = Session(structure, U, y, weight, [HORIZON]; solver=PycellboxCore.Heun(HORIZON / 100))
    gradient = zero_parameters(Float64, structure)
    ours() = value_and_gradient!(gradient, adaptive, parameters)
    fixed() = value_and_gradient!(heun, parameters)
    value, _ = ours()
    fixed()
    println("Julia $VERSION, $(Threads.nthreads()) thread(s), BLAS $(BLAS.get_num_threads())")
    println("$n nodes × $c conditions, to t = $HORIZON, one loss and gradient")
    theirs, slope = port(W, alpha, U, Y)
    dW = slope[:, 2:end] .* structure.mask
    @printf("losses differ by %.1e, gradients by %.1e of their largest entry\n",
        abs(theirs - value), maximum(abs, dW .- gradient.W) / maximum(abs, dW))
    # Interleaved, so that a machine whose speed drifts treats all alike.
    times = (ours=Float64[], fixed=Float64[], port=Float64[])
    for _ in 1:repeats
        append!(times.ours, [seconds(ours) for _ in 1:10])
        append!(times.fixed, [seconds(fixed) for _ in 1:10])
        push!(times.port, seconds(() -> port(W, alpha, U, Y)))
    end
    t = map(median, times)
    @printf("ours, Tsit5 1e-3/1e-6, GaussAdjoint         %10.2f ms\n", 1e3 * t.ours)
    @printf("ours, Heun, 100 steps, discrete adjoint     %10.2f ms\n", 1e3 * t.fixed)
    @printf("the port's way, Tsit5 1e-3/1e-6             %10.2f ms\n", 1e3 * t.port)
    @printf("ratio of the port to our Tsit5             %10.1f\n", t.port / t.ours)
    return nothing
end

main(parse.(Int, ARGS)...)
