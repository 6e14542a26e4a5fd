"""Every split parts the conditions, keeps replicates together and is the same for the same seed."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from pycellbox import splits
from pycellbox.data.replicates import twins_of
from pycellbox.errors import DataError

SEEDS = st.integers(0, 2**32 - 1)
FRACTIONS = st.floats(0.05, 0.95)


@st.composite
def designs(draw: st.DrawFn) -> xr.Dataset:
    """Doses of up to three drugs, many conditions the same up to rounding."""
    drugs = draw(st.integers(1, 3))
    # Levels far apart, so that rounding alone makes no chain from one to the next.
    dose = st.sampled_from([0.0, 0.0, -1.0, 0.5, 3.0])
    kinds = draw(st.lists(st.tuples(*[dose] * drugs), min_size=1, max_size=8, unique=True))
    rows = draw(st.lists(st.sampled_from(kinds), min_size=1, max_size=25))
    rounding = draw(st.lists(st.sampled_from([0.0, 1e-7]), min_size=len(rows), max_size=len(rows)))
    doses = np.array(rows) * (1 + np.array(rounding))[:, None]
    u = np.column_stack([np.zeros(len(rows)), doses])
    labels = draw(st.permutations([f"c{i}" for i in range(len(rows))]))
    coords = {"condition": labels, "node": ["P", *(f"D{j}" for j in range(drugs))]}
    return xr.Dataset({"perturbation": (("condition", "node"), u)}, coords)


def drawn(draw, data, **options):
    """The splits, or none where there are too few conditions for them."""
    try:
        found = draw(data, **options)
    except DataError:
        return []
    return found if isinstance(found, list) else [found]


WAYS = [
    splits.random,
    splits.single_to_combo,
    lambda data, **options: splits.leave_one_drug_out(data, keep_singles=True, **options),
    lambda data, **options: splits.leave_one_drug_out(data, keep_singles=False, **options),
]


@pytest.mark.parametrize("way", WAYS, ids=["random", "singles", "with singles", "without"])
@given(designs(), SEEDS, FRACTIONS | st.just(1.0), st.booleans())
def test_every_condition_is_in_one_part(way, data, seed, train_fraction, together):
    options = {"seed": seed, "train_fraction": train_fraction, "together": together}
    for split in drawn(way, data, **options):
        parts = (*split.train, *split.validation, *split.test)
        assert sorted(parts) == sorted(data["condition"].values.tolist())
        assert split.train
        assert split.test
        train, validation, test = split.apply(data)
        assert (*train["condition"].values, *validation["condition"].values) == split.fit
        assert tuple(test["condition"].values) == split.test
    assert drawn(way, data, **options) == drawn(way, data.copy(deep=True), **options)


@pytest.mark.parametrize("way", WAYS, ids=["random", "singles", "with singles", "without"])
@given(designs(), SEEDS, FRACTIONS)
def test_replicates_are_in_one_part(way, data, seed, train_fraction):
    group = dict(zip(data["condition"].values, twins_of(data), strict=True))
    for split in drawn(way, data, seed=seed, train_fraction=train_fraction):
        parts = [{group[label] for label in p} for p in (split.train, split.validation, split.test)]
        assert sum(map(len, parts)) == len(set.union(*parts))


@given(designs(), SEEDS, FRACTIONS, FRACTIONS)
def test_parts_have_the_sizes_asked_for(data, seed, fit_fraction, train_fraction):
    fractions = {"fit_fraction": fit_fraction, "train_fraction": train_fraction}
    n = data.sizes["condition"]
    fit = int(n * fit_fraction)
    for split in drawn(splits.random, data, seed=seed, together=False, **fractions):
        assert len(split.fit) == fit
        assert len(split.train) == int(fit * train_fraction)
    # With replicates together a part is off by less than the largest group of them.
    largest = np.bincount(twins_of(data)).max()
    for split in drawn(splits.random, data, seed=seed, **fractions):
        assert abs(len(split.fit) - fit) < largest
        assert abs(len(split.train) - int(len(split.fit) * train_fraction)) < largest


@given(designs(), SEEDS)
def test_the_test_is_chosen_by_perturbation_alone(data, seed):
    perturbed = (data["perturbation"].values[:, 1:] != 0).sum(axis=1)
    combined = dict(zip(data["condition"].values, perturbed >= 2, strict=True))
    for split in drawn(splits.single_to_combo, data, seed=seed):
        assert all(combined[label] for label in split.test)
        assert not any(combined[label] for label in split.fit)
    for split in drawn(WAYS[3], data, seed=seed):
        drug = split.name.split()[1]
        doses = data["perturbation"].sel(node=drug)
        assert (doses.sel(condition=list(split.test)) != 0).all()
        assert not (doses.sel(condition=list(split.fit)) != 0).any()
