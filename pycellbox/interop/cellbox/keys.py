"""Every key that CellBox documents, and those its result folders have."""

from __future__ import annotations

from collections.abc import Callable

from pycellbox.common.options import Value, choice, flag, number, optional
from pycellbox.interop.cellbox.partition import EXPERIMENTS, RANDOM
from pycellbox.interop.keys import Key, anything, count, name, plain_name
from pycellbox.solvers import RK4, Euler, Heun, Midpoint, Solver

ENVELOPES = {
    "tanh": "tanh", "polynomial": "polynomial", "hill": "hill", "linear": "linear",
    "clip linear": "clip",
}  # fmt: skip
WITH_ORDER = ("polynomial", "hill")
SOLVERS: dict[str, Callable[[float], Solver]] = {
    "heun": Heun, "euler": Euler, "rk4": RK4, "midpoint": Midpoint,
}  # fmt: skip

_SHARE = number(0, 1, above=True, up_to=True)
_RATE = number(0)
_SMOOTHED = "the whole validation set is looked at instead of smoothed batches"
_TENSORFLOW = "no TensorFlow checkpoint is written; fit.nc has everything"
_WRITTEN = "written by the original"

# The order is that of the original's documentation. A default here is the original's; None that
# it has none and does not always need the key.
KEYS = (
    Key("experiment_id", plain_name(), "Debugging"),
    Key("model_prefix", plain_name(), "seed"),
    Key("ckpt_name", name(), "model.ckpt", unused=_TENSORFLOW),
    Key("model", choice("CellBox", "NN", "LinReg"), "CellBox"),
    Key("export_verbose", choice(-1, 0, 1, 2, 3), 2),
    Key("pert_file", name("the path of a table (condition, node)")),
    Key("expr_file", name("the path of a table (condition, node)")),
    Key("node_index_file", optional(name("a path")), None),
    Key("sparse_data", flag(), False),
    Key("n_x", count(1, 100_000)),
    Key("n_protein_nodes", count(0)),
    Key("n_activity_nodes", count(0)),
    Key("experiment_type", choice(*EXPERIMENTS), RANDOM),
    Key("trainset_ratio", _SHARE, 0.7),
    Key("validset_ratio", _SHARE, 0.8),
    Key("batchsize", count(1), 8),
    Key("n_batches_eval", optional(count(1)), None, unused="every condition is evaluated"),
    Key("add_noise_level", number(0), 0),
    Key("envelope_form", choice(*ENVELOPES), "tanh", ("envelop_form",)),
    Key("envelope", choice(0, 1, 2), 0, ("envelop",)),
    Key("polynomial_k", optional(count(2)), None),
    Key("pert_form", choice("by u", "fix x"), "by u"),
    Key("dT", number(0, above=True), 0.1),
    Key("ode_degree", choice(1, 2), 1),
    Key("ode_solver", choice(*SOLVERS), "heun"),
    Key("ode_last_steps", count(1), 2, unused="oscillations are not reported"),
    Key("seed", optional(count(0, 2**64)), None),
    Key("stages", anything()),
    Key("n_epoch", optional(count(1)), None),
    Key("n_iter", optional(count(1)), None),
    Key("n_iter_buffer", count(1), 5, unused=_SMOOTHED),
    Key("n_iter_patience", count(1), 100),
    Key(
        "weight_loss",
        Value(
            lambda given: choice("None", "expr").read("None" if given is None else given),
            "None or 'expr'",
        ),
        "None",
    ),
    Key("lr_val", optional(_RATE), None),
    Key("l1lambda", _RATE, 0),
    Key("l2lambda", _RATE, 0),
    Key("n_hidden", anything(), None, unused="it is for the model NN"),
    # Beyond the documentation: what the config.json in the original's result folders has.
    Key("root_dir", optional(name("a path")), None),
    Key("drug_index", optional(count(1)), None),
    Key("ckpt_path_full", anything(), None, unused=_WRITTEN),
    Key("working_index", anything(), None, unused=_WRITTEN),
)

STAGE_KEYS = (Key("nT", count(1)), Key("sub_stages", anything()))
SUB_STAGE_KEYS = (
    Key("lr_val", optional(_RATE), None),
    Key("l1lambda", optional(_RATE), None),
    Key("l2lambda", optional(_RATE), None),
    Key("n_epoch", optional(count(1)), None),
    Key("n_iter", optional(count(1)), None),
    Key("n_iter_buffer", optional(count(1)), None, unused=_SMOOTHED),
    Key("n_iter_patience", optional(count(1)), None),
)
