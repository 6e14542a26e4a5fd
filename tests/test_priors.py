"""Priors: what they are worth beside the data, in every optimizer, and distributions of starts."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import pycellbox as pcb
from tests.support.equations import courses

SD = 0.1
OPTIMIZERS = {
    "LM": pcb.Stage(30, optimizer=pcb.LM(1e-12)),
    "LBFGS": pcb.Stage(60, optimizer=pcb.LBFGS(tolerance=1e-10)),
    "AdamW": pcb.Stage(200, learning_rate=0.03, decay="cosine"),
}


def line(sigma=SD, far=0.0):
    """x(t) = x(0) + slope·t, of which a fit is linear; one measurement is ``far`` off."""
    data = courses(["x"], np.arange(1.0, 6))
    data["response"][0, :, 0] = 0.4 + 0.3 * np.arange(1.0, 6) + [0.1, -0.05, 0, 0.08, far]
    return data if sigma is None else data.assign(sigma=sigma * xr.ones_like(data["response"]))


def model(**options):
    parameters = {"slope": pcb.Parameter(0.1, **options), "begin": 0.2}
    return pcb.ODE({"x": "slope"}, parameters=parameters, initial={"x": "begin"})


def fitted(data, equations, optimizer="LM", **options):
    told = {"penalty": pcb.Penalty(), "progress": False, "backend": "numpy"}
    return pcb.fit(data, equations, solver=pcb.RK4(1.0), schedule=OPTIMIZERS[optimizer],
                   **told | options)  # fmt: skip


def posterior(data, mean, sd):
    """Mean of the posterior, in closed form."""
    t, y = data["time"].values, data["response"].values[0, :, 0]
    A = np.stack([t, np.ones_like(t)], axis=1) / SD
    A, y = np.vstack([A, [1 / sd, 0]]), np.append(y / SD, mean / sd)
    return np.linalg.lstsq(A, y, rcond=None)[0]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_fit_is_the_mode_of_the_posterior(optimizer):
    data, prior = line(), pcb.normal(0.1, 0.03)
    fit = fitted(data, model(prior=prior), optimizer)
    expected = posterior(data, 0.1, 0.03)
    found = [float(fit.parameters[name]) for name in ("slope", "begin")]
    np.testing.assert_allclose(found, expected, atol=2e-3)
    flat = fitted(data, model(), optimizer)
    assert abs(flat.parameters["slope"] - expected[0]) > 0.02
    off = (fit.predictions - data["response"]).values / SD
    z = (found[0] - 0.1) / 0.03
    assert fit.history["objective"].values[-1] == pytest.approx(
        (off**2).mean() + z**2 / 5, rel=1e-3
    )


@pytest.mark.parametrize("loss", ["mse", "huber"])
@pytest.mark.parametrize(
    ("prior", "bounds"),
    [
        (pcb.normal(0.1, 0.03), {}),
        (pcb.normal(0.1, 0.03), {"positive": True}),
        (pcb.lognormal(0.1, 0.2), {"scale": "log"}),
        (pcb.lognormal(0.1, 0.2), {"lower": 0, "upper": 1}),
        (pcb.uniform(0.05, 0.2), {}),
        (pcb.loguniform(0.05, 0.2), {"scale": "log"}),
    ],
)
def test_optimizers_agree_on_the_minimum(prior, bounds, loss):
    data, penalty = line(far=1.0), pcb.Penalty()
    told = {"loss": pcb.Loss(loss, 0.5) if loss == "huber" else loss, "penalty": penalty}
    squares = fitted(data, model(prior=prior, **bounds), "LM", **told)
    slopes = fitted(data, model(prior=prior, **bounds), "LBFGS", **told)
    for name in ("slope", "begin"):
        assert float(squares.parameters[name]) == pytest.approx(
            float(slopes.parameters[name]), rel=2e-3
        )
    best = [fit.history["objective"].values.min() for fit in (squares, slopes)]
    assert best[0] == pytest.approx(best[1], rel=1e-5)


def test_the_noise_is_needed_or_said():
    with pytest.warns(pcb.DataWarning, match="prior.*slope.*no sigma"):
        without = fitted(line(None), model(prior=pcb.normal(0.1, 0.03)))
    one = fitted(line(1.0), model(prior=pcb.normal(0.1, 0.03)))
    xr.testing.assert_allclose(without.parameters, one.parameters)
    fitted(line(None), model(prior=pcb.uniform(0, 1)))  # bounds are weighed against nothing


def test_what_is_fixed_has_no_prior_and_entries_have_one_each():
    data = line()
    free = pcb.Parameter([0.2, 0.1], fixed=[True, False], prior=pcb.normal(0.1, 0.03))
    vector = pcb.ODE({"x": "k[0] + k[1] - 0.2"}, parameters={"k": free, "begin": 0.2},
                     initial={"x": "begin"})  # fmt: skip
    fit = fitted(data, vector)
    expected = posterior(data, 0.1, 0.03)[0]
    assert float(fit.parameters["k"][1]) == pytest.approx(expected, rel=1e-3)


def test_files_keep_priors(tmp_path):
    fit = fitted(line(), model(prior=pcb.lognormal(0.1, 0.2), scale="log"))
    loaded = pcb.load(fit.save(tmp_path / "fit.nc"))
    assert loaded.model.parameters["slope"].prior == pcb.lognormal(0.1, 0.2)
    assert pcb.Parameter.from_dict(pcb.Parameter(prior=pcb.uniform(0, 1)).to_dict()).bounds == (
        0,
        1,
    )


@pytest.mark.parametrize(
    ("prior", "start"),
    [
        (pcb.normal(2, 1), 2),
        (pcb.lognormal(2, 1), 2),
        (pcb.uniform(1, 3), 2),
        (pcb.loguniform(1, 4), 2),
    ],
)
def test_a_fit_begins_at_the_median_of_the_prior(prior, start):
    assert pcb.Parameter(prior=prior, positive=True).middle == pytest.approx(start)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"prior": 1.0}, "a distribution"),
        ({"prior": pcb.lognormal(1, 1)}, "may be negative"),
        ({"prior": pcb.normal(-1, 1), "positive": True}, "not within its bounds"),
        ({"prior": pcb.uniform(0, 1), "lower": 2}, "not below"),
        ({"prior": pcb.uniform(0, 1), "start": 2}, "not within its bounds"),
        ({"start": pcb.lognormal(1, 1), "upper": 2}, "goes beyond"),
        ({"start": pcb.normal(1, 1), "positive": True}, "goes beyond"),
        ({"start": pcb.loguniform(1, 4), "upper": 2}, "not within its bounds"),
    ],
)
def test_what_cannot_be_is_refused(options, words):
    with pytest.raises(pcb.OptionError, match=words):
        pcb.Parameter(**options)


@pytest.mark.parametrize(
    ("make", "numbers"),
    [(pcb.lognormal, (0, 1)), (pcb.lognormal, (1, 0)), (pcb.loguniform, (0, 1)),
     (pcb.loguniform, (2, 1)), (pcb.uniform, (2, 1)), (pcb.normal, (0, -1))],
)  # fmt: skip
def test_distributions_refuse_what_is_none(make, numbers):
    with pytest.raises(pcb.OptionError):
        make(*numbers)


@pytest.mark.parametrize(
    ("draw", "low", "high"),
    [
        (pcb.uniform(2, 3), 2, 3),
        (pcb.loguniform(1e-3, 1e3), 1e-3, 1e3),
        (pcb.lognormal(2, 0.5), 0, np.inf),
        (pcb.normal(2, 0.5), -np.inf, np.inf),
    ],
)
def test_draws_have_their_median_and_ends(draw, low, high):
    drawn = draw.sample(np.random.default_rng(0), (4000,))
    assert low <= drawn.min()
    assert drawn.max() <= high
    assert (drawn < draw.middle).mean() == pytest.approx(0.5, abs=0.03)
