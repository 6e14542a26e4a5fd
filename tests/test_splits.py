from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import xarray as xr

from pycellbox import splits
from pycellbox.data.replicates import dose_levels, replicates_across, take_whole, twins_of
from pycellbox.errors import DataError, OptionError


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


def distinct(n):
    return dataset(np.arange(1.0, n + 1)[:, None])


@pytest.fixture
def pairs():
    """A control (c0), three singles (c1-c3) and three pairs (c4-c6)."""
    return dataset(
        [[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [1, 0, 1], [0, -1, 1]],
    )


def test_random_is_the_published_draw():
    data = dataset(np.ones((89, 1)))  # nothing but replicates
    rows = np.random.RandomState(1003).permutation(89)
    split = splits.random(data, seed=1003, together=False)
    drawn = [f"c{i}" for i in rows]
    assert split.train == tuple(drawn[:49])
    assert split.validation == tuple(drawn[49:62])
    assert split.test == tuple(drawn[62:])


def test_random_parts_follow_the_fractions():
    split = splits.random(distinct(20), seed=0, fit_fraction=0.5, train_fraction=0.6)
    assert [len(p) for p in (split.train, split.validation, split.test)] == [6, 4, 10]


def test_train_fraction_one_leaves_no_validation():
    split = splits.random(distinct(10), seed=0, train_fraction=1)
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
    with pytest.raises(OptionError, match=r"'P' is perturbed in no condition.*D0, D1, D2"):
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
    with pytest.raises(OptionError, match=f"{name}={value}; it needs a finite number"):
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


# ---- replicates

#: What a dose may look like after a sum, a text file, float32, or a subtraction that leaves zero.
SAME = [
    (0.3, 0.1 + 0.2),
    (0.1, float(np.float32(0.1))),
    (1.23456789, 1.23457),
    (0.0, -0.0),
    (-2e-9, -2.000000001e-9),
    (0.0, 0.3 - 3 * 0.1),
    (1e6, 1e6 + 1e-3),
]
OTHER = [(1.0, 1.001), (1e-9, 2e-9), (0.5, -0.5), (0.0, 1e-6)]


@pytest.mark.parametrize(("pair", "same"), [(p, 1) for p in SAME] + [(p, 0) for p in OTHER])
def test_replicates_are_equal_up_to_rounding(pair, same):
    doses = np.array([[pair[0], 1.0], [pair[1], 1.0], [7.0, 0.0]])
    group = twins_of(dataset(doses))
    assert (group[0] == group[1]) == bool(same)
    assert group[2] not in group[:2]


def test_dose_levels_rise_from_not_perturbed():
    doses = [[-2.0, 0.0], [-1.0, 0.0], [0.0, 0.5], [3.0, 0.5 + 1e-9], [-1.0, 20.0]]
    np.testing.assert_array_equal(dose_levels(doses), [[-2, 0], [-1, 0], [0, 1], [1, 1], [-1, 2]])
    assert dose_levels(np.empty((0, 3))).shape == (0, 3)


def test_replicates_are_found_by_node_label():
    design = dataset([[1, 0], [0, 1], [0, 0], [0, 1]])[["perturbation"]]
    asked = design.isel(condition=[3, 0], node=[2, 0, 1])
    asked = xr.concat([asked, asked.isel(condition=[0]) + 5], "condition")
    ours, theirs = replicates_across(asked, design)
    same = ours[:, None] == theirs
    np.testing.assert_array_equal(same, [[0, 1, 0, 1], [1, 0, 0, 0], [0, 0, 0, 0]])


@pytest.mark.parametrize("count", range(8))
def test_groups_are_taken_whole(count):
    group = np.array([0, 1, 0, 2, 3, 3, 3])
    order = np.array([3, 0, 4, 1, 2, 6, 5])  # first members: of 2, 0, 3, 1
    taken = np.sort(order[take_whole(order, group, count)]).tolist()
    whole = {
        0: [], 1: [3], 2: [1, 3], 3: [0, 2, 3], 4: [0, 1, 2, 3], 5: [0, 1, 2, 3],
        6: [0, 2, 3, 4, 5, 6], 7: [0, 1, 2, 3, 4, 5, 6],
    }  # fmt: skip
    assert taken == whole[count]


def ways(**options):
    """Every way to split, on one dataset."""
    return {
        "random": lambda d, s: [splits.random(d, seed=s, **options)],
        "singles": lambda d, s: [splits.single_to_combo(d, seed=s, **options)],
        "one out": lambda d, s: splits.leave_one_drug_out(d, seed=s, keep_singles=False, **options),
        "with singles": lambda d, s: splits.leave_one_drug_out(
            d, seed=s, keep_singles=True, **options
        ),
    }


def parted(split, group):
    """How many perturbations stand in more than one part."""
    parts = [{group[label] for label in part} for part in (split.train, split.validation)]
    parts.append({group[label] for label in split.test})
    return sum(len(a & b) for i, a in enumerate(parts) for b in parts[:i])


def replicated(pairs):
    """Controls thrice, everything else twice; one of each pair as rounding leaves it."""
    doses = pairs["perturbation"].values[:, 1:]
    return dataset(np.concatenate([doses, doses * (1 + 1e-9), -doses[:1]]))


@pytest.mark.parametrize("way", list(ways()))
@pytest.mark.parametrize("course", [False, True])
def test_replicates_stay_in_one_part(pairs, way, course):
    data = replicated(pairs)
    group = dict(zip(data["condition"].values, twins_of(data), strict=True))
    if course:
        data = data.assign(response=data["response"].expand_dims(time=[1.0, 2.0]))
    found = [split for seed in range(20) for split in ways()[way](data, seed)]
    assert all(parted(split, group) == 0 for split in found)
    assert all(sorted(s.fit + s.test) == sorted(map(str, group)) for s in found)
    assert any(split.validation for split in found)
    published = [s for seed in range(20) for s in ways(together=False)[way](data, seed)]
    assert any(parted(split, group) for split in published)


@pytest.mark.parametrize("way", list(ways()))
def test_without_replicates_both_draws_are_one(pairs, way):
    for seed in range(10):
        assert ways()[way](pairs, seed) == ways(together=False)[way](pairs, seed)


def test_parts_keep_their_size_where_single_conditions_can_fill_them():
    doses = np.arange(1.0, 41)
    doses[[3, 9, 20]] = doses[[30, 14, 39]]
    for seed in range(20):
        split = splits.random(dataset(doses[:, None]), seed=seed, fit_fraction=0.5)
        assert len(split.fit) == 20


def test_conditions_that_are_all_replicates_cannot_be_split():
    with pytest.raises(DataError, match=r"all 6 conditions are replicates.*together=False"):
        splits.random(dataset(np.ones((6, 1))), seed=0)
    assert len(splits.random(dataset(np.ones((6, 1))), seed=0, together=False).test) == 2


def test_a_split_needs_finite_perturbations(pairs):
    pairs["perturbation"][1, 1] = np.nan
    with pytest.raises(DataError, match="condition 'c1', node 'D0' is NaN or infinite"):
        splits.random(pairs, seed=0)


def numbers(data, parts):
    return [[int(label[1:]) for label in split.test] for split in parts]


def test_folds_keep_replicates_together_and_are_the_plain_draw_without():
    drawn = np.random.default_rng(4).permutation(11) % 3
    parts = splits.k_fold(distinct(11), 3, seed=4)
    assert numbers(distinct(11), parts) == [np.flatnonzero(drawn == k).tolist() for k in range(3)]
    twins = dataset(np.array([1.0, 2, 3, 4, 4, 3, 2, 1, 1])[:, None])
    for seed in range(10):
        for fold in numbers(twins, splits.k_fold(twins, 4, seed=seed)):
            assert sorted(fold) in ([0, 7, 8], [1, 6], [2, 5], [3, 4])
    alone = splits.k_fold(twins, 3, by="condition")
    assert sorted(map(len, numbers(twins, alone))) == [3, 3, 3]


def test_folds_by_drug_leave_combinations_out_with_each_drug(pairs):
    parts = splits.k_fold(pairs, by="drug")
    assert [split.name for split in parts] == ["without D0", "without D1", "without D2"]
    assert numbers(pairs, parts) == [[1, 4, 5], [2, 4, 6], [3, 5, 6]]
    assert all(set(split.fit) | set(split.test) == set(pairs["condition"].values)
               for split in parts)  # fmt: skip
    two = splits.k_fold(pairs, 2, by="drug", seed=1)
    assert {len(split.name.split(", ")) for split in two} == {1, 2}
    always = pairs.isel(condition=[1, 4, 5])
    assert [split.name for split in splits.k_fold(always, by="drug")] == [
        "without D1", "without D2",
    ]  # fmt: skip
    # A replicate by its name goes with the drug's conditions.
    named = pairs.assign_coords(replicate_of=("condition", ["c1", *[""] * 6]))
    assert numbers(named, splits.k_fold(named, by="drug"))[0] == [0, 1, 4, 5]


def test_folds_by_a_coordinate_keep_its_labels_together():
    data = distinct(7).assign_coords(batch=("condition", ["x", "x", "", "y", "", "y", "x"]))
    folds = numbers(data, splits.k_fold(data, 4, by="batch"))
    assert sorted(folds) == [[0, 1, 6], [2], [3, 5], [4]]


@pytest.mark.parametrize(
    ("doses", "given", "match"),
    [
        (np.arange(1.0, 4), {"folds": 4}, "folds=4; it needs an integer from 2 to 3"),
        (np.arange(1.0, 4), {"folds": 1}, "folds=1"),
        (np.arange(1.0, 4), {"by": "replicates"}, "did you mean 'replicate'"),
        (np.arange(1.0, 4), {"by": "role"}, "by='role' is nothing to make folds by"),
        (np.arange(1.0, 4), {"by": "drug"}, "each condition has all drugs"),
        (np.zeros(3), {"by": "drug"}, "no node is perturbed"),
        (np.ones(3), {}, "one group of replicates"),
        (np.ones(1), {"by": "condition"}, "one condition"),
    ],
)
def test_folds_that_cannot_be_are_refused(doses, given, match):
    with pytest.raises((DataError, OptionError), match=match):
        splits.k_fold(dataset(doses[:, None]), **given)
