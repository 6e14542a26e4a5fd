"""Models of every option over nodes of any kinds, drawn by hypothesis."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from pycellbox.models import ENVELOPES, FORMS, CellBox, Structure
from pycellbox.problem import Parameters

KINDS = ("protein", "phenotype", "drug")


@st.composite
def structures(draw: st.DrawFn) -> Structure:
    """A model with any combination of options, over one to six nodes."""
    kinds = draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=6))
    n = len(kinds)
    envelope = draw(st.sampled_from(ENVELOPES))
    form = draw(st.sampled_from(FORMS))
    model = CellBox(
        envelope=envelope,
        form=form,
        degree=draw(st.sampled_from((1, 2))),
        order=draw(st.integers(2, 5)) if envelope in ("polynomial", "hill") else None,
        drugs=draw(st.sampled_from(("input", "clamped") if "drug" in kinds else ("input",))),
        dose_saturation=draw(st.none() | st.just(0.0) | st.floats(0.05, 3.0)),
        response_range=draw(st.sampled_from(("free", "held")[: 1 + (form in (0, 1, 2))])),
        drug_columns=draw(st.sampled_from(("free", "shared"))),
        operating_point=form == 0 and draw(st.booleans()),
        common_effect=form == 0 and draw(st.booleans()),
        drugs_on_phenotypes=draw(st.booleans()),
        self_interaction=draw(st.booleans()),
        mask=draw(st.none() | st.builds(random_mask, st.just(n), st.integers(0, 2**32 - 1))),
    )
    return Structure.over(model, [f"n{i}" for i in range(n)], kinds)


def random_mask(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).random((n, n)) < 0.7


def effective_parameters(structure: Structure, rng: np.random.Generator) -> Parameters:
    """Parameters that the model allows: no edge outside of the mask, positive rates."""
    n = structure.n_nodes
    rates = {name: rng.uniform(0.2, 2.0, n) for name in structure.model.rates}
    shifts = {name: rng.normal(size=n) * ~structure.is_drug for name in structure.model.shifts}
    return {"W": rng.normal(size=(n, n)) * structure.mask, **rates, **shifts}


def inner(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> float:
    """Inner product over all arrays of two mappings with the same names."""
    assert a.keys() == b.keys()
    return float(sum((a[name] * b[name]).sum() for name in a))
