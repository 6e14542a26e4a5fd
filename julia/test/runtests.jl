# Two parts: what needs only the standard library, and the whole package where it is there.

include("standard.jl")

const FULL = joinpath(@__DIR__, "full.jl")
isfile(FULL) && include(FULL)
