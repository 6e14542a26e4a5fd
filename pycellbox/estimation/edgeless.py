"""The estimate as a baseline: what a network without interactions between nodes predicts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pycellbox.baselines.baseline import Baseline, Bools, Floats, Map, need_doses
from pycellbox.errors import DataError
from pycellbox.estimation.estimate import Estimate, estimate


@dataclass(eq=False)
class WithoutEdges(Baseline):
    """CellBox without interactions between nodes.

    Doses act on every output, which saturates about an operating point of its own; an effect is
    common to all treatments; a drug that was not seen is the typical one, shrunken. Parameters and
    the strengths of their penalties are estimated as by `pycellbox.fit` for drug screens, here of
    time courses too, whose time points are outputs of their own. The sign of the doses of a drug
    that was not seen does not matter.

    Notes
    -----
    What a fit predicts better than this is what interactions are worth: those of proteins with
    phenotypes, and in a network that is trained with each other. It takes about a second on the
    melanoma data, some five times as long as all other baselines together.
    """

    def _estimate(self, doses: Floats, sizes: Floats, outputs: Floats, drugs: Bools) -> Map:
        need_doses(doses)
        if len(doses) < 2:
            raise DataError(
                "CellBox without edges needs at least two training conditions to choose its "
                "strengths."
            )
        unseen = ~(sizes != 0).any(axis=0)
        given = np.hstack([doses, np.zeros((len(doses), int(unseen.sum())))])
        measured = np.asarray(~np.isnan(outputs).all(axis=0))
        # Strengths are pooled over outputs: drug nodes, whose activity follows from the dose, would
        # have a say in those of the others.
        parts = [(part, estimate(given, outputs[:, part])) for part in _parts(measured, drugs)]

        def predict(doses: Floats, sizes: Floats) -> Floats:
            predicted = np.zeros((len(doses), measured.size))
            for part, found in parts:
                predicted[:, part] = found.predict(_signed(found, doses, sizes[:, unseen]))
            return predicted

        return predict


def _parts(measured: Bools, drugs: Bools) -> list[Bools]:
    return [part for part in (measured & ~drugs, measured & drugs) if part.any()]


def _signed(found: Estimate, doses: Floats, unseen: Floats) -> Floats:
    """Doses of drugs, then those of drugs not seen in the sign that the estimate takes them for."""
    return np.hstack([doses, unseen * found.design.sign[doses.shape[1] :]])
