"""Every key of CellBox.jl's configurations."""

from __future__ import annotations

import math

from pycellbox.common.options import Value, flag, number, optional
from pycellbox.interop.keys import Key, anything, count, name

_PLOT = "no pictures are drawn during training"
_BUFFER = "validation is not smoothed"

KEYS = (
    Key("network", optional(name("the path of a table of signed weights")), None),
    Key("data", optional(name("the path of a folder with pert.csv and expr.csv")), None),
    Key("ns", count(1)),
    Key("alpha", optional(number(0, above=True)), None),
    Key("randomize_network", number(0), 0.0),
    Key("sparsity", optional(number(0, 1, up_to=True)), None),
    Key("drop_range", anything(), None),
    Key("is_nn", flag(), False),
    Key("tfinal", number(0, above=True)),
    Key("ntotal", count(1)),
    Key("batch_size", count(1)),
    Key("epoch_size", Value(lambda v: v if v == -1 else count(1).read(v), "an integer ≥ 1, or "
        "-1 for all training conditions"), -1),
    Key("lr", number(0, above=True)),
    Key("weight_decay", number(0), 0.0),
    Key("grad_max", number(0, above=True), math.inf),
    Key("n_mu", count(1), None),
    Key("n_exp_train", count(1)),
    Key("n_exp_val", count(0)),
    Key("n_exp_test", count(0)),
    Key("noise", number(0), 0.0),
    Key("n_iter_max", count(1)),
    Key("n_iter_buffer", count(0), 0, unused=_BUFFER),
    Key("n_iter_burnin", count(0), 0),
    Key("n_iter_tol", count(-1), 0),
    Key("is_restart", flag(), False),
    Key("nplot", anything(), None, unused=_PLOT),
    Key("n_plot", anything(), None, unused=_PLOT),
    Key("convergence_tol", anything(), None, unused="nor does it do anything in the port"),
    Key("lr_new", anything(), None, unused="nor does it do anything in the port"),
)  # fmt: skip

DROP_KEYS = (Key("lb", number()), Key("ub", number()))
RUNTIME_KEYS = (
    Key("expr_name", name("the folder of a configuration")),
    Key("is_restart", flag(), False),
)

# How long to train: a run may go on with other values, so they are not part of its name.
LENGTH = (
    "is_restart", "n_iter_max", "n_iter_buffer", "n_iter_burnin", "n_iter_tol", "convergence_tol",
    "nplot", "n_plot",
)  # fmt: skip
