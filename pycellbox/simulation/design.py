"""Which nodes are perturbed in which condition, and how strongly: laid out or drawn."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import xarray as xr

from pycellbox.common.labels import labels_along
from pycellbox.common.options import as_integer, choice, flag, integer, number, several, shown
from pycellbox.data import condition_labels
from pycellbox.data.cells import as_labels
from pycellbox.data.given import as_array
from pycellbox.errors import DataError
from pycellbox.networks import Network

Law = Literal["latin-hypercube", "normal"]
Sign = Literal["positive", "negative", "both"]
MOST_CONDITIONS = 1_000_000
LAWS: tuple[Law, ...] = ("latin-hypercube", "normal")
SIGNS: tuple[Sign, ...] = ("positive", "negative", "both")
_MOST_IN_A_NAME = 3  # a condition that perturbs more nodes is numbered, not named after them


def perturbations(
    drugs: Sequence[str],
    nodes: xr.DataArray | Iterable[str],
    *,
    doses: Sequence[float],
    combinations: bool = True,
) -> xr.DataArray:
    """Lay out an experiment: every drug alone at every dose, and all pairs.

    Parameters
    ----------
    drugs : sequence of str
        Nodes to perturb.
    nodes : DataArray of str (node), or iterable of str
        All nodes: the ``node_kind`` of a network, whose kinds are then kept, or names.
    doses : sequence of float
        Doses of each drug, dimensionless. By convention a negative dose inhibits, as in the
        melanoma data.
    combinations : bool
        Whether to add every pair of drugs at every pair of doses.

    Returns
    -------
    DataArray (condition, node)
        With k doses, k conditions a drug and k² a pair, named as "aMEK=-1+aAKT=-0.5".

    Raises
    ------
    DataError
        No drug or dose, one given twice, a drug that is not a node, or a dose that is zero or not
        finite.
    """
    if isinstance(nodes, xr.DataArray):
        names = labels_along(as_array(nodes, "nodes", "node"), "node")
    else:
        names = as_labels(nodes, "node", "nodes").tolist()
    combinations = flag("combinations", combinations, error=DataError)
    drugs = [] if isinstance(drugs, str) else as_labels(drugs, "drug", "drugs").tolist()
    if not set(drugs) <= set(names) or not drugs or len(set(drugs)) < len(drugs):
        raise DataError(
            f"drugs={shown(drugs)}; they need to be different nodes of {', '.join(names)}."
        )
    given = several("doses", doses, error=DataError)
    amounts = [number("doses", dose, -np.inf, error=DataError) for dose in given]
    if len(amounts) * len(drugs) > MOST_CONDITIONS**0.5 and combinations:
        raise DataError(f"all pairs of {len(drugs)} drugs at {len(amounts)} doses are too many.")
    if not amounts or len(set(amounts)) < len(amounts):
        raise DataError(f"doses={amounts}; there needs to be at least one, each given once.")
    if not all(np.isfinite(a) and a != 0 for a in amounts):
        raise DataError(f"doses={amounts}; a dose needs to be finite and not zero.")
    design = [{drug: dose} for drug in drugs for dose in amounts]
    if combinations:
        for a, b in itertools.combinations(drugs, 2):
            design += [{a: i, b: j} for i, j in itertools.product(amounts, repeat=2)]
    values = np.array([[condition.get(name, 0.0) for name in names] for condition in design])
    labels = condition_labels(values, names)
    coords: dict[str, Any] = {"condition": labels, "node": names}
    if isinstance(nodes, xr.DataArray):
        coords["node_kind"] = ("node", nodes.values)
    return xr.DataArray(values, dims=("condition", "node"), coords=coords, name="perturbation")


def draw_perturbations(
    network: Network,
    n_conditions: int,
    rng: np.random.Generator,
    *,
    perturb: Law = "latin-hypercube",
    max_perturbed: int | Literal["all"] = 2,
    scale: float = 1.0,
    sign: Sign = "both",
    perturbed_nodes: Sequence[str] | None = None,
) -> xr.DataArray:
    """Draw an experiment; the options are those of `simulate`.

    Parameters
    ----------
    network : Network
        Whose nodes are perturbed.
    n_conditions : int
        How many conditions.
    rng : Generator
        Where the draws come from.
    perturb, max_perturbed, scale, sign, perturbed_nodes
        As for `simulate`.

    Returns
    -------
    DataArray (condition, node)

    Raises
    ------
    DataError
        An option is unknown or out of range.
    """
    _check_draw(n_conditions, perturb, max_perturbed, scale, sign)
    columns = _columns(network, perturbed_nodes)
    shape = (n_conditions, columns.size)
    if perturb == "normal":
        doses = np.abs(rng.standard_normal(shape))
    else:
        levels = np.arange(1, n_conditions + 1) / n_conditions
        doses = rng.permuted(np.tile(levels[:, None], columns.size), axis=0)
    if sign != "positive":
        doses *= -1.0 if sign == "negative" else rng.choice([-1.0, 1.0], shape)
    number = columns.size if max_perturbed == "all" else min(max_perturbed, columns.size)
    if number < columns.size:
        # The smallest of random keys: that many different nodes, all with the same chance.
        key = rng.random(shape)
        doses[key > np.partition(key, number - 1, axis=1)[:, [number - 1]]] = 0.0
    values = np.zeros((n_conditions, len(network.nodes)))
    values[:, columns] = scale * doses
    if number <= _MOST_IN_A_NAME:
        labels = condition_labels(values, network.nodes)
    else:
        labels = [f"c{i + 1}" for i in range(n_conditions)]
    coords = {
        "condition": labels,
        "node": list(network.nodes),
        "node_kind": ("node", network.node_kind.values),
    }
    return xr.DataArray(values, coords, ("condition", "node"), name="perturbation")


def _check_draw(
    n_conditions: object, perturb: object, max_perturbed: object, scale: object, sign: object
) -> None:
    if not 1 <= (as_integer(n_conditions) or 0) <= MOST_CONDITIONS:
        raise DataError(
            f"design={shown(n_conditions)}; it needs a number of conditions from 1 to "
            f"{MOST_CONDITIONS:,}, which are then drawn, or a DataArray of doses (condition, node)."
        )
    choice("perturb", perturb, LAWS, error=DataError)
    choice("sign", sign, SIGNS, error=DataError)
    if not (isinstance(max_perturbed, str) and max_perturbed == "all"):
        integer("max_perturbed (or 'all')", max_perturbed, error=DataError)
    number("scale (sign= turns it round)", scale, above=True, error=DataError)


def _columns(network: Network, nodes: Sequence[str] | None) -> npt.NDArray[np.intp]:
    """Positions of the nodes that may be perturbed."""
    kinds = network.node_kind.values
    if nodes is None:
        return np.flatnonzero(kinds == "drug" if network.drugs else kinds != "phenotype")
    nodes = as_labels(nodes, "node", "perturbed_nodes").tolist()
    strange = [node for node in nodes if node not in network.nodes]
    if strange or not nodes or len(set(nodes)) < len(nodes):
        raise DataError(
            f"perturbed_nodes={shown(nodes)}; they need to be different nodes of the network"
            + (f", which has no {strange[0]!r}." if strange else ".")
        )
    return np.sort([network.nodes.index(node) for node in nodes])
