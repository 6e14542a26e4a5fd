"""Declarations: models, losses, penalties, stages refuse what they cannot be."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import pycellbox as pcb
from pycellbox.errors import ModelError, OptionError
from pycellbox.models import Structure
from pycellbox.solvers import SOLVERS, solver_from_dict, solver_to_dict
from tests.support.problems import KINDS, NODES


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"envelope": "relu"}, "envelope='relu'; it needs one of 'tanh'"),
        ({"form": 3}, "form=3; it needs one of.*'ji-code'"),
        ({"form": True}, "form=True; it needs one of"),
        ({"degree": 0}, "degree=0"),
        ({"envelope": "hill", "order": 1}, "order=.*integer ≥ 2"),
        ({"envelope": "hill", "order": 2.5}, "order=.*integer ≥ 2"),
        ({"drugs": "fixed"}, "drugs='fixed'"),
        ({"dose_saturation": -0.1}, "dose_saturation"),
        ({"dose_saturation": np.nan}, "dose_saturation"),
        ({"response_range": "none"}, "response_range"),
        ({"drug_columns": "common"}, "drug_columns"),
        ({"self_interaction": 1}, "self_interaction"),
        ({"mask": np.ones((2, 3))}, r"shape is \(2, 3\)"),
        ({"mask": np.full((2, 2), 0.5)}, "True and False, or 0 and 1"),
        ({"mask": xr.DataArray(np.ones((2, 2)), dims=("a", "b"))}, "target, source"),
    ],
)
def test_bad_model(options, match):
    with pytest.raises(OptionError, match=match):
        pcb.CellBox(**options)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"order": 3}, "order=3 has no meaning for the tanh envelope"),
        ({"response_range": "held", "form": "ji"}, "has no ε"),
    ],
)
def test_options_that_contradict_each_other(options, match):
    with pytest.raises(ModelError, match=match):
        pcb.CellBox(**options)


def test_order_defaults_to_two_where_it_has_a_meaning():
    assert pcb.CellBox(envelope="hill").order == 2
    assert pcb.CellBox().order is None


def test_model_goes_through_plain_values():
    model = pcb.CellBox(envelope="hill", order=4, form=2, degree=2, dose_saturation=None)
    assert pcb.CellBox.from_dict(model.to_dict()) == model
    with pytest.raises(OptionError, match=r"no option 'color'"):
        pcb.CellBox.from_dict({"color": "red"})


def test_structural_mask():
    mask = Structure.over(pcb.CellBox(), NODES, KINDS).mask
    assert not mask.diagonal().any()
    assert not mask[5:].any()  # nothing into drugs
    assert not mask[:, 4].any()  # nothing out of the phenotype
    assert not mask[4, 5:].any()  # no drug → phenotype
    assert mask.sum() == 4 * 3 + 4 * 2 + 4  # proteins, drugs → proteins, proteins → phenotype


def test_self_interaction_frees_the_diagonal_of_proteins():
    model = pcb.CellBox(self_interaction=True)
    np.testing.assert_array_equal(
        Structure.over(model, NODES, KINDS).mask.diagonal(), [True] * 4 + [False] * 3
    )


@pytest.mark.parametrize("as_frame", [True, False])
def test_prior_mask_is_aligned_by_label(as_frame):
    order = list(reversed(NODES))
    frame = pd.DataFrame(True, index=order, columns=order)
    frame.loc["A", "B"] = False
    mask = frame if as_frame else xr.DataArray(
        frame.to_numpy(), {"target": order, "source": order}, ("target", "source")
    )  # fmt: skip
    with_prior = Structure.over(pcb.CellBox(mask=mask), NODES, KINDS).mask
    without = Structure.over(pcb.CellBox(), NODES, KINDS).mask
    assert without[0, 1]
    assert not with_prior[0, 1]
    assert with_prior.sum() == without.sum() - 1


def test_prior_mask_must_fit_the_nodes():
    with pytest.raises(ModelError, match=r"mask has shape \(2, 2\); the data has 7 nodes"):
        Structure.over(pcb.CellBox(mask=np.ones((2, 2), bool)), NODES, KINDS)
    labelled = xr.DataArray(
        np.ones((2, 2), bool), {"target": ["A", "Z"], "source": ["A", "Z"]}, ("target", "source")
    )
    with pytest.raises(ModelError, match="lacks the node"):
        Structure.over(pcb.CellBox(mask=labelled), NODES, KINDS)


def test_clamping_needs_drugs():
    with pytest.raises(ModelError, match='no node is of kind "drug"'):
        Structure.over(pcb.CellBox(drugs="clamped"), "AB", ["protein"] * 2)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: pcb.Loss("rmse"), "name='rmse' .did you mean 'mse'"),
        (lambda: pcb.Loss("huber", delta=0), "delta=0"),
        (lambda: pcb.Penalty(l1=-1), "l1=-1"),
        (lambda: pcb.Penalty(l2={"all edges": 1}), "'all edges' is no name"),
        (lambda: pcb.Penalty(scale="total"), "scale='total'"),
        (lambda: pcb.Stage(0), "iterations=0"),
        (lambda: pcb.Stage(1.5), "iterations=1.5"),
        (lambda: pcb.Stage(10, learning_rate=-1), "learning_rate"),
        (lambda: pcb.Stage(10, learning_rate={"edges": 1}), "'edges' is unknown"),
        (lambda: pcb.Stage(10, horizon=0), "horizon"),
        (lambda: pcb.Stage(10, patience=0), "patience=0"),
        (lambda: pcb.Stage(10, batch_size=0), "batch_size=0"),
        (lambda: pcb.Stage(10, decay="step"), "decay='step'"),
        (lambda: pcb.Stage(10, penalty=0.1), "pcb.Penalty"),
        (lambda: pcb.Stage(10, optimizer="adam"), "pcb.AdamW"),
        (lambda: pcb.Stage(10, optimizer=pcb.LBFGS(), batch_size=4), "full batch"),
        (lambda: pcb.AdamW(beta1=1), "beta1"),
        (lambda: pcb.AdamW(clip_norm=0), "clip_norm"),
        (lambda: pcb.LBFGS(memory=0), "memory"),
        (lambda: pcb.Initialization(alpha=0), "alpha=0"),
        (lambda: pcb.Initialization(weight_scale=-1), "weight_scale"),
    ],
)
def test_bad_objective_or_schedule(make, match):
    with pytest.raises(OptionError, match=match):
        make()


def test_penalty_by_two_groups_covers_the_others():
    strengths = pcb.Penalty(l1={"drug_to_node": 1, "node_to_node": 2}).strengths("l1")
    assert strengths == {
        "drug_to_node": 1.0, "drug_shared": 1.0, "node_to_node": 2.0, "node_to_phenotype": 2.0,
    }  # fmt: skip


def test_learning_rate_warms_up_and_falls():
    stage = pcb.Stage(100, warmup=10, decay="cosine")
    assert stage.factor(0) == pytest.approx(0.1)
    assert stage.factor(50) == pytest.approx(0.5)
    assert stage.factor(99) < 0.001


@pytest.mark.parametrize("name", SOLVERS)
def test_solvers_go_through_plain_values(name):
    solver = SOLVERS[name]() if name in ("Tsit5", "Adaptive") else SOLVERS[name](0.05)
    assert solver_from_dict(solver_to_dict(solver)) == solver


@pytest.mark.parametrize("value", [1.0, 0, True])
def test_a_mask_of_more_nodes_than_can_be_is_refused_before_it_is_copied(value):
    with pytest.raises(OptionError, match=r"mask.*at most 20,000 nodes"):
        pcb.CellBox(mask=np.broadcast_to(value, (10**7, 10**7)))
