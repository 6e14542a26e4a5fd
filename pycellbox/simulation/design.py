"""Which nodes are perturbed in which condition, and how strongly: laid out or drawn."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import xarray as xr

from pycellbox.common.labels import labels_along
from pycellbox.common.options import (
    Value,
    checked,
    choice,
    did_you_mean,
    either,
    flag,
    integer,
    listed,
    number,
    shown,
)
from pycellbox.data import condition_labels
from pycellbox.data.cells import as_labels
from pycellbox.data.given import as_array
from pycellbox.errors import OptionError
from pycellbox.networks import Network

Law = Literal["latin-hypercube", "normal"]
Sign = Literal["positive", "negative", "both"]
MOST_CONDITIONS = 1_000_000
LAWS: tuple[Law, ...] = ("latin-hypercube", "normal")
SIGNS: tuple[Sign, ...] = ("positive", "negative", "both")
_MOST_IN_A_NAME = 3  # a condition that perturbs more nodes is numbered, not named after them


DESIGN = Value(
    lambda given: (
        given
        if isinstance(given, xr.DataArray | xr.Dataset)
        else integer(1, MOST_CONDITIONS).read(given)
    ),
    f"a number of conditions from 1 to {MOST_CONDITIONS:,}, which are then drawn, or a DataArray "
    "of doses (condition, node), or a Dataset such as pcb.regimen makes",
)
#: Options of a design that is drawn.
DRAWN = {
    "perturb": choice(*LAWS),
    "max_perturbed": either("all", integer()),
    "scale": number(0, above=True),
    "sign": choice(*SIGNS),
}


@checked(doses=listed(number()), combinations=flag())
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
    OptionError
        No drug or dose, one given twice, a drug that is not a node, or a dose that is zero or not
        finite.
    """
    if isinstance(nodes, xr.DataArray):
        names = labels_along(as_array(nodes, "nodes", "node"), "node")
    else:
        names = as_labels(nodes, "node", "nodes").tolist()
    drugs = [] if isinstance(drugs, str) else as_labels(drugs, "drug", "drugs").tolist()
    if not set(drugs) <= set(names) or not drugs or len(set(drugs)) < len(drugs):
        raise OptionError(
            f"drugs={shown(drugs)}; they need to be different nodes of {', '.join(names)}."
        )
    if len(doses) * len(drugs) > MOST_CONDITIONS**0.5 and combinations:
        raise OptionError(f"all pairs of {len(drugs)} drugs at {len(doses)} doses are too many.")
    if len(set(doses)) < len(doses) or 0.0 in doses:
        raise OptionError(f"doses={shown(doses)}; each needs to be given once, and none is 0.")
    design = [{drug: dose} for drug in drugs for dose in doses]
    if combinations:
        for a, b in itertools.combinations(drugs, 2):
            design += [{a: i, b: j} for i, j in itertools.product(doses, repeat=2)]
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
    OptionError
        An option is unknown or out of range.
    """
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


def _columns(network: Network, nodes: Sequence[str] | None) -> npt.NDArray[np.intp]:
    """Positions of the nodes that may be perturbed."""
    kinds = network.node_kind.values
    if nodes is None:
        return np.flatnonzero(kinds == "drug" if network.drugs else kinds != "phenotype")
    nodes = as_labels(nodes, "node", "perturbed_nodes").tolist()
    for node in nodes:
        if node not in network.nodes:
            hint = did_you_mean(node, network.nodes)
            raise OptionError(f"perturbed_nodes: the network has no node {node!r}{hint}.")
    if not nodes or len(set(nodes)) < len(nodes):
        raise OptionError(f"perturbed_nodes={shown(nodes)}; they need to be different nodes.")
    return np.sort([network.nodes.index(node) for node in nodes])
