# Everything that needs only Julia's standard library (1.5 or later), so that it can be used and
# tested without any package: include("core.jl") in a module of your own.

include("core/errors.jl")
include("core/arrays.jl")
include("core/models.jl")
include("core/tanh.jl")
include("core/envelopes.jl")
include("core/lowering.jl")
include("core/products.jl")
include("core/network.jl")
include("core/kernel.jl")
include("core/tableaux.jl")
include("core/fixed.jl")
include("core/adjoint.jl")
include("core/loss.jl")
include("core/trajectory.jl")
include("core/session.jl")
include("core/evaluate.jl")
