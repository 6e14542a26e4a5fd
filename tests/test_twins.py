"""Which conditions are replicates of each other, and what follows: splits, noise, joined data."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import pycellbox as pcb
from pycellbox.baselines import Ridge
from pycellbox.data import drugs_of, in_unit, pooled_sigma, validate
from pycellbox.data.joining import joined
from pycellbox.data.replicates import replicates_across, twins_of
from pycellbox.errors import DataError

INF, NAN = np.inf, np.nan
NODES = ["A", "B", "drug", "ligand"]
LEVELS = ("condition", "node")


def dataset(inputs, starts=None, *, times=(0.0, 10.0, 30.0), units="min"):
    """Conditions with the doses of drug and ligand in each phase, (condition, phase, 2)."""
    inputs = np.asarray(inputs, dtype=float)
    c, p, _ = inputs.shape
    u = np.zeros((c, p, 4))
    u[..., 2:] = inputs
    x = np.random.default_rng(0).normal(0, 1, (c, len(times), 4))
    data = xr.Dataset(
        {
            "perturbation": (("condition", "phase", "node"), u),
            "response": (("condition", "time", "node"), x),
        },
        {
            "condition": [f"c{i}" for i in range(c)], "node": NODES, "time": list(times),
            "node_kind": ("node", ["protein", "protein", "drug", "drug"]),
        },
    )  # fmt: skip
    data["time"].attrs["units"] = units
    if starts is None:
        return validate(data.isel(phase=0))
    starts = np.asarray(starts, dtype=float)
    dims = ("phase",) if starts.ndim == 1 else ("condition", "phase")
    return validate(data.assign_coords(phase_start=(dims, starts, {"units": units})))


def partition(data):
    group = twins_of(data)
    labels = data["condition"].values
    return sorted(tuple(labels[group == g].tolist()) for g in np.unique(group))


PULSES = [[[0, 0], [0, 1], [0, 0]]] * 2 + [[[0, 0], [0, 0], [0, 0]]]


def assigned(**variables):
    def change(data):
        shapes = {1: ("condition",), 2: LEVELS}
        return validate(
            data.assign({k: (shapes[np.ndim(v)], np.asarray(v)) for k, v in variables.items()})
        )

    return change


def low(condition, level=-4.0):
    values = np.full((3, 4), np.nan)
    values[condition, 0] = level
    return values


@pytest.mark.parametrize(
    ("inputs", "starts", "change", "groups"),
    [
        (PULSES, [-INF, 0, 10], None, [("c0", "c1"), ("c2",)]),
        # At other times, though the inputs are the same; and beginning earlier.
        (PULSES, [[-INF, 0, 10], [-INF, 0, 20], [-INF, 0, 10]], None, [("c0",), ("c1",), ("c2",)]),
        (PULSES, [[-5, 0, 10], [-9, 0, 10], [-9, 0, 10]], None, [("c0",), ("c1",), ("c2",)]),
        # The same inputs over time in other phases.
        ([[[0, 0], [0, 1], [0, 1]], [[0, 0], [0, 1], [9, 9]], [[1, 0]] * 3],
         [[-INF, 0, 10], [-INF, 0, NAN], [-INF, 0, 10]], None, [("c0", "c1"), ("c2",)]),
        # Doses up to rounding, and starts.
        ([[[0.3, 0], [0, 1]], [[0.1 + 0.2, 0], [0, 1]], [[0.3, 0], [0, 2]]],
         [[-INF, 0], [-INF, 0], [-INF, 0]], None, [("c0", "c1"), ("c2",)]),
        # Pre-treatments that differ, all else equal.
        ([[[1, 0], [0, 1]], [[2, 0], [0, 1]], [[2, 0], [0, 1]]], [-INF, 0], None,
         [("c0",), ("c1", "c2")]),
        ([[[1, 0]]] * 3, None, assigned(held=low(1)), [("c0", "c2"), ("c1",)]),
        ([[[1, 0]]] * 3, None, assigned(held=low([0, 1]), held_fitted=low(0) == -4),
         [("c0",), ("c1",), ("c2",)]),
        ([[[1, 0]]] * 3, None, assigned(held=np.add(low([0, 1, 2]), [[0], [0], [1]])),
         [("c0", "c1"), ("c2",)]),
        ([[[1, 0]]] * 3, None, assigned(initial_state=low(2, 0.5)), [("c0", "c1"), ("c2",)]),
        ([[[1, 0]]] * 3, None, assigned(subject=["m1", "m2", "m1"]), [("c0", "c2"), ("c1",)]),
        # Told: by label of another, by a name, and a chain of both.
        ([[[1, 0]], [[2, 0]], [[3, 0]]], None, assigned(replicate_of=["", "c0", ""]),
         [("c0", "c1"), ("c2",)]),
        ([[[1, 0]], [[2, 0]], [[3, 0]]], None, assigned(replicate_of=["x", "", "x"]),
         [("c0", "c2"), ("c1",)]),
        ([[[1, 0]], [[2, 0]], [[2, 0]]], None, assigned(replicate_of=["c1", "", ""]),
         [("c0", "c1", "c2")]),
    ],
)  # fmt: skip
def test_what_is_treated_alike_or_said_to_be(inputs, starts, change, groups):
    data = dataset(inputs, starts)
    assert partition(data if change is None else change(data)) == groups


def random_pulses(c=12):
    doses = np.random.default_rng(3).integers(0, 2, (c, 3, 2)).astype(float)
    doses[:, 0] = doses[: c // 2, 0].repeat(2, axis=0)
    doses[:, 1:] = 0.1 * np.arange(c)[:, None, None]
    return dataset(doses, [-INF, 0, 10])


@pytest.mark.parametrize("way", ["random", "drug", "share"])
def test_replicates_of_other_treatments_stay_on_one_side(way):
    data = random_pulses()
    names = np.repeat([f"r{i}" for i in range(6)], 2)
    data = validate(data.assign_coords(replicate_of=("condition", names)))
    name = dict(zip(data["condition"].values, names, strict=True))
    for seed in range(8):
        if way == "share":
            _, roles = pcb.fitting.roles.split_roles(data, 0.3, seed)
            parts = [set(names[roles == role]) for role in ("train", "validation")]
        else:
            ways = {
                "random": lambda s: pcb.splits.random(data, seed=s),
                "drug": lambda s: pcb.splits.leave_one_drug_out(
                    data.isel(condition=slice(4, None)), keep_singles=False, drug="drug", seed=s
                ),
            }
            if way == "drug":
                data["perturbation"][4:8] = 0
                data["perturbation"][4, 1, 2] = 1
                data["perturbation"][8:] = 0
                data["perturbation"][8:, 1, 3] = np.arange(1, 5)
            split = ways[way](seed)
            parts = [
                {name[c] for c in part} for part in (split.train, split.validation, split.test)
            ]
        assert sum(map(len, parts)) == len(set.union(*parts))


def test_a_drug_is_one_in_whatever_phase():
    data = dataset(
        [[[1, 0], [0, 0]], [[0, 0], [0, 1]], [[1, 0], [0, 1]], [[0, 0], [0, 0]]], [-INF, 0]
    )
    assert drugs_of(data) == [("drug",), ("ligand",), ("drug", "ligand"), ()]
    split = pcb.splits.single_to_combo(data, train_fraction=1)
    assert split.test == ("c2",)


@pytest.mark.parametrize("by_time", [False, True])
def test_noise_of_replicates(by_time):
    doses = np.repeat(np.arange(20.0), 3)[:, None, None] * [1, 0]
    data = dataset(doses, times=(0.0, 1.0))
    data["response"][::7, 0, :2] = np.nan
    sigma = pooled_sigma(data, by_time=by_time)
    assert sigma.dims == data["response"].dims
    # Once more, with pandas.
    long = data["response"].assign_coords(dose=("condition", doses[:, 0, 0])).to_dataframe()
    groups = long.reset_index().groupby(["dose", "time", "node"], sort=False)["response"]
    each = groups.agg(variance="var", freedom=lambda y: max(y.count() - 1, 0)).fillna(0)
    each["squares"] = each["variance"] * each["freedom"]
    pooled = each.groupby(["time", "node"] if by_time else "node").sum()
    expected = np.sqrt(pooled["squares"] / pooled["freedom"]).to_xarray().sel(node=NODES)
    np.testing.assert_allclose(sigma, np.broadcast_to(expected, sigma.shape), rtol=1e-12)
    validate(data.assign(sigma=sigma))


def test_noise_where_there_are_few_replicates():
    data = dataset([[[1, 0]], [[1, 0]], [[2, 0]]], times=(0.0, 1.0))
    y = np.zeros((3, 2, 4))
    y[0, :, 0], y[0, :, 1], y[:, :, 3] = 1, NAN, NAN
    y[:, :, 1] = [[NAN, NAN], [1, 2], [3, 4]]
    data["response"][...] = y
    one = np.sqrt(0.5)  # of A; B and ligand have no replicates, and drug no spread
    pooled = np.sqrt(0.5 * 2 / 4)
    found = pooled_sigma(data).values[0, 0]
    np.testing.assert_allclose(found, [one, pooled, 0.1 * np.median([one, pooled, pooled]), pooled])
    with pytest.raises(DataError, match="standard deviation of 0; give a floor"):
        pooled_sigma(data, floor=0)
    with pytest.raises(DataError, match=r"nothing was measured in two .*replicate_of"):
        pooled_sigma(data.isel(condition=[0, 2]))
    data["response"][0] = data["response"][1]
    with pytest.raises(DataError, match="exactly the same responses"):
        pooled_sigma(data)


# ---- datasets joined: one has phases, holds, subjects, and the other has not


PLAIN = [[[1, 0]], [[0, 1]]]
PHASED = [[[1, 0], [0, 1], [0, 0]], [[0, 0], [1, 1], [1, 0]]]


def renamed(data):
    return data.assign_coords(condition=[f"v{i}" for i in range(data.sizes["condition"])])


def test_joined_phases_are_each_conditions_own():
    one, other = dataset(PLAIN), renamed(dataset(PHASED, [-INF, 0, 10]))
    for first, second, order in ((one, other, [0, 1, 2, 3]), (other, one, [2, 3, 0, 1])):
        both = validate(joined(first, second)).isel(condition=order)
        np.testing.assert_array_equal(
            both["phase_start"], [[0, NAN, NAN]] * 2 + [[-INF, 0, 10]] * 2
        )
        np.testing.assert_array_equal(both["perturbation"][:2, 0], one["perturbation"])
        np.testing.assert_array_equal(both["perturbation"][2:], other["perturbation"])
    same = joined(other, other.assign_coords(condition=["a", "b"]))
    assert same["phase_start"].dims == ("phase",)


def test_joined_holds_and_labels_are_absent_where_nothing_was_said():
    one = dataset(PLAIN)
    held = np.array([[NAN, -4, NAN, NAN], [NAN] * 4])
    other = renamed(one).assign(
        held=(LEVELS, held), held_fitted=(LEVELS, held == -4),
        initial_state=(LEVELS, np.ones((2, 4))),
        subject=("condition", ["m", ""]), replicate_of=("condition", ["", "c0"]),
    )  # fmt: skip
    other = validate(other)
    for both in (joined(one, other), joined(other, one).isel(condition=[2, 3, 0, 1])):
        both = validate(both)
        np.testing.assert_array_equal(both["held"], np.concatenate([np.full((2, 4), NAN), held]))
        assert both["held_fitted"].dtype == bool
        assert both["subject"].values.tolist() == ["", "", "m", ""]
        assert partition(both)[0] == ("c0", "v1")


def test_replicates_across_datasets():
    one, other = dataset(PHASED, [-INF, 0, 10]), dataset(PLAIN + PLAIN)
    asked, seen = replicates_across(one, other)
    assert not set(asked) & set(seen)
    asked, seen = replicates_across(one, joined(other, renamed(one)))
    assert asked.tolist() == seen[-2:].tolist()


# ---- units of time


UNITS = [("h", 60), ("s", 1 / 60), ("d", 1440), ("minutes", 1)]


@pytest.mark.parametrize(("unit", "minutes"), UNITS)
def test_a_dataset_in_another_unit(unit, minutes):
    data = dataset(PHASED, [-INF, 0, 10])
    other = in_unit(data, unit)
    np.testing.assert_allclose(other["time"], data["time"] / minutes, rtol=1e-15)
    np.testing.assert_allclose(other["phase_start"][1:], data["phase_start"][1:] / minutes)
    assert other["time"].attrs["units"] == other["phase_start"].attrs["units"] == unit
    validate(other)
    x = in_unit(data["response"], unit)
    assert x["time"].attrs["units"] == unit
    with pytest.raises(DataError, match="'parsecs' is no unit that is converted"):
        in_unit(data, "parsecs")


@pytest.mark.parametrize(("unit", "minutes"), UNITS)
@pytest.mark.filterwarnings("ignore::pycellbox.DataWarning")
def test_what_meets_a_fit_may_be_in_another_unit(unit, minutes):
    times = (0.0, 7.0, 10.0, 30.0)  # 7 min are no exact number of hours
    doses = np.random.default_rng(2).normal(0, 1, (8, 1, 2))
    data = dataset(doses, times=times)
    other = in_unit(data, unit)
    train, judge = slice(0, 6), slice(6, None)

    def fitted(validation):
        return pcb.fit(
            data.isel(condition=train), pcb.CellBox(), validation=validation, backend="numpy",
            solver=pcb.Heun(1.0), schedule=pcb.Stage(3), progress=False,
        )  # fmt: skip

    fit = fitted(data.isel(condition=judge))
    xr.testing.assert_identical(fitted(other.isel(condition=judge)).data, fit.data)
    wanted, found = (fit.evaluate(d.isel(condition=judge)) for d in (data, other))
    assert found.table.equals(wanted.table)
    for name, predicted in found.predictions.items():
        xr.testing.assert_identical(predicted["time"], other["time"])
        np.testing.assert_array_equal(predicted, wanted.predictions[name])
        assert pcb.metrics.mse(predicted, data["response"][judge]) == pcb.metrics.mse(
            wanted.predictions[name], data["response"][judge]
        )


# ---- baselines: doses in every phase are inputs


def test_baselines_take_every_phase_that_varies():
    """A pre-treatment and a pulse, each of which moves a response of its own."""
    rng = np.random.default_rng(1)
    doses = np.zeros((24, 3, 2))
    doses[:, 0, 0], doses[:, 1, 1] = rng.normal(0, 1, (2, 24))
    doses[:, 1:, 0] = doses[:, :1, 0]  # goes on: one input, not three
    data = dataset(doses, [-INF, 0, 10])
    held = np.where(np.arange(24) % 2, NAN, -1.0)[:, None] * [1, NAN, NAN, NAN]
    data = validate(data.assign(held=(LEVELS, held)))
    data["response"][..., 0] = doses[:, 0, 0, None] * [1, 2, 3]
    data["response"][..., 1] = doses[:, 1, 1, None] * [3, 2, 1]
    data["response"][..., 2] = np.nan_to_num(held[:, :1]) * [1, 1, 1]
    data["response"][..., 3] = 0
    train, test = data.isel(condition=slice(0, 16)), data.isel(condition=slice(16, None))
    ridge = Ridge(alphas=(1e-9,)).fit(train)
    assert ridge._fitted.map.effects.shape[0] == 3
    for asked in (test, in_unit(test, "h"), test.isel(node=[3, 1, 0, 2])):
        np.testing.assert_allclose(ridge.predict(asked), test["response"], atol=1e-6)
    # Other phases, with the same doses at the times that count.
    shorter = test.isel(phase=[0, 1, 2, 2]).assign_coords(phase_start=("phase", [-INF, 0, 10, 90]))
    shorter["phase_start"].attrs["units"] = "min"
    np.testing.assert_allclose(ridge.predict(shorter), test["response"], atol=1e-6)
    with pytest.raises(DataError, match="differ in 1 node"):
        ridge.predict(test.isel(node=[0, 1, 2]))
