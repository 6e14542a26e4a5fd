"""The synthetic experiments of Ji et al. on the networks of BEELINE.

Source: Ji et al., arXiv 2104.06467, and the configurations and the data generation of its code,
jiweiqi/CellBox.jl (``Test_Beeline/*/config.yaml``, ``cellbox/network.jl``, as of April 2021).
"""

from __future__ import annotations

from typing import Literal

import xarray as xr

from pycellbox.backends import BACKEND, BackendName
from pycellbox.common.options import SEED, Value, checked, either, integer, listed, number, optional
from pycellbox.models import CellBox
from pycellbox.networks import beeline
from pycellbox.networks.drawing import RATE, Rate
from pycellbox.networks.topologies import NAME
from pycellbox.simulation.experiment import simulate

JI_MODEL = CellBox(form="ji-code", self_interaction=True, drug_columns="free", dose_saturation=None)
"""The equation that the code of Ji et al. solves, with every interaction free."""

TIMES = (4.0, 8.0, 12.0, 16.0, 20.0)

# Conditions to train, validate and test, and the decay rate; of each network's configuration.
_SETTINGS: dict[str, tuple[tuple[int, int, int], float]] = {
    "LI": ((20, 5, 5), 1.0),
    "CY": ((10, 5, 5), 1.0),
    "LL": ((50, 5, 5), 1.0),
    "BF": ((50, 5, 5), 1.0),
    "BFC": ((30, 5, 5), 0.2),
    "TF": ((20, 5, 5), 0.2),
    "mCAD": ((20, 5, 5), 0.2),
    "VSC": ((20, 5, 5), 0.2),
    "HSC": ((20, 5, 5), 0.2),
    "GSD": ((100, 10, 10), 0.2),
}


OPTIONS = {
    "name": NAME,
    "n_conditions": optional(
        Value(
            listed(integer(), 3, 3).read,
            "three integers ≥ 1, how many conditions to train, to validate and to test, such as "
            "(20, 5, 5)",
        )
    ),
    "noise": number(0),
    "seed": SEED,
    "backend": BACKEND,
}


@checked(
    **OPTIONS,
    alpha=either("published", RATE),
)
def ji_experiment(
    name: str,
    *,
    n_conditions: tuple[int, int, int] | None = None,
    noise: float = 0.001,
    alpha: Rate | Literal["published"] = (0.5, 1.5),
    seed: int = 0,
    backend: BackendName = "auto",
) -> tuple[xr.Dataset, xr.Dataset, xr.Dataset]:
    """Simulate the experiment of Ji et al. on a BEELINE network.

    dx/dt = α∘tanh(Wx − u) − x with the weights ±1 of the network, measured at the times 4, 8, 12,
    16 and 20. The doses are a Latin hypercube over (0, 1], of which two nodes a condition stay
    perturbed; training, validation and test conditions are parts of the same hypercube.

    Parameters
    ----------
    name : str
        One of `pycellbox.networks.BEELINE`.
    n_conditions : (int, int, int), optional
        Conditions to train, validate and test; by default those of the configuration: 20, 5 and
        5, but to train 10 for CY, 30 for BFC and 50 for LL and BF, and 100, 10 and 10 for GSD.
    noise : float
        Standard deviation of the error of each response. The configurations have 0.001 for mCAD,
        VSC and HSC and 0.01 for the others.
    alpha : (float, float), float, or "published"
        An interval from which each node's α is drawn evenly, as the code does for networks of its
        own; one value for all; or "published", that of the configuration (1 for LI, CY, LL and
        BF, else 0.2), where there is no pattern of α to be found.
    seed : int
        Of doses, rates and noise.
    backend : {"auto", "julia", "numpy", "jax"}
        As for `pycellbox.solve`.

    Returns
    -------
    tuple of Dataset
        Conditions to train, validate and test, as `pycellbox.simulate` returns them, each with the
        truth. Fit with ``JI_MODEL``.

    Raises
    ------
    OptionError
        The name is unknown, or a number is out of range.

    Notes
    -----
    The configurations of BFC and TF have ten time points, and that of mCAD twenty with one node
    perturbed; here all networks are measured alike. The code reads GSD by position from a table
    whose rows and columns have DHH and DKK1 in different order, and so solves another network.

    Examples
    --------
    >>> train, validation, test = ji_experiment("TF")  # doctest: +SKIP
    >>> fit = pcb.fit(train, JI_MODEL, validation=validation)  # doctest: +SKIP
    """
    published, fixed_alpha = _SETTINGS[name]
    counts = published if n_conditions is None else n_conditions
    data = simulate(
        beeline(name),
        sum(counts),
        model=JI_MODEL,
        alpha=fixed_alpha if isinstance(alpha, str) and alpha == "published" else alpha,
        times=TIMES,
        perturb="latin-hypercube",
        max_perturbed=2,
        sign="positive",
        noise=noise,
        seed=seed,
        backend=backend,
    )
    n_train, n_validation, _ = counts
    ends = (slice(0, n_train), slice(n_train, n_train + n_validation))
    train, validation = (data.isel(condition=part) for part in ends)
    return train, validation, data.isel(condition=slice(n_train + n_validation, None))
