"""`Samples`: draws of parameters, how many they are worth, and what they predict."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from pycellbox.backends import BACKEND, BackendName
from pycellbox.common.options import SEED, checked, instance, integer, text
from pycellbox.data.hidden import with_nodes
from pycellbox.data.units import meeting
from pycellbox.doubts import doubt_extrapolation
from pycellbox.errors import ModelError, PycellboxError
from pycellbox.inputs import INPUTS
from pycellbox.intervals import INTERVAL
from pycellbox.result import FIT, Fit

_MEASURED = 20  # times that each predicted response is measured
_NOT_PARAMETERS = ("log_density", "refused")


class Samples:
    """Draws from the posterior of a fit, as `Fit.sample` makes them.

    Parameters
    ----------
    fit : Fit
        Whose posterior it is.
    draws : Dataset
        Parameters with the dims ``chain`` and ``draw`` first, ``log_density`` (chain, draw) and
        ``refused`` (chain).
    noise : DataArray, (node,)
        Standard deviation of a measurement; 0 of nodes that were not measured.
    noise_by : str
        Where that is from.

    Attributes
    ----------
    fit : Fit
    noise : DataArray
    """

    @checked(
        fit=FIT,
        draws=instance(xr.Dataset, "draws, as fit.sample makes them"),
        noise=instance(xr.DataArray, "standard deviations by node"),
        noise_by=text(),
    )
    def __init__(self, fit: Fit, draws: xr.Dataset, noise: xr.DataArray, noise_by: str) -> None:
        dims = {"log_density": ("chain", "draw"), "refused": ("chain",)}
        for name, needed in dims.items():
            if name not in draws or draws[name].dims != needed:
                raise ModelError(
                    f"the draws lack {name} ({', '.join(needed)}); fit.sample makes them."
                )
        self.fit, self.noise, self._noise_by = fit, noise, noise_by
        self._draws = draws.copy(deep=True)

    @property
    def parameters(self) -> xr.Dataset:
        """Draws of the parameters that were fitted, (chain, draw, …), in the unit of the data."""
        return self._draws.drop_vars(_NOT_PARAMETERS).copy(deep=True)

    @property
    def log_density(self) -> xr.DataArray:
        """Logarithm of the posterior density at the draws, but for a constant, (chain, draw)."""
        return self._draws["log_density"].copy(deep=True)

    @property
    def refused(self) -> xr.DataArray:
        """How many steps were drawn again, as they led where nothing can be solved, (chain,)."""
        return self._draws["refused"].copy(deep=True)

    def to_arviz(self) -> Any:
        """Return the draws as arviz knows them.

        Returns
        -------
        arviz.InferenceData
            Groups ``posterior`` and ``sample_stats``, with ``lp``; of arviz 1.0 and later
            a DataTree.

        Raises
        ------
        PycellboxError
            arviz is not installed.
        """
        arviz = _arviz()
        stats = xr.Dataset({"lp": self._draws["log_density"]})
        groups = {"posterior": self.parameters, "sample_stats": stats}
        if hasattr(arviz, "InferenceData"):
            return arviz.InferenceData(**groups)
        return xr.DataTree.from_dict(groups)

    def summary(self) -> pd.DataFrame:
        """Summarize the draws, by arviz.

        Returns
        -------
        DataFrame
            A row for each entry: mean, standard deviation and interval; the Monte Carlo errors of
            mean and standard deviation; the effective sample sizes of the bulk and of the tails;
            and R-hat, which is near 1 where chains agree (Vehtari et al., Bayesian Analysis 16:667,
            2021: below 1.01). Sizes of a few hundred and more can be relied on.

        Raises
        ------
        PycellboxError
            arviz is not installed.
        """
        found: pd.DataFrame = _arviz().summary(self.to_arviz(), round_to="none")
        return found

    @checked(perturbation=INPUTS, interval=INTERVAL, draws=integer(2), seed=SEED, backend=BACKEND)
    def predict(
        self,
        perturbation: xr.DataArray | xr.Dataset,
        *,
        times: Any = None,
        interval: float = 0.9,
        draws: int = 200,
        seed: int = 0,
        backend: BackendName = "auto",
    ) -> xr.Dataset:
        """Predict responses from the draws, and how far new measurements may be off.

        Parameters
        ----------
        perturbation : DataArray or Dataset
            As of `Fit.predict`.
        times : sequence of float, (t,), optional
            Likewise.
        interval : float
            Probability that an interval holds a new measurement.
        draws : int
            How many draws are solved, evenly spaced over all.
        seed : int
            Of the noise that is added to what they predict.
        backend : str
            As of `Fit.predict`.

        Returns
        -------
        Dataset
            ``response``, the mean; ``lower`` and ``upper``, with the noise of a measurement
            (without it for nodes that were not measured); ``sd``, the standard deviation of a new
            measurement, and ``sd_state``, that of the response itself.
        """
        data, predictor = self.fit.data, self.fit._predictor
        given = meeting(with_nodes(perturbation, self.fit.model.own_nodes), data)
        structure, inputs = predictor.laid(given)
        doubt_extrapolation(given["perturbation"] if isinstance(given, xr.Dataset) else given, data)
        flat = self.parameters.stack(sample=("chain", "draw"))
        count = flat.sizes["sample"]
        picked = np.unique(np.linspace(0, count - 1, min(draws, count)).round().astype(int))
        known, found = self.fit.parameters, []
        for k in picked:
            one = flat.isel(sample=k).drop_vars(["sample", "chain", "draw"])
            parameters = known.assign({name: one[name] for name in one.data_vars})
            found.append(predictor.solved(structure, inputs, times, backend, parameters))
        states = xr.concat(found, "sample", coords="minimal", compat="override")
        states = states.drop_vars(["residual", "settled"], errors="ignore")
        noise = self.noise.sel(node=states["node"].values).values
        rng = np.random.default_rng(seed)
        errors = noise * rng.normal(size=(_MEASURED, *states.shape))
        measured = (states.values + errors).reshape(-1, *states.shape[1:])
        mean, tail = states.mean("sample", keep_attrs=True), (1 - interval) / 2
        lower, upper = np.quantile(measured, [tail, 1 - tail], axis=0)
        sd_state = states.values.std(axis=0, ddof=1)
        plain, words = mean.drop_attrs(), f"of the interval that is to hold {interval:.0%}"
        values = {
            "lower": (lower, f"lower end {words} of new measurements"),
            "upper": (upper, f"upper end {words} of new measurements"),
            "sd": (np.hypot(sd_state, noise), "standard deviation of a new measurement"),
            "sd_state": (sd_state, "standard deviation of the response, without measuring it"),
        }
        made = {
            n: plain.copy(data=v).assign_attrs(long_name=said) for n, (v, said) in values.items()
        }
        return xr.Dataset({"response": mean, **made}).assign_attrs(
            interval=interval, draws=len(picked), noise=self._noise_by
        )

    def __repr__(self) -> str:
        sizes = self._draws.sizes
        names = ", ".join(map(str, self.parameters.data_vars))
        first = f"<pycellbox.Samples: {sizes['chain']} chains of {sizes['draw']} draws of {names}"
        return f"{first}\n  noise by {self._noise_by}>"


def _arviz() -> Any:
    try:
        import arviz
    except ImportError as error:
        raise PycellboxError(
            "effective sample sizes and R-hat need arviz, which is not installed: pip install "
            '"pycellbox[bayes]"'
        ) from error
    return arviz
