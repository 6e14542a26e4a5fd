"""Interpretable ODE network models of cell systems from perturbation data.

>>> import pycellbox as pcb
>>> data = pcb.datasets.melanoma()
>>> fit = pcb.fit(data, pcb.CellBox())
>>> fit.predict(data["perturbation"])
"""

from pycellbox._version import __version__
from pycellbox.common import starting  # noqa: F401  # Ctrl-C has no traceback from here on

# isort: split
# The public surface. Rooms behind it import downwards only: see CONTRIBUTING.md.
from pycellbox import datasets, metrics, networks, plot, splits
from pycellbox.backends import available_backends
from pycellbox.crossvalidation import CrossValidation, cross_validate
from pycellbox.data import from_tables, open_data, read_courses, read_csv, save_data, validate
from pycellbox.data.drives import drive
from pycellbox.data.regimens import (
    knockdown,
    knockout,
    overexpression,
    pretreat,
    pulse,
    regimen,
    start_as_measured,
    step,
    washout,
)
from pycellbox.ending import Ending
from pycellbox.ensembles import Ensemble, ensemble
from pycellbox.errors import (
    BackendError,
    BackendWarning,
    DataError,
    DataWarning,
    DivergenceError,
    FileWarning,
    ModelError,
    NumericsWarning,
    OptionError,
    PycellboxError,
    PycellboxWarning,
    ResultFileError,
    SolverError,
)
from pycellbox.evaluation import Evaluation
from pycellbox.fitting import Initialization, fit, resume
from pycellbox.graph.functions import (
    exp,
    expit,
    log,
    maximum,
    minimum,
    softplus,
    sqrt,
    tanh,
    where,
)
from pycellbox.growing import Grow
from pycellbox.identifiability import Identifiability
from pycellbox.interop import to_ode_problem
from pycellbox.loading import load
from pycellbox.models import ODE, CellBox, NeuralODE
from pycellbox.models.declared import Parameter
from pycellbox.models.draws import lognormal, loguniform, normal, uniform
from pycellbox.networks import Network
from pycellbox.objective import Loss, Penalty
from pycellbox.profiles import Profile
from pycellbox.pruning import Pruned, prune
from pycellbox.recipe import Recipe
from pycellbox.refinement import refine
from pycellbox.result import Fit
from pycellbox.sampling import Samples
from pycellbox.schedule import LBFGS, LM, AdamW, Stage
from pycellbox.shooting import Shooting
from pycellbox.simulation import environment, simulate
from pycellbox.solvers import RK4, Adaptive, Euler, Heun, Midpoint, SteadyState, Tsit5
from pycellbox.solving import solve, value_and_gradient
from pycellbox.splits import Split
from pycellbox.supported import Support

__all__ = [
    "LBFGS",
    "LM",
    "ODE",
    "RK4",
    "AdamW",
    "Adaptive",
    "BackendError",
    "BackendWarning",
    "CellBox",
    "CrossValidation",
    "DataError",
    "DataWarning",
    "DivergenceError",
    "Ending",
    "Ensemble",
    "Euler",
    "Evaluation",
    "FileWarning",
    "Fit",
    "Grow",
    "Heun",
    "Identifiability",
    "Initialization",
    "Loss",
    "Midpoint",
    "ModelError",
    "Network",
    "NeuralODE",
    "NumericsWarning",
    "OptionError",
    "Parameter",
    "Penalty",
    "Profile",
    "Pruned",
    "PycellboxError",
    "PycellboxWarning",
    "Recipe",
    "ResultFileError",
    "Samples",
    "Shooting",
    "SolverError",
    "Split",
    "Stage",
    "SteadyState",
    "Support",
    "Tsit5",
    "__version__",
    "available_backends",
    "cross_validate",
    "datasets",
    "drive",
    "ensemble",
    "environment",
    "exp",
    "expit",
    "fit",
    "from_tables",
    "knockdown",
    "knockout",
    "load",
    "log",
    "lognormal",
    "loguniform",
    "maximum",
    "metrics",
    "minimum",
    "networks",
    "normal",
    "open_data",
    "overexpression",
    "plot",
    "pretreat",
    "prune",
    "pulse",
    "read_courses",
    "read_csv",
    "refine",
    "regimen",
    "resume",
    "save_data",
    "simulate",
    "softplus",
    "solve",
    "splits",
    "sqrt",
    "start_as_measured",
    "step",
    "tanh",
    "to_ode_problem",
    "uniform",
    "validate",
    "value_and_gradient",
    "washout",
    "where",
]


def __dir__() -> list[str]:
    """List the public names alone, for completion."""
    return __all__
