"""Data that would be fitted as something else than they are: a warning, once a call."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import pycellbox as pcb
from pycellbox.cli import main
from tests.support.data import SHARED_DATA

PROTEINS = [f"p{i}" for i in range(8)]
DRUGS = ["aMEK", "aAKT", "aERK"]
KINDS = {"protein": PROTEINS, "drug": DRUGS}
ONE = pcb.Stage(1)


def lab(times: tuple[float, ...] | None = None) -> xr.Dataset:
    """An experiment as it should be: controls at 0, three doses of each drug, pairs."""
    rows = {"ctrl1": {}, "ctrl2": {}}
    rows |= {f"{d}{u:g}": {d: -u} for d in DRUGS for u in (0.5, 1, 2)}
    rows |= {f"{a}+{b}": {a: -1, b: -1} for a, b in zip(DRUGS, DRUGS[1:] + DRUGS[:1], strict=True)}
    nodes = PROTEINS + DRUGS
    u = np.array([[row.get(node, 0.0) for node in nodes] for row in rows.values()])
    rng = np.random.default_rng(0)
    effect = rng.normal(size=(len(DRUGS), len(PROTEINS))) * (rng.random((3, 8)) < 0.7)
    y = np.tanh(u[:, 8:]) @ effect
    if times is not None:
        y = y[:, None, :] * (1 - np.exp(-np.array(times)))[:, None]
    y = y + rng.normal(0, 0.05, y.shape)
    full = np.full((*y.shape[:-1], len(nodes)), np.nan)
    full[..., :8] = y
    dims = ("condition", "node") if times is None else ("condition", "time", "node")
    coords = {
        "condition": list(rows),
        "node": nodes,
        "node_kind": ("node", ["protein"] * 8 + ["drug"] * 3),
    }
    if times is not None:
        coords["time"] = ("time", list(times), {"units": "h"})
    return xr.Dataset(
        {"perturbation": (("condition", "node"), u), "response": (dims, full)}, coords
    )


def course() -> xr.Dataset:
    return lab((0.0, 0.5, 1.0, 4.0))


def doubts(data: xr.Dataset, model: pcb.CellBox | None = None, **options: object) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        pcb.fit(data, model, schedule=ONE, backend="numpy", progress=False, **options)
    assert all(w.filename == __file__ for w in caught)
    return [str(w.message) for w in caught if w.category is pcb.DataWarning]


def with_response(data: xr.Dataset, change: Callable[[np.ndarray], np.ndarray]) -> xr.Dataset:
    return data.assign(response=data["response"].copy(data=change(data["response"].values.copy())))


def with_doses(data: xr.Dataset, change: Callable[[np.ndarray], np.ndarray]) -> xr.Dataset:
    u = data["perturbation"].copy(data=change(data["perturbation"].values.copy()))
    return data.assign(perturbation=u)


def put(array: np.ndarray, where: object, value: object) -> np.ndarray:
    array[where] = value
    return array


def sigma(data: xr.Dataset, value: object) -> xr.Dataset:
    values = np.broadcast_to(np.asarray(value, float), data["response"].shape).copy()
    return data.assign(sigma=data["response"].copy(data=values))


def undeclared(data: xr.Dataset, response: float | None = None) -> xr.Dataset:
    """Every node a protein, the drugs' activity measured in full."""
    activity = 0.8 * data["perturbation"] if response is None else response
    kinds = ("node", ["protein"] * data.sizes["node"])
    return data.assign(response=data["response"].fillna(activity)).assign_coords(node_kind=kinds)


