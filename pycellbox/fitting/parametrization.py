"""Raw parameters, which an optimizer may move freely, and the effective ones they stand for."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from pycellbox.common.options import number, settle
from pycellbox.errors import ModelError
from pycellbox.numerics.lowering import map_dose
from pycellbox.objective import EDGE_GROUPS
from pycellbox.problem import Array, Parameters, Problem, Structure

Raw = dict[str, Array]


@dataclass(frozen=True)
class Initialization:
    """Where a fit starts.

    Parameters
    ----------
    weight_scale : float
        Standard deviation of the initial W, drawn from a normal distribution.
    alpha : float
        Initial decay rate of every node, in 1/time.
    range_factor : float
        A node's initial ε/α is ``max(1, range_factor · max|y|)`` over its training responses y:
        a node can reach no further than ε/α, so 1 is too little for most data.
    """

    weight_scale: float = 0.001
    alpha: float = 1.0
    range_factor: float = 1.5

    def __post_init__(self) -> None:
        for f in dataclasses.fields(self):
            settle(self, f.name, number(f.name, getattr(self, f.name)))
        if self.alpha == 0:
            raise ModelError("alpha=0; a node without decay never settles, use a number > 0.")


def response_range(problem: Problem, factor: float) -> Array:
    """Where ε/α of each node should start, (n,).

    max(1, factor·max|y|) over the measured training responses y. A drug node that receives a
    mapped dose d(u) outside the envelope is not limited by ε/α but settles at (ε/α)·d(u): for it,
    the least-squares slope of y on d(u), that of all drugs together if it was never dosed.
    """
    measured = np.where(problem.weight > 0, np.abs(problem.response), 0)
    ranges: Array = np.maximum(1.0, factor * measured.max(axis=(0, 1)).astype(np.float64))
    structure = problem.structure
    model, drug = structure.model, structure.is_drug
    if model.dose_saturation is None or model.form in ("ji", "ji-code") or not drug.any():
        return ranges
    dose = map_dose(model, problem.perturbation[:, drug].astype(np.float64))
    weight = problem.weight[:, -1, drug].astype(np.float64) ** 2
    along = (weight * dose * problem.response[:, -1, drug]).sum(axis=0)
    square = (weight * dose * dose).sum(axis=0)
    pooled = along.sum() / square.sum() if square.sum() > 0 else 1.0
    slope = np.where(square > 0, along / np.where(square > 0, square, 1), pooled)
    ranges[drug] = np.maximum(slope, 0.01)  # ε must stay positive
    return ranges


class Parametrization:
    """Maps raw to effective parameters and gradients back.

    Raw values: ``W`` (n, n), with shared drug columns the deviations B_j in those columns and
    ``b0`` (n,) the common one; ``alpha``, ``epsilon``, ``psi`` (n,) through softplus. With a held
    response range there is no raw epsilon.

    Parameters
    ----------
    structure : Structure
    ranges : ndarray, (n,)
        Response range of each node, where ε = range∘α is held.
    """

    def __init__(self, structure: Structure, ranges: Array) -> None:
        model = structure.model
        self.structure = structure
        self._drug_mask = structure.mask & structure.is_drug[None, :]
        self.shared = model.drug_columns == "shared" and bool(self._drug_mask.any())
        self.held = ranges if model.response_range == "held" else None
        self._rates = tuple(
            r for r in model.rates if not (r == "epsilon" and self.held is not None)
        )
        groups = np.full(structure.mask.shape, EDGE_GROUPS.index("node_to_node"))
        groups[structure.is_phenotype, :] = EDGE_GROUPS.index("node_to_phenotype")
        groups[:, structure.is_drug] = EDGE_GROUPS.index("drug_to_node")
        self._groups = groups

    def raw(self, parameters: Parameters) -> Raw:
        """Raw values of effective ones; shared columns start from the mean of the drugs'."""
        W = parameters["W"].copy()
        raw: Raw = {"W": W}
        if self.shared:
            count = np.maximum(self._drug_mask.sum(axis=1), 1)
            b0 = ((W * self._drug_mask).sum(axis=1) / count).astype(W.dtype)
            W -= np.where(self._drug_mask, b0[:, None], 0)
            raw["b0"] = b0
        for name in self._rates:
            # The inverse of softplus; at zero it would be −∞, from where nothing moves.
            value = np.maximum(parameters[name], np.finfo(parameters[name].dtype).tiny)
            raw[name] = value + np.log(-np.expm1(-value))
        return raw

    def effective(self, raw: Raw) -> Parameters:
        """W and the model's rates."""
        W = raw["W"]
        if self.shared:
            W = W + np.where(self._drug_mask, raw["b0"][:, None], 0)
        parameters = {"W": np.where(self.structure.mask, W, 0)}
        rates = {name: np.logaddexp(0, raw[name]) for name in self._rates}
        if self.held is not None:
            rates["epsilon"] = (self.held * rates["alpha"]).astype(W.dtype)
        return parameters | {name: rates[name] for name in self.structure.model.rates}

    def pull_back(self, raw: Raw, gradient: Parameters) -> Raw:
        """Gradient with respect to the raw values."""
        dW = np.where(self.structure.mask, gradient["W"], 0)
        out: Raw = {"W": dW}
        if self.shared:
            out["b0"] = (dW * self._drug_mask).sum(axis=1)
        for name in self._rates:
            slope = gradient[name]
            if name == "alpha" and self.held is not None:
                slope = slope + self.held * gradient["epsilon"]
            # softplus' is the logistic function, written so that it cannot overflow.
            out[name] = (slope * 0.5 * (1 + np.tanh(raw[name] / 2))).astype(slope.dtype)
        return out

    def learning_rates(self, by_group: dict[str, float]) -> Raw:
        """Learning rate of every raw entry, zero where the mask forbids the edge."""
        table = np.array([by_group[g] for g in EDGE_GROUPS])
        n, dtype = self.structure.n_nodes, np.float64
        rates: Raw = {"W": np.where(self.structure.mask, table[self._groups], 0).astype(dtype)}
        if self.shared:
            reachable = self._drug_mask.any(axis=1)
            rates["b0"] = np.where(reachable, by_group["drug_shared"], 0).astype(dtype)
        return rates | {name: np.full(n, by_group["rates"]) for name in self._rates}

    def strengths(self, by_group: dict[str, float]) -> Raw:
        """Penalty strength of every entry of W, and of b0 where there is one."""
        table = np.array([by_group[g] for g in EDGE_GROUPS])
        strengths: Raw = {"W": np.where(self.structure.mask, table[self._groups], 0)}
        if self.shared:
            strengths["b0"] = np.full(self.structure.n_nodes, by_group["drug_shared"])
        return strengths


def initial_parameters(
    structure: Structure, start: Initialization, ranges: Array, rng: np.random.Generator
) -> Parameters:
    """Draw the effective parameters at which a fit starts, float64."""
    n = structure.n_nodes
    W = np.where(structure.mask, rng.normal(0.0, start.weight_scale, (n, n)), 0.0)
    alpha = np.full(n, float(start.alpha))
    psi = np.where(structure.is_drug, alpha * ranges, 1.0)
    rates = {"alpha": alpha, "epsilon": alpha * ranges, "psi": psi}
    return {"W": W, **{name: rates[name] for name in structure.model.rates}}
