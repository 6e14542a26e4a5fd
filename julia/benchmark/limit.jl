# One loss and gradient beside the limit: the same matrix products and tanh passes alone, by the
# best means at hand (BLAS, or the products of this package).
#
#     JULIA_NUM_THREADS=2 julia --startup-file=no julia/benchmark/limit.jl [n×conditions×steps ...]
#
# FLOAT=32 in the environment takes Float32, LIMIT_SECONDS is the time spent on each line.
#
# A gradient of s Heun steps needs 4s products n×n by n×c, 2s outer products n×c by c×n and 2s tanh
# passes over n×c. Everything is timed in turns in one process and the least time counts, so that
# the ratios stand on a busy machine too.

module LimitBenchmark

using LinearAlgebra
using Printf
using Random

module Core_
include(joinpath(@__DIR__, "..", "src", "standard.jl"))
end

const CB = Core_

function gradient_of(T, n, c, steps, chunks)
    rng = MersenneTwister(1)
    structure = CB.Structure(CB.Model(), fill(:protein, n))
    parameters = (
        W=randn(rng, T, n, n) ./ T(sqrt(n)) .* structure.mask,
        alpha=T(0.5) .+ rand(rng, T, n), epsilon=T(0.5) .+ rand(rng, T, n),
    )
    u, y = randn(rng, T, n, c), randn(rng, T, n, c)
    session = CB.Session(
        structure, u, y, one.(y), [0.1 * steps]; solver=CB.Heun(0.1), chunks=chunks
    )
    return () -> CB.value_and_gradient!(session, parameters)
end

"`f(q)` on every thread q of `parts`, as often as `times`."
function everywhere(f, parts, times)
    return () -> CB.on_threads(parts) do q
        for _ in 1:times
            f(q)
        end
    end
end

"""
The pieces as functions, each doing one product or pass over all conditions, `times` times:
split over `parts` threads, or by BLAS with as many threads of its own.
"""
function pieces(T, n, c, parts, times)
    rng = MersenneTwister(2)
    M, out = randn(rng, T, n, n), [zeros(T, n, n) for _ in 1:parts]
    shares = [length(CB.span(c, parts, q)) for q in 1:parts]
    # Two stages lie together in the outer product, as in a step of Heun's method.
    X, Y = ([randn(rng, T, n, 2share) for share in shares] for _ in 1:2)
    G = [vcat(vec(y), zeros(T, CB.panel_rows(T))) for y in Y]
    P = CB.pack!(CB.Packed{T}(n), M, Val(false))
    tiles = CB.tiles_of(T, trues(n, n))
    rooms = [CB.OuterRoom{T}(n, 2share) for share in shares]
    x, y = randn(rng, T, n, c), zeros(T, n, c)
    wide, tall = randn(rng, T, n, 2c), randn(rng, T, n, 2c)
    views = [(view(X[q], :, 1:shares[q]), view(Y[q], :, 1:shares[q])) for q in 1:parts]
    return (
        blas_product=everywhere(q -> mul!(views[q][2], M, views[q][1]), parts, times),
        our_product=everywhere(q -> CB.product!(Y[q], 0, P, X[q], 0, shares[q]), parts, times),
        blas_outer=everywhere(
            q -> BLAS.gemm!('N', 'T', one(T), Y[q], X[q], one(T), out[q]), parts, times
        ),
        our_outer=everywhere(
            q -> CB.add_outer_product!(out[q], G[q], X[q], 0, 2shares[q], tiles, rooms[q]),
            parts, times,
        ),
        tanh=everywhere(q -> CB.tanh!(views[q][2], views[q][1]), parts, times),
        blas_threads=(
            () -> foreach(_ -> mul!(y, M, x), 1:times),
            () -> foreach(_ -> BLAS.gemm!('N', 'T', one(T), tall, wide, one(T), out[1]), 1:times),
        ),
    )
end

"Seconds on the clock, or that this thread has computed, where others want the processor too."
function now(parts)
    (parts > 1 || !Sys.islinux()) && return 1e-9 * time_ns()
    read = Ref((0, 0))
    ccall(:clock_gettime, Cint, (Cint, Ref{Tuple{Int,Int}}), 3, read)
    return read[][1] + 1e-9 * read[][2]
end

"Least seconds of each of some functions, taken in turns until `seconds` have passed."
function in_turns(functions, parts, seconds; rounds=3)
    least = fill(Inf, length(functions))
    foreach(f -> f(), functions)
    start, done = time(), 0
    while done < rounds || time() - start < seconds
        for (k, f) in enumerate(functions)
            before = now(parts)
            f()
            least[k] = min(least[k], now(parts) - before)
        end
        done += 1
    end
    return least
end

function compare(T, n, c, steps, parts, seconds)
    work = n * n * c
    times = max(1, 1_000_000 ÷ work)
    part = pieces(T, n, c, parts, times)
    alone = (part.blas_product, part.our_product, part.blas_outer, part.our_outer, part.tanh)
    functions = Any[gradient_of(T, n, c, steps, parts), alone...]
    BLAS.set_num_threads(1)
    if parts > 1
        # Threads of BLAS instead of ours.
        for f in part.blas_threads
            push!(functions, () -> (BLAS.set_num_threads(parts); f(); BLAS.set_num_threads(1)))
        end
    end
    found = in_turns(functions, parts, seconds)
    gradient = found[1]
    p_blas, p_ours, o_blas, o_ours, pass = found[2:6] ./ times
    if parts > 1
        p_blas, o_blas = min.((p_blas, o_blas), found[7:8] ./ times)
    end
    product, outer = min(p_blas, p_ours), min(o_blas, o_ours)
    limit = steps * (4product + outer + 2pass)
    @printf(
        "%s %4d × %4d, %3d steps, %d threads: %9.3f ms, %.2f of the limit", T, n, c, steps,
        parts, 1e3gradient, gradient / limit
    )
    rate(work, seconds) = round(1e-9 * work / seconds; digits=1)
    println(
        "; GF/s: product ", rate(2work, p_blas), " BLAS ", rate(2work, p_ours), " ours, outer ",
        rate(4work, o_blas), " BLAS ", rate(4work, o_ours), " ours; tanh ",
        round(1e9pass / (n * c); digits=2), " ns",
    )
    return nothing
end

function main(arguments)
    println("Julia $VERSION, $(Threads.nthreads()) threads")
    sizes = isempty(arguments) ?
        [(5, 20, 100), (20, 64, 100), (99, 89, 100), (500, 256, 20), (1000, 1000, 5)] :
        [Tuple(parse.(Int, split(a, r"[x×]"))) for a in arguments]
    T = get(ENV, "FLOAT", "64") == "32" ? Float32 : Float64
    seconds = parse(Float64, get(ENV, "LIMIT_SECONDS", "3"))
    for (n, c, steps) in sizes, parts in unique((1, Threads.nthreads()))
        compare(T, n, c, steps, parts, seconds)
    end
    return nothing
end

main(ARGS)

end
