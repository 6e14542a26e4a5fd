# The standard-library part, on any Julia from 1.5 on, without any package and from any folder:
#
#     julia --startup-file=no julia/test/standard.jl

module PycellboxCoreStandard

module Core_
include(joinpath(@__DIR__, "..", "src", "standard.jl"))
end

const CB = Core_

using LinearAlgebra
using Random
using Test

include("standard/problems.jl")

@testset "PycellboxCore, standard library" begin
    include("standard/tanh.jl")
    include("standard/envelopes.jl")
    include("standard/products.jl")
    include("standard/kernels.jl")
    include("standard/solvers.jl")
    include("standard/gradients.jl")
    include("standard/sessions.jl")
    include("standard/inputs.jl")
    include("standard/adaptive.jl")
    include("standard/equations.jl")
    include("standard/steady_equations.jl")
    include("standard/steady.jl")
    include("standard/proofs.jl")
    include("standard/treatments.jl")
    include("standard/threads.jl")
    include("standard/errors.jl")
    include("standard/limits.jl")
end

end
