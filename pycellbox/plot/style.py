"""The one style of all pictures: sizes, and colors that everybody can tell apart."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from pycellbox.errors import PycellboxError
from pycellbox.plot.notebook import show_once

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_Layout: TypeAlias = Literal["constrained", "compressed"]

# Okabe and Ito's palette (https://jfly.uni-koeln.de/color/): told apart under all common forms of
# color blindness. Its yellow is left out, which is too pale for lines on white. Shapes or dashes
# differ as well, for print in black and white.
BLACK, BLUE, VERMILION, GREEN = "#000000", "#0072B2", "#D55E00", "#009E73"
PURPLE, ORANGE, SKY = "#CC79A7", "#E69F00", "#56B4E9"
GREY, DARK_GREY = "#999999", "#595959"
PALETTE = (BLUE, VERMILION, SKY, BLACK, ORANGE, GREEN, PURPLE)  # the closest pair comes last
MARKERS = ("o", "s", "^", "D", "v", "P", "X")

KINDS = {"protein": (BLUE, "o"), "phenotype": (VERMILION, "^"), "drug": (GREEN, "s")}
PLURALS = {"protein": "proteins", "phenotype": "phenotypes", "drug": "drugs"}

# Signs of interactions, the same in every picture: red activates, blue inhibits. Red and blue are
# told apart by all, and white is zero.
DIVERGING = "RdBu_r"
ACTIVATES, INHIBITS = "#B2182B", "#2166AC"

SMALL = 8.0
TINY = 6.5
"""The smallest type, in points."""

_STYLE: Any = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.labelsize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "legend.fontsize": SMALL,
    "legend.frameon": False,
    "lines.linewidth": 1.4,
}


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
def new_figure(width: float, height: float, layout: _Layout = "constrained") -> Iterator[Figure]:
    """Make a figure of that many inches, to be drawn in the one style, whatever the user's is."""
    require_matplotlib()
    from matplotlib import style
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with style.context(["default", _STYLE]):
        figure = Figure(figsize=(width, height), layout=layout)
        FigureCanvasAgg(figure)
        yield figure
    show_once(figure)


@contextmanager
def one_axes(ax: Axes | None, width: float, height: float) -> Iterator[Axes]:
    """Give the axes given, in the style it has, or the only one of a new figure."""
    if ax is None:
        with new_figure(width, height) as figure:
            yield figure.add_subplot()
        return
    require_matplotlib()
    from matplotlib.axes import Axes

    if not isinstance(ax, Axes):
        raise PycellboxError(
            f"ax is a {type(ax).__name__}; it needs a single matplotlib Axes, such as "
            "figure.subplots() gives."
        )
    yield ax
    show_once(figure_of(ax))


def figure_of(ax: Axes) -> Figure:
    """Return the whole figure that an axes is part of."""
    from matplotlib.figure import Figure

    figure = ax.figure
    while not isinstance(figure, Figure):
        figure = figure.figure
    return figure
