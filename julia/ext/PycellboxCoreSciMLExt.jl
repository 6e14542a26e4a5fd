# Adaptive solvers through OrdinaryDiffEq, continuous adjoints through SciMLSensitivity.
module PycellboxCoreSciMLExt

using PycellboxCore
using PycellboxCore:
    Adaptive, AnyLoss, Coefficients, Course, DivergenceError, EquationReverse, EquationRun,
    EquationSession, InputGradient, Inputs, Kernel, Lowering,
    Loss, Model, Program, SolverError, Stops, Structure, Treatment, TreatmentGradient, add_seeds!, call!, check_inputs,
    coefficients!, drive!, each_jump, initial_state, keep_start!, load_coefficients!, loaded!, masked,
    moving, nodes, pack!, penalty, penalty_slope, pull_back!, pull_back_drive!, reverse_start!, rhs!,
    segment, set_off!, shifts, slope, start!, starts_of, unpack!, value, vjp_coefficients!, vjp_state!, write_moves!,
    zero_parameters
using ForwardDiff: ForwardDiff
using LinearAlgebra: BLAS
using PrecompileTools: @compile_workload
using SciMLBase: SciMLBase, ODEFunction, ODEProblem
using SciMLSensitivity:
    GaussAdjoint, InterpolatingAdjoint, QuadratureAdjoint, ZygoteVJP, adjoint_sensitivities

include("network.jl")
include("session.jl")
include("gradient.jl")
include("equations.jl")

# The first gradient by Tsit5 and GaussAdjoint, compiled at installation where that solver is there:
# with drugs and without, and with the transposes that Python's W is here.
function workload()
    Base.identify_package("OrdinaryDiffEqTsit5") === nothing && return nothing
    u, y = ones(3, 2), ones(3, 1, 2)
    for drug in (true, false)
        structure = Structure(Model(), [false, false, drug], trues(3, 3))
        plain = map(p -> fill!(p, 0.1), zero_parameters(Float64, structure))
        parameters = merge(plain, (W=transpose(plain.W),))
        session = PycellboxCore.adaptive_session(structure, u, y, y, [1.0], Loss(), Adaptive())
        gradient = merge(map(copy, plain), (W=transpose(copy(plain.W)),))
        PycellboxCore.value_and_gradient!(gradient, session, parameters)
        PycellboxCore.value(session, parameters)
    end
    return nothing
end

@compile_workload workload()

end # module
