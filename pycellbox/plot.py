"""Pictures of data, fits and networks, as matplotlib figures.

Nothing here touches matplotlib's global state or needs a screen: every function returns a
`matplotlib.figure.Figure`, which a notebook shows by itself and `save_figure` writes to a file.
matplotlib comes with ``pip install "pycellbox[plot]"`` and is imported when a picture is made.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import xarray as xr

from pycellbox import metrics
from pycellbox.data.netcdf import write_whole
from pycellbox.errors import DataError, PycellboxError
from pycellbox.result import Fit

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "fitted_against_true",
    "interactions",
    "loss_history",
    "observed_against_predicted",
    "require_matplotlib",
    "save_figure",
]

_Layout: TypeAlias = Literal["constrained", "compressed"]

DPI = 300
MAX_NAMED = 40
"""Networks up to this size have every node named in a heat map."""

# Okabe and Ito's palette: told apart under all common forms of colour blindness. Shapes differ
# as well, for print in black and white.
_BLUE, _ORANGE, _GREEN, _GREY = "#0072B2", "#D55E00", "#009E73", "#7F7F7F"
_KINDS = {"protein": (_BLUE, "o"), "phenotype": (_ORANGE, "^"), "drug": (_GREEN, "s")}
_PLURALS = {"protein": "proteins", "phenotype": "phenotypes", "drug": "drugs"}
_DIVERGING = "RdBu_r"  # red and blue are told apart by all; white is zero

_STYLE: Any = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.labelsize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "lines.linewidth": 1.4,
}


def observed_against_predicted(
    predicted: xr.DataArray, observed: xr.DataArray, *, title: str | None = None
) -> Figure:
    """Draw every measured response against its prediction, by kind of node.

    Parameters
    ----------
    predicted, observed : DataArray (condition[, time], node)
        With the same labels, in any order; NaN in ``observed`` is left out. Kinds are read from
        the coordinate ``node_kind`` of either.
    title : str, optional
        A line above the picture.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    DataError
        Labels or dims differ, or nothing was measured.
    PycellboxError
        matplotlib is not installed.
    """
    score = f"Pearson {metrics.pearson(predicted, observed):.3f}\n"
    score += f"MSE {metrics.mse(predicted, observed):.3g}"
    predicted = predicted.sel({d: observed[d].values for d in observed.dims})
    predicted = predicted.transpose(*observed.dims)
    kinds = _kinds(observed, predicted)
    measured = np.isfinite(observed.values)
    if not measured.any():
        raise DataError("nothing was measured: there is no observed response to draw.")
    with _figure(4.0, 4.0) as figure:
        ax = figure.add_subplot()
        limits = _identity_line(ax, observed.values[measured], predicted.values[measured])
        size, alpha = _dot(int(measured.sum()))
        for kind, (colour, marker) in _KINDS.items():
            which = measured & np.broadcast_to(
                (kinds == kind).reshape([-1 if d == "node" else 1 for d in observed.dims]),
                observed.shape,
            )
            if which.any():
                ax.plot(
                    predicted.values[which], observed.values[which], marker, ls="none", ms=size,
                    mfc=colour, mec="none", alpha=alpha, label=_PLURALS[kind],
                )  # fmt: skip
        ax.set(xlim=limits, ylim=limits, aspect="equal", title=title or "")
        ax.set(xlabel=_axis_label("predicted", observed), ylabel=_axis_label("observed", observed))
        ax.text(0.04, 0.96, score, transform=ax.transAxes, va="top")
        legend = ax.legend(loc="lower right", handletextpad=0.1, markerscale=5 / size)
        for handle in legend.get_lines():
            handle.set_alpha(1)
    return figure


def loss_history(fit: Fit | xr.Dataset) -> Figure:
    """Draw the loss over the iterations, with the bounds between stages.

    Parameters
    ----------
    fit : Fit, or Dataset as ``fit.history``

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    DataError
        There is no iteration to draw.
    PycellboxError
        matplotlib is not installed.
    """
    history = fit.history if isinstance(fit, Fit) else fit
    if history.sizes.get("iteration", 0) == 0:
        raise DataError("the history holds no iteration: there is no loss to draw.")
    iteration = history["iteration"].values
    with _figure(5.0, 3.2) as figure:
        ax = figure.add_subplot()
        ax.plot(iteration, history["loss"].values, color=_BLUE, label="training")
        validation = history["validation_loss"].values
        judged = np.isfinite(validation)
        if judged.any():
            ax.plot(iteration[judged], validation[judged], "--", color=_ORANGE, label="validation")
            ax.legend()
        stage = history["stage"].values
        for i in np.flatnonzero(np.diff(stage)):
            at = float(iteration[i]) + 0.5
            ax.axvline(at, color=_GREY, lw=0.8, ls=":")
            ax.annotate(
                f"stage {stage[i + 1]}", (at, 1), xycoords=("data", "axes fraction"),
                xytext=(3, -2), textcoords="offset points", va="top", color=_GREY, fontsize=8,
            )  # fmt: skip
        if (history["loss"].values > 0).all():
            ax.set_yscale("log")
        ax.set(xlabel="iteration", ylabel="loss (mean over measured entries)")
        ax.margins(x=0.02)
    return figure


def interactions(fit: Fit | xr.DataArray, truth: xr.DataArray | None = None) -> Figure:
    """Draw the interactions W as a heat map, the true ones beside them if they are known.

    Parameters
    ----------
    fit : Fit, or DataArray (target, source)
        A fit, or its W.
    truth : DataArray (target, source), optional
        True interactions of the same nodes, drawn on the same scale.

    Returns
    -------
    matplotlib.figure.Figure
        Red for activation, blue for inhibition, white for none. Nodes are named where there are
        at most 40; in larger networks the few strongest percent of the interactions share the
        ends of the colour scale, so that the weaker ones can be seen.

    Raises
    ------
    DataError
        Dims or labels differ.
    PycellboxError
        matplotlib is not installed.
    """
    W = _interactions_of(fit)
    panels = {"fitted" if truth is not None else "": W}
    if truth is not None:
        panels["true"] = _like(truth, W)
    n = W.sizes["target"]
    named = n <= MAX_NAMED
    magnitude = np.abs(np.concatenate([panel.values.ravel() for panel in panels.values()]))
    edges = magnitude[magnitude > 0]
    top = float(edges.max() if named else np.percentile(edges, 98)) if edges.size else 1.0
    side = min(max(2.2, 0.24 * n), 5.5) if named else 4.8
    with _figure(side * len(panels) + 2.0, side + 1.3, layout="compressed") as figure:
        row = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
        for ax, (title, panel) in zip(row, panels.items(), strict=True):
            image = ax.imshow(panel.values, cmap=_DIVERGING, vmin=-top, vmax=top)
            ax.set(title=title, xlabel="source node")
            ax.spines[:].set_visible(True)
            _name_nodes(ax, W, kinds=fit.data["node_kind"] if isinstance(fit, Fit) else None)
        row[0].set_ylabel("target node")
        bar = figure.colorbar(
            image, ax=list(row), shrink=0.8, pad=0.02,
            extend="neither" if named else "both", label="interaction W (inhibits – activates)",
        )  # fmt: skip
        bar.ax.tick_params(width=0.8)
    return figure


def fitted_against_true(
    fit: Fit | xr.DataArray, truth: xr.DataArray, *, mask: xr.DataArray | None = None
) -> Figure:
    """Draw fitted interactions against the true ones.

    Parameters
    ----------
    fit : Fit, or DataArray (target, source)
        A fit, or its W.
    truth : DataArray (target, source)
        True interactions of the same nodes.
    mask : DataArray of bool (target, source), optional
        True where an edge may exist, such as `pycellbox.networks.Network.mask`; only those
        entries are drawn. By default all but the diagonal.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    DataError
        Dims or labels differ.
    PycellboxError
        matplotlib is not installed.
    """
    W = _interactions_of(fit)
    score = metrics.recovery(W, truth, mask=mask)
    free = ~np.eye(W.sizes["target"], dtype=bool)
    if mask is not None:
        free &= _like(mask, W).values.astype(bool)
    fitted, true = W.values[free], _like(truth, W).values[free]
    edge = true != 0
    with _figure(4.0, 4.0) as figure:
        ax = figure.add_subplot()
        limits = _identity_line(ax, true, fitted)
        style: dict[str, Any] = {"ls": "none", "ms": 5, "mec": "none", "alpha": 0.75}
        ax.axhline(0, color=_GREY, lw=0.5, zorder=0)
        ax.plot(true[~edge], fitted[~edge], "o", mfc=_GREY, label="no true interaction", **style)
        ax.plot(true[edge], fitted[edge], "D", mfc=_BLUE, label="true interaction", **style)
        ax.set(xlim=limits, ylim=limits, aspect="equal")
        ax.set(xlabel="true interaction W", ylabel="fitted interaction W")
        text = f"Pearson {score['pearson']:.3f}\nsigns right {score['sign_accuracy']:.0%}"
        ax.text(0.04, 0.96, text, transform=ax.transAxes, va="top")
        ax.legend(loc="lower right", handletextpad=0.1)
    return figure


def save_figure(figure: Figure, path: str | os.PathLike[str]) -> Path:
    """Write a figure to a file at 300 dots per inch, whole or not at all.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    path : str or path-like
        The suffix says the format: .png, .pdf, .svg and what else matplotlib knows.

    Returns
    -------
    pathlib.Path
        The file that was written.

    Raises
    ------
    PycellboxError
        The suffix is none that matplotlib knows.
    ResultFileError
        The folder is missing, or the file cannot be written.
    """
    form = Path(path).suffix.lower().lstrip(".")
    known = figure.canvas.get_supported_filetypes()
    if form not in known:
        raise PycellboxError(
            f"cannot write a picture to {str(path)!r}: the file name needs one of the endings "
            f"{', '.join('.' + name for name in sorted(known))}."
        )
    return write_whole(path, lambda part: figure.savefig(part, format=form, dpi=DPI))


def require_matplotlib() -> None:
    """Say how to install matplotlib if it is missing.

    Raises
    ------
    PycellboxError
        matplotlib is not installed.
    """
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise PycellboxError(
            'pictures need matplotlib, which is not installed: pip install "pycellbox[plot]"'
        ) from error


@contextmanager
def _figure(width: float, height: float, layout: _Layout = "constrained") -> Iterator[Figure]:
    """Make a figure of that many inches, to be drawn in the one style of this module."""
    require_matplotlib()
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout=layout)
        FigureCanvasAgg(figure)
        yield figure


def _interactions_of(fit: Fit | xr.DataArray) -> xr.DataArray:
    W = fit.parameters["W"] if isinstance(fit, Fit) else fit
    if not isinstance(W, xr.DataArray) or set(W.dims) != {"target", "source"}:
        raise DataError(
            "interactions are needed as a Fit or as a DataArray with the dims (target, source), "
            f"such as fit.parameters['W']; a {type(W).__name__} was given."
        )
    matrix: xr.DataArray = W.transpose("target", "source")
    return matrix


def _like(array: xr.DataArray, W: xr.DataArray) -> xr.DataArray:
    """Put another matrix of interactions into the order of W."""
    metrics.recovery(W, array)  # names what does not fit
    same = {dim: W[dim].values for dim in ("target", "source")}
    ordered: xr.DataArray = array.sel(same).transpose("target", "source")
    return ordered


def _kinds(*arrays: xr.DataArray) -> npt.NDArray[np.str_]:
    for array in arrays:
        if "node_kind" in array.coords:
            return np.asarray(array["node_kind"].values, dtype=np.str_)
    return np.full(arrays[0].sizes["node"], "protein")


def _axis_label(which: str, observed: xr.DataArray) -> str:
    quantity = str(observed.attrs.get("long_name", "response"))
    if "," not in quantity:  # a name without its unit
        quantity += ", " + str(observed.attrs.get("description", "log-ratio to the control"))
    return f"{which} {quantity}".replace("the unperturbed control", "the control")


def _identity_line(
    ax: Axes, first: npt.NDArray[Any], second: npt.NDArray[Any]
) -> tuple[float, float]:
    """Draw y = x over the range of both, and return that range with a margin."""
    low, high = min(first.min(), second.min()), max(first.max(), second.max())
    margin = 0.06 * (high - low) or 1.0
    limits = (float(low - margin), float(high + margin))
    ax.plot(limits, limits, color=_GREY, lw=0.8, zorder=0)
    return limits


def _dot(count: int) -> tuple[float, float]:
    """Size and opacity of the dots: smaller and paler where there are many."""
    return (4.5, 0.7) if count < 500 else (3.0, 0.45) if count < 5000 else (2.0, 0.25)


def _name_nodes(ax: Axes, W: xr.DataArray, kinds: xr.DataArray | None) -> None:
    """Name the nodes, or in large networks the blocks of nodes of one kind."""
    n = W.sizes["target"]
    if n <= MAX_NAMED:
        ax.set_xticks(range(n), [str(v) for v in W["source"].values], rotation=90)
        ax.set_yticks(range(n), [str(v) for v in W["target"].values])
        return
    if kinds is None:
        return
    names = np.asarray(kinds.sel(node=W["target"].values).values, dtype=np.str_)
    starts = np.flatnonzero(np.concatenate([[True], names[1:] != names[:-1]]))
    ends = np.append(starts[1:], n)
    if len(starts) > len(_KINDS):  # kinds are scattered: there are no blocks
        return
    centres = (starts + ends - 1) / 2
    labels = [_PLURALS[names[start]] for start in starts]
    ax.set_xticks(centres, labels, rotation=90)
    ax.set_yticks(centres, labels)
    ax.tick_params(length=0)
    for start in starts[1:]:
        ax.axhline(start - 0.5, color="black", lw=0.5)
        ax.axvline(start - 0.5, color="black", lw=0.5)
