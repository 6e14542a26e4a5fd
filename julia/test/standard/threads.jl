@testset "chunks" begin
    problem = random_problem(CB.Model(); conditions=50)
    value, gradient = both(problem; chunks=1)
    for chunks in (2, 3, 7)
        v, g = both(problem; chunks=chunks)
        @test v ≈ value rtol = 1e-13
        @test all(relative(g[k], gradient[k]) < 1e-12 for k in keys(g))
        # The same number of chunks, the same bits.
        again = both(problem; chunks=chunks)
        @test again[1] === v
        @test all(again[2][k] == g[k] for k in keys(g))
    end
    # Small problems are not worth a second thread.
    small = session(random_problem(CB.Model()); solver=CB.Heun(0.1))
    @test length(small.chunks) == 1
    @test CB.parts(5, 1, 8) == 5
    @test CB.parts(5, 10, 8) == 1
    @test vcat([collect(CB.span(89, 4, q)) for q in 1:4]...) == 1:89
end

# Four chunks on one thread and on two: the sums are taken in the same order.
const THREADED = """
    module Threaded
    using LinearAlgebra, Random
    module Core_
    include($(repr(joinpath(@__DIR__, "..", "..", "src", "standard.jl"))))
    end
    const CB = Core_
    include($(repr(joinpath(@__DIR__, "problems.jl"))))
    problem = random_problem(CB.Model(); conditions=50)
    held = session(problem; solver=CB.Heun(0.01), chunks=4)
    value, gradient = CB.value_and_gradient!(held, problem.parameters)
    print(Threads.nthreads(), " ", bitstring(value), " ", hash(gradient.W), hash(gradient.alpha))
    end
    """

@testset "one thread and two" begin
    found = map((1, 2)) do threads
        command = `$(Base.julia_cmd()) --startup-file=no -e $THREADED`
        said = withenv(() -> read(command, String), "JULIA_NUM_THREADS" => string(threads))
        split(said, " "; limit=2)
    end
    @test found[1][1] == "1"
    @test found[2][1] == "2"
    @test found[1][2] == found[2][2]
end
