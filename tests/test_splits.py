from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import xarray as xr

from pycellbox import splits
from pycellbox.errors import DataError


def dataset(doses):
    doses = np.asarray(doses, dtype=float)
    n, k = doses.shape
    nodes = ["P", *(f"D{j}" for j in range(k))]
    return xr.Dataset(
        {
            "perturbation": (("condition", "node"), np.column_stack([np.zeros(n), doses])),
            "response": (("condition", "node"), np.arange(n * (k + 1.0)).reshape(n, k + 1)),
        },
        coords={"condition": [f"c{i}" for i in range(n)], "node": nodes},
    )


@pytest.fixture
def pairs():
    """A control (c0), three singles (c1-c3) and three pairs (c4-c6)."""
    return dataset(
        [[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [1, 0, 1], [0, -1, 1]],
    )


def test_random_is_the_published_draw():
    data = dataset(np.ones((89, 1)))
    rows = np.random.RandomState(1003).permutation(89)
    split = splits.random(data, seed=1003)
    drawn = [f"c{i}" for i in rows]
    assert split.train == tuple(drawn[:49])
    assert split.validation == tuple(drawn[49:62])
    assert split.test == tuple(drawn[62:])


def test_random_parts_follow_the_fractions():
    split = splits.random(dataset(np.ones((20, 1))), seed=0, fit_fraction=0.5, train_fraction=0.6)
    assert [len(p) for p in (split.train, split.validation, split.test)] == [6, 4, 10]


def test_train_fraction_one_leaves_no_validation():
    split = splits.random(dataset(np.ones((10, 1))), seed=0, train_fraction=1)
    assert split.validation == ()
    assert len(split.train) == 7


def test_fit_is_train_then_validation():
    split = splits.Split("s", ("a",), ("b",), ("c",))
    assert split.fit == ("a", "b")


def test_apply_cuts_every_variable_in_the_order_drawn(pairs):
    split = splits.Split("s", ("c5", "c1"), ("c0",), ("c2",))
    train, validation, test = split.apply(pairs)
    xr.testing.assert_identical(train, pairs.sel(condition=["c5", "c1"]))
    assert validation.condition.item() == "c0"
    assert test.condition.item() == "c2"


def test_apply_gives_an_empty_validation_set(pairs):
    _, validation, _ = splits.Split("s", ("c1",), (), ("c2",)).apply(pairs)
    assert validation.sizes["condition"] == 0


def test_apply_names_a_condition_the_data_lacks(pairs):
    with pytest.raises(DataError, match=r"lacks 1 condition.*'nowhere'"):
        splits.Split("s", ("nowhere",), (), ("c2",)).apply(pairs)


def test_a_condition_is_used_once():
    with pytest.raises(DataError, match="'a' more than once"):
        splits.Split("s", ("a",), ("a",), ("b",))


def test_a_split_has_a_test():
    with pytest.raises(DataError, match="'s' has no test condition"):
        splits.Split("s", ("a",), (), ())


def test_split_is_frozen_and_prints_short():
    split = splits.Split("s", ("a",), ("b",), ("c", "d"))
    assert repr(split) == "Split('s': 1 train, 1 validation, 2 test)"
    with pytest.raises(dataclasses.FrozenInstanceError):
        split.name = "t"


def test_leave_one_drug_out_makes_a_split_for_each_perturbed_node(pairs):
    found = splits.leave_one_drug_out(pairs, keep_singles=False)
    assert [s.name for s in found] == [f"leave D{j} out, without singles" for j in range(3)]


def test_keep_singles_tests_only_combinations(pairs):
    split = splits.leave_one_drug_out(pairs, keep_singles=True, drug="D1")
    assert set(split.test) == {"c4", "c6"}
    assert "c2" in split.fit


def test_without_singles_the_fit_never_sees_the_drug(pairs):
    split = splits.leave_one_drug_out(pairs, keep_singles=False, drug="D1")
    assert split.test == ("c2", "c4", "c6")
    assert not (pairs.perturbation.sel(condition=list(split.fit), node="D1") != 0).any()


def test_leave_one_drug_out_is_reproducible_and_uses_the_seed():
    data = dataset(np.eye(12))
    one, same, other = (
        splits.leave_one_drug_out(data, keep_singles=False, drug="D0", seed=s) for s in (1, 1, 2)
    )
    assert one == same
    assert one.train != other.train


def test_leave_one_drug_out_unknown_drug(pairs):
    with pytest.raises(DataError, match=r"'P' is perturbed in no condition.*D0, D1, D2"):
        splits.leave_one_drug_out(pairs, keep_singles=True, drug="P")


def test_leave_one_drug_out_without_combinations():
    with pytest.raises(DataError, match="'D0' is in no combination"):
        splits.leave_one_drug_out(dataset(np.eye(3)), keep_singles=True)


def test_leave_one_drug_out_when_every_condition_has_the_drug():
    with pytest.raises(DataError, match="leaves 0 condition"):
        splits.leave_one_drug_out(dataset(np.ones((4, 1))), keep_singles=False)


def test_leave_one_drug_out_without_any_perturbation():
    with pytest.raises(DataError, match="no drug to leave out"):
        splits.leave_one_drug_out(dataset(np.zeros((4, 2))), keep_singles=False)


def test_single_to_combo_fits_singles_and_controls(pairs):
    split = splits.single_to_combo(pairs)
    assert set(split.fit) == {"c0", "c1", "c2", "c3"}
    assert split.test == ("c4", "c5", "c6")


def test_single_to_combo_without_combinations():
    with pytest.raises(DataError, match="no combination"):
        splits.single_to_combo(dataset(np.eye(3)))


def test_single_to_combo_without_singles():
    with pytest.raises(DataError, match="no single perturbation"):
        splits.single_to_combo(dataset(np.ones((3, 2))))


def test_too_few_conditions():
    with pytest.raises(DataError, match="too few conditions"):
        splits.random(dataset(np.ones((1, 1))), seed=0)


@pytest.mark.parametrize(("name", "value"), [("fit_fraction", 1.0), ("train_fraction", 0.0)])
def test_fractions_are_checked(pairs, name, value):
    with pytest.raises(DataError, match=f"{name} is {value}"):
        splits.random(pairs, seed=0, **{name: value})


def test_perturbation_is_needed(pairs):
    with pytest.raises(DataError, match="no variable 'perturbation'"):
        splits.random(pairs.drop_vars("perturbation"), seed=0)


def test_melanoma_drugs_and_singles(melanoma_dir):
    doses = np.loadtxt(melanoma_dir / "pert.csv", delimiter=",")
    data = dataset(doses[:, doses.any(axis=0)])
    split = splits.single_to_combo(data)
    assert (len(split.fit), len(split.test)) == (23, 66)
    assert len(splits.leave_one_drug_out(data, keep_singles=True)) == 12
