"""
PycellboxCore: interpretable ODE networks of perturbed cells, the numerics of pycellbox.

    dx/dt = ε ∘ φ(W x + u) − α ∘ x ,   x(0) = 0

x (n nodes × conditions) is the log-ratio response, u the perturbation, `W[target, source]` the
interaction of `source` on `target`. [`Model`](@ref) names the variant of the equation,
[`Structure`](@ref) lays it over nodes, [`trajectory`](@ref) integrates it,
[`Session`](@ref) holds a data set for [`value_and_gradient!`](@ref), and [`Kernel`](@ref) is the
right-hand side with its vector-Jacobian products for other solvers.

Source: Yuan et al., Cell Systems 12:128 (2021).
"""
module PycellboxCore

include("standard.jl")
include("sciml.jl")
include("training/parametrization.jl")
include("training/adamw.jl")
include("training/state.jl")
include("python/arrays.jl")
include("python/errands.jl")
include("python/sessions.jl")
include("python/equations.jl")
include("python/solutions.jl")
include("python/training.jl")
include("precompile.jl")

export CoreError, ModelError, SolverError, DivergenceError
export Model, Structure, structural_mask, nodes, rates, shifts
export zero_parameters, flatten, unflatten
export Kernel, load!, initial_state, rhs!, vjp_state!, vjp_parameters!
# Euler, Midpoint, Heun and RK4 are not exported: OrdinaryDiffEq uses the same names.
export fixed_step, trajectory, trajectory!
export Treatment, TreatmentGradient
export InputGradient, Loss, Session, value, value_and_gradient!
export Adaptive, adaptive_session, ode_problem

end
