# Adaptive solvers and continuous adjoints of SciML: what is asked for. The work is done in
# ext/PycellboxCoreSciMLExt.jl, which is loaded with SciMLSensitivity, so that a fit with fixed steps
# does not wait for it.

"""
    Adaptive(algorithm="Tsit5"; rtol=1e-3, atol=1e-6, maxiters=100_000, gradient=:gauss)

An adaptive solver of OrdinaryDiffEq and the way to differentiate through it.

- `algorithm`: a name (`"Tsit5"`, `"DP5"`, `"Vern7"`, and for stiff networks `"Rodas5P"`,
  `"TRBDF2"`) or an algorithm object.
- `rtol`, `atol`: tolerances of the solution and of the adjoint equation.
- `gradient`: `:gauss` (GaussAdjoint, the default), `:interpolating` (InterpolatingAdjoint, that
  of Ji et al.), `:quadrature` (QuadratureAdjoint): continuous adjoints with our own
  vector-Jacobian products. `:forward`: forward sensitivities through ForwardDiff, for small
  networks.

The gradient is that of the exact solution to within the tolerances, not of the computed steps.
PycellboxCore's own [`Tsit5`](@ref) has the exact gradient of its steps, and needs none of SciML.
"""
struct Adaptive{A}
    algorithm::A
    rtol::Float64
    atol::Float64
    maxiters::Int
    gradient::Symbol

    function Adaptive(
        algorithm="Tsit5"; rtol=1e-3, atol=1e-6, maxiters=100_000, gradient=:gauss
    )
        for (name, value) in (("rtol", rtol), ("atol", atol))
            0 < value < Inf || throw(
                SolverError("Adaptive was given $name=$value; it needs a finite number > 0.")
            )
        end
        maxiters >= 1 ||
            throw(SolverError("Adaptive was given maxiters=$maxiters; it needs at least 1."))
        gradient in (:gauss, :interpolating, :quadrature, :forward) || throw(
            SolverError(
                "gradient=$(repr(gradient)) is unknown; choose one of :gauss, :interpolating, " *
                ":quadrature, :forward.",
            ),
        )
        chosen = algorithm isa Symbol ? String(algorithm) : algorithm
        if chosen isa AbstractString && !haskey(ALGORITHMS, chosen)
            throw(
                SolverError(
                    "unknown solver $(repr(chosen)); known by name: " *
                    "$(join(sort(collect(keys(ALGORITHMS))), ", ")). Others can be given as " *
                    "algorithm objects.",
                ),
            )
        end
        return new{typeof(chosen)}(chosen, rtol, atol, maxiters, gradient)
    end
end

"Where an algorithm that is known by name is to be found, and whether it is implicit."
const ALGORITHMS = Dict(
    "Tsit5" => (:OrdinaryDiffEqTsit5, false),
    "DP5" => (:OrdinaryDiffEqLowOrderRK, false),
    "Vern7" => (:OrdinaryDiffEqVerner, false),
    "Rodas5P" => (:OrdinaryDiffEqRosenbrock, true),
    "Rodas4" => (:OrdinaryDiffEqRosenbrock, true),
    "Rosenbrock23" => (:OrdinaryDiffEqRosenbrock, true),
    "TRBDF2" => (:OrdinaryDiffEqSDIRK, true),
    "KenCarp4" => (:OrdinaryDiffEqSDIRK, true),
    "Kvaerno5" => (:OrdinaryDiffEqSDIRK, true),
)

"""
    ODEProblem(structure::Structure, parameters, perturbation, tspan)

The network as a `SciMLBase.ODEProblem` with state (node × condition), to go on with in SciML.
Its `p` is the vector [vec(M); a; b; c] of the lowered equation; the function carries analytic
`vjp` and `vjp_p`. Needs SciMLSensitivity to be loaded.
"""
function ode_problem end

# Made by the extension: the states at the times of a session made with an `Adaptive`.
function states end

# Of generated equations: states lie on the tape one time after the other, none is kept.
stages(::EquationRun{<:Any,<:Adaptive}) = 1
