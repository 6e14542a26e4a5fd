# Time of one loss and gradient, 100 Heun steps, on one thread and on all:
#
#     JULIA_NUM_THREADS=2 julia --startup-file=no julia/benchmark/gradient.jl

module GradientBenchmark

using Printf
using Random

module Core_
include(joinpath(@__DIR__, "..", "src", "standard.jl"))
end

const CB = Core_

"n nodes, an eighth of them drugs, and as many conditions as asked for; steady-state data."
function problem(T, n, conditions)
    rng = MersenneTwister(1)
    kinds = [i <= n ÷ 8 ? :drug : i <= n ÷ 6 ? :phenotype : :protein for i in 1:n]
    structure = CB.Structure(CB.Model(), kinds)
    parameters = (
        W=randn(rng, T, n, n) ./ T(sqrt(n)) .* structure.mask,
        alpha=T(0.5) .+ rand(rng, T, n),
        epsilon=T(0.5) .+ rand(rng, T, n),
    )
    u, y = randn(rng, T, n, conditions), randn(rng, T, n, conditions)
    return structure, parameters, u, y, one.(y)
end

function times(T, n, conditions, chunks, repeats)
    structure, parameters, u, y, w = problem(T, n, conditions)
    session = CB.Session(structure, u, y, w, [10.0]; solver=CB.Heun(0.1), chunks=chunks)
    CB.value_and_gradient!(session, parameters)
    seconds = [@elapsed(CB.value_and_gradient!(session, parameters)) for _ in 1:repeats]
    sort!(seconds)
    return 1e3 * seconds[cld(repeats, 2)], 1e3 * seconds[1]
end

println("Julia $VERSION, $(Threads.nthreads()) threads, median (least) in ms")
for T in (Float64, Float32), (n, c, repeats) in ((5, 20, 1000), (20, 64, 300), (99, 89, 40))
    @printf("%s %3d nodes × %2d conditions", T, n, c)
    for chunks in unique((1, Threads.nthreads()))
        @printf("   %d: %7.3f (%.3f)", chunks, times(T, n, c, chunks, repeats)...)
    end
    println()
end

end