RAW = 500 + 400 * np.random.default_rng(1).random((14, 8))
FLAT = "cannot tell them from half as much"
RATIO = "ratio to the unperturbed control is 0"
CHANGES: dict[str, tuple[Callable[[], xr.Dataset], str, str]] = {
    # doses
    "nanomolar, positive": (
        lambda: with_doses(lab(), lambda u: -20 * u),
        FLAT,
        "10, 20, 40",
    ),
    "10, 100, 1000": (
        lambda: with_doses(lab(), lambda u: 10 ** np.ceil(-2 * u) * (u != 0)),
        FLAT,
        "IC50",
    ),
    "one drug in nM": (
        lambda: with_doses(lab(), lambda u: put(u, (..., 9), 100 * u[:, 9])),
        FLAT,
        "1 node ",
    ),
    "molar": (lambda: with_doses(lab(), lambda u: 1e-6 * u), "so small", "'aMEK' is -2e-06"),
    "one drug molar": (
        lambda: with_doses(lab(), lambda u: put(u, (..., 8), 1e-6 * u[:, 8])),
        "so small",
        "1 node ",
    ),
    "standardized doses": (
        lambda: with_doses(lab(), lambda u: np.where(u.any(0), u - u.mean(0), 0).round(3)),
        "standardized",
        "'aMEK', 'aAKT', 'aERK'",
    ),
    "no drug declared": (lambda: undeclared(lab()), "node_kind", "'aMEK', 'aAKT', 'aERK'"),
    "no drug declared, filled with 0": (lambda: undeclared(lab(), 0.0), "node_kind", "'aMEK'"),
    "no drug declared, courses": (
        lambda: undeclared(course(), 0.0),
        "node_kind",
        "'aERK'",
    ),
    # responses
    "intensities": (
        lambda: with_response(lab(), lambda y: put(y, (..., slice(8)), RAW)),
        "too large for log-ratios",
        "np.log(value / control)",
    ),
    "percent": (
        lambda: with_response(lab(), lambda y: 100 * np.exp(y)),
        "too large for log-ratios",
        "8 nodes",
    ),
    "one column raw": (
        lambda: with_response(lab(), lambda y: put(y, (..., 3), RAW[:, 3])),
        "too large for log-ratios",
        "'p3'",
    ),
    "ratios": (lambda: with_response(lab(), np.exp), RATIO, "np.log(response)"),
    "ratios without controls": (
        lambda: with_response(lab(), np.exp).isel(condition=slice(2, None)),
        RATIO,
        "np.log(response)",
    ),
    "controls at 1": (
        lambda: with_response(lab(), lambda y: put(y, (slice(2), slice(8)), 1.0)),
        "unperturbed condition",
        "'ctrl1', 'ctrl2'",
    ),
    "one control off": (
        lambda: with_response(lab(), lambda y: put(y, (1, slice(8)), y[1, :8] - 0.6)),
        "unperturbed condition",
        "'ctrl2'",
    ),
    "log intensities": (
        lambda: with_response(lab(), lambda y: y + np.linspace(6, 9, 11)),
        RATIO,
        "logarithms of intensities",
    ),
    "minus 999 for missing": (
        lambda: with_response(lab(), lambda y: put(y, ([3, 5], [1, 2]), -999.0)),
        "far beyond all others",
        "-999 for node 'p1'",
    ),
    "decimal slip": (
        lambda: with_response(lab(), lambda y: put(y, (4, 2), 14.0)),
        "far beyond all others",
        "'p2'",
    ),
    "time 0 at 0.5": (
        lambda: with_response(course(), lambda y: y + 0.5).isel(condition=slice(2, None)),
        "time 0 are not near 0",
        "subtract the response at time 0",
    ),
    "inhibitor before the stimulus": (
        lambda: with_response(
            course(), lambda y: put(y, (slice(5, 9), 0, slice(3)), [2.5, -2.5, 2.5])
        ),
        "time 0 differ between conditions",
        "'aAKT0.5'",
    ),
    "never changes": (
        lambda: with_response(lab(), lambda y: put(y, (..., 6), 0.0)),
        "one and the same response",
        "'p6'",
    ),
    "table given twice": (
        lambda: with_response(lab(), lambda y: lab()["perturbation"].values),
        "one table given twice",
        "cell for cell",
    ),
    "cell lines stacked": (
        lambda: xr.concat(
            [
                lab(),
                with_response(lab(), lambda y: -y).assign_coords(
                    condition=[f"{c}_HT29" for c in lab()["condition"].values]
                ),
            ],
            "condition",
        ),
        "same perturbation",
        "_HT29'",
    ),
    "sigma in percent": (lambda: sigma(lab(), 15.0), "another scale", "15"),
    "sigma of another unit": (lambda: sigma(lab(), 1e-6), "another scale", "1e-06"),
    "sigma of two lucky replicates": (
        lambda: sigma(lab(), put(np.full((14, 11), 0.1), (4, 2), 1e-4)),
        "90 % of the weight",
        "'p2'",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CHANGES)
def test_what_would_be_fitted_as_something_else_is_named(name):
    make, sort, detail = CHANGES[name]
    found = doubts(make())
    assert len(found) == 1, found
    assert sort in found[0]
    assert detail in found[0]


@pytest.mark.parametrize("make", [lab, course, lambda: sigma(lab(), 0.05)])
def test_a_sound_experiment_raises_no_doubt(make):
    assert doubts(make()) == []


@pytest.mark.parametrize(
    ("model", "top", "flat"),
    [
        (pcb.CellBox(), 10, False),
        (pcb.CellBox(), 25, True),
        (pcb.CellBox(dose_saturation=0.01), 25, False),
        (pcb.CellBox(dose_saturation=0), 1000, False),
        (pcb.CellBox(dose_saturation=None), 2, False),
        (pcb.CellBox(dose_saturation=None), 6, True),
        (pcb.CellBox(dose_saturation=None, form=2), 1000, False),
        (pcb.CellBox(dose_saturation=None, drugs="clamped"), 1000, False),
        (pcb.CellBox(dose_saturation=None, envelope="clip"), 2, True),
        (pcb.CellBox(dose_saturation=None, envelope="clip"), 1, False),
        (pcb.CellBox(dose_saturation=None, envelope="hill"), 2, True),
        (pcb.CellBox(dose_saturation=None, envelope="linear"), 1000, False),
        (pcb.CellBox(dose_saturation=None, form="ji"), 6, True),
    ],
)
def test_what_saturates_depends_on_the_model(model, top, flat):
    from pycellbox.doubts.doses import doubt_sizes
    from pycellbox.models import Structure

    data = with_doses(lab(), lambda u: u * top / 2)
    structure = Structure.over(model, data["node"].values, data["node_kind"].values)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        doubt_sizes(data, structure)
    assert bool(caught) is flat


def test_doses_of_proteins_saturate_too():
    data = lab()
    data["perturbation"].values[2, 0] = 50.0
    assert FLAT in doubts(data)[0]


@pytest.mark.parametrize("make", [lab, course])
def test_nothing_perturbed_is_refused_before_work(make):
    data = with_doses(make(), np.zeros_like)
    with pytest.raises(pcb.DataError, match=r"perturbed.*dose"):
        pcb.fit(data, progress=False)
    perturbed_in_validation = list(make()["condition"].values[2:])
    with pytest.raises(pcb.DataError, match="2 conditions"):
        pcb.fit(make(), validation=perturbed_in_validation, progress=False)


def test_an_envelope_that_moves_by_itself_learns_without_perturbation():
    rest = with_doses(lab(), np.zeros_like)
    model = pcb.CellBox(envelope="sigmoid")
    with pytest.warns(pcb.DataWarning, match="same perturbation"):
        assert pcb.fit(rest, model, schedule=ONE, progress=False).status == "completed"


def shared_tables() -> dict[str, Callable[[], xr.Dataset]]:
    def tables(folder: Path) -> Callable[[], xr.Dataset]:
        return lambda: pcb.read_csv(
            folder / "pert.csv", folder / "expr.csv", node_kind=folder / "kinds.csv"
        )

    def bare(folder: Path, kinds: dict[str, int]) -> Callable[[], xr.Dataset]:
        return lambda: pcb.read_csv(
            folder / "pert.csv",
            folder / "expr.csv",
            nodes=folder / "node_Index.csv",
            node_kind=kinds,
        )

    found = {
        f"{part}/{folder.name}": tables(folder)
        for part in ("crc", "hpn", "liver")
        for folder in sorted((SHARED_DATA / part / "tables").glob("*"))
    }
    for folder in sorted((SHARED_DATA / "signalling").glob("*_n*")):
        n = int(folder.name.split("_n")[1].split("_")[0])
        found[f"signalling/{folder.name}"] = bare(folder, {"protein": n, "drug": 10})
    if (SHARED_DATA / "melanoma").is_dir():
        kinds = {"protein": 82, "phenotype": 5, "drug": 12}
        found["melanoma"] = bare(SHARED_DATA / "melanoma", kinds)
    return found


@pytest.mark.slow
@pytest.mark.skipif(not SHARED_DATA.is_dir(), reason=f"no data in {SHARED_DATA}")
def test_published_tables_raise_no_doubt():
    from pycellbox.doubts import doubt_data
    from pycellbox.models import Structure

    with warnings.catch_warnings():
        warnings.simplefilter("error", pcb.DataWarning)
        for make in shared_tables().values():
            data = make()
            kinds = data["node_kind"].values
            doubt_data(data, Structure.over(pcb.CellBox(), data["node"].values, kinds))


def test_melanoma_without_kinds_is_a_screen_without_drugs(melanoma_dir):
    data = pcb.read_csv(
        melanoma_dir / "pert.csv", melanoma_dir / "expr.csv", nodes=melanoma_dir / "node_Index.csv"
    )
    found = doubts(data)
    assert len(found) == 1
    assert "12 nodes" in found[0]
    assert "node_kind" in found[0]


@pytest.fixture(scope="module")
def fitted() -> pcb.Fit:
    rows = [c for c in lab()["condition"].values if "aERK" not in c]
    return pcb.fit(lab().sel(condition=rows), schedule=pcb.Stage(3), progress=False)


def predicted(fit: pcb.Fit, dose: float, node: str = "aMEK") -> list[str]:
    u = lab()["perturbation"].isel(condition=[0, 3, 4])
    u.values[:] = 0
    u.loc[{"condition": u["condition"][1], "node": node}] = dose
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit.predict(u)
        assert all(w.filename == __file__ for w in caught)
        first = [str(w.message) for w in caught if w.category is pcb.DataWarning]
        caught.clear()
        data = lab().isel(condition=[0, 3, 4]).assign(perturbation=u)
        fit.evaluate(data, baselines=False)
    assert [str(w.message) for w in caught if w.category is pcb.DataWarning] == first
    return first


@pytest.mark.parametrize(
    ("dose", "node", "known"),
    [
        (-1400, "aMEK", "from -2 to -0.5"),
        (-7, "aMEK", "from -2 to -0.5"),
        (0.5, "aMEK", "from -2 to -0.5"),
        (-1, "aERK", "not dosed at all"),
        (1, "p0", "not dosed at all"),
    ],
)
def test_a_dose_far_from_the_fitted_ones_is_named(fitted, dose, node, known):
    found = predicted(fitted, dose, node)
    assert len(found) == 1
    assert "'aMEK1'" in found[0]
    assert f"{node!r} at {dose:g}" in found[0]
    assert known in found[0]


def test_a_perturbed_protein_may_have_either_sign():
    data = lab()
    data["perturbation"].loc[{"condition": "ctrl1", "node": "p0"}] = 0.5
    fit = pcb.fit(data, schedule=ONE, progress=False)
    assert predicted(fit, -1, "p0") == []
    assert len(predicted(fit, -2, "p0")) == 1


@pytest.mark.parametrize("dose", [0, -0.1, -2, -5.9])
def test_a_dose_near_the_fitted_ones_is_predicted_in_silence(fitted, dose):
    assert predicted(fitted, dose) == []


def test_warnings_can_be_filtered_and_are_of_the_family():
    data = with_response(lab(), np.exp)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", category=pcb.DataWarning)
        pcb.fit(data, schedule=ONE, backend="numpy", progress=False)
    with pytest.warns(pcb.PycellboxWarning):
        pcb.fit(data, schedule=ONE, backend="numpy", progress=False)


@pytest.mark.slow
def test_a_call_that_fits_often_warns_once(monkeypatch):
    data = with_response(lab(), np.exp)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit = pcb.fit(data, schedule=pcb.Stage(2), backend="numpy", progress=False)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        pcb.prune(fit, edges=[20, 10], folds=2)
    ours = [w for w in caught if issubclass(w.category, pcb.PycellboxWarning)]
    sorts = [str(w.message)[:30] for w in ours]
    assert len(set(sorts)) == len(sorts)
    assert all(w.filename == __file__ for w in ours)
    # The next call of the user warns again.
    assert doubts(data) == doubts(data) != []


@pytest.fixture
def tables(tmp_path: Path) -> tuple[Path, Path, Path]:
    """Perturbations and responses as ratios, and kinds."""
    data = with_response(lab(), np.exp)
    paths = tuple(tmp_path / f"{name}.csv" for name in ("pert", "expr", "kinds"))
    for name, path in zip(("perturbation", "response"), paths, strict=False):
        data[name].to_pandas().to_csv(path)
    pd.Series(data["node_kind"].values, index=data["node"].values, name="kind").to_csv(paths[2])
    return paths


@pytest.mark.filterwarnings("default::pycellbox.PycellboxWarning")
def test_the_command_line_prints_warnings_in_one_line(tables, tmp_path, capsys):
    before = warnings.showwarning
    u, x, kinds = map(str, tables)
    out = str(tmp_path / "f.nc")
    data = ["--perturbation", u, "--response", x, "--node-kind", kinds]
    assert (
        main(["fit", *data, "--test", "0.3", "--iterations", "2", "--out", out, "--no-baselines"])
        == 0
    )
    lines = [t for t in capsys.readouterr().err.splitlines() if "warning" in t.lower()]
    assert len(lines) == 1
    assert lines[0].startswith("pycellbox: warning: none of ")
    new = pd.read_csv(u, index_col=0).iloc[3:5] * 700
    new.to_csv(tmp_path / "new.csv")
    arguments = ["predict", out, "--perturbation", str(tmp_path / "new.csv")]
    assert main([*arguments, "--out", str(tmp_path / "p.csv")]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert sum(t.startswith("pycellbox: warning: predicted far outside") for t in lines) == 1
    assert all(t.startswith("pycellbox: ") for t in lines)
    assert warnings.showwarning is before


def test_the_command_line_leaves_other_warnings_to_python(capsys, monkeypatch):
    from pycellbox.cli import commands
    from pycellbox.errors import warn

    def noisy(_: object) -> int:
        warnings.warn("of another library", RuntimeWarning, stacklevel=1)
        for number in range(3):
            warn(f"first\n sort {number}", pcb.NumericsWarning)
        warn("second sort", pcb.FileWarning)
        return 0

    monkeypatch.setattr(commands, "evaluate", noisy)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        assert main(["evaluate", "x.nc", "--data", "y.nc"]) == 0
    assert [str(w.message) for w in caught] == ["of another library"]
    told = capsys.readouterr().err
    ours = [line for line in told.splitlines() if line.startswith("pycellbox: warning: ")]
    assert ours == ["pycellbox: warning: first sort 0", "pycellbox: warning: second sort"]


def test_a_warning_as_an_error_ends_the_command_in_one_line(tables, tmp_path, capsys):
    u, x, kinds = map(str, tables)
    arguments = ["fit", "--perturbation", u, "--response", x, "--node-kind", kinds]
    with warnings.catch_warnings():
        warnings.simplefilter("error", pcb.DataWarning)
        assert main([*arguments, "--out", str(tmp_path / "f.nc")]) == 2
    told = capsys.readouterr().err
    assert told.startswith("pycellbox: error: none of ")
    assert len(told.splitlines()) == 1
