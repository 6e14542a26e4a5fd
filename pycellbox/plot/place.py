"""Where a picture is drawn: a figure of its own, or axes or a figure that the caller gives."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

import numpy as np

from pycellbox.common.options import instance
from pycellbox.common.plain import length
from pycellbox.errors import OptionError, PycellboxError
from pycellbox.plot.notebook import show_once
from pycellbox.plot.style import SMALL, STYLE, TINY
from pycellbox.views import kernel_shell

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, FigureBase

_Layout: TypeAlias = Literal["constrained", "compressed"]


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


def check_ax(ax: object) -> None:
    """Refuse what is no axes to draw into, before any work is done."""
    require_matplotlib()
    if ax is None:
        return
    from matplotlib.axes import Axes

    if isinstance(ax, np.ndarray | Sequence) and not isinstance(ax, str):
        count = ax.size if isinstance(ax, np.ndarray) else length(ax)
        raise OptionError(f"ax holds {count} entries; it needs one matplotlib Axes, as ax[0].")
    needs = "a single matplotlib Axes, such as figure.subplots() gives"
    given = instance(Axes, needs)("ax", ax)
    if given.name != "rectilinear":
        raise OptionError(f"ax is {given.name}; it needs plain axes, without a projection.")
    _check_alive("ax", given, Axes)


def check_figure(figure: object) -> None:
    """Refuse what is no empty figure or part of one, before any work is done."""
    require_matplotlib()
    if figure is None:
        return
    from matplotlib.figure import FigureBase, SubFigure

    needs = "a matplotlib Figure, or a part of one that figure.subfigures() gives"
    given = instance(FigureBase, needs)("figure", figure)
    _check_alive("figure", given, SubFigure)
    if given.axes or given.subfigs:
        raise OptionError(
            "figure has axes or parts already, which the picture would cover; give a new figure, "
            "one after figure.clear(), or an empty part of figure.subfigures()."
        )


def check_room(figure: FigureBase | None, width: float, height: float) -> None:
    """Refuse a figure in which a picture would be smaller than its texts, in inches."""
    if figure is not None:
        wide, high = room(figure)
        if wide < width or high < height:
            raise OptionError(
                f"figure is {wide:.1f} × {high:.1f} inches; this picture needs at least "
                f"{width:.1f} × {height:.1f}: give it a larger one, or draw less."
            )


def _check_alive(name: str, artist: Any, kind: type) -> None:
    """Refuse what was removed from its figure, or is part of one that pyplot has closed."""
    from matplotlib._pylab_helpers import Gcf

    figure: Any = root_of(artist)
    if figure is not artist and (figure is None or artist not in figure.findobj(kind)):
        raise OptionError(f"{name} was removed from its figure; give one that is part of a figure.")
    manager = Gcf.figs.get(getattr(figure, "number", -1))
    closed = hasattr(figure, "number") and (manager is None or manager.canvas.figure is not figure)
    if closed and kernel_shell() is None:  # a notebook closes every figure when its cell ends
        raise OptionError(f"{name} is of a figure that was closed; make a new one.")


def root_of(artist: Any) -> Figure:
    """Return the whole figure that axes, or a part of a figure, belong to."""
    from matplotlib.figure import Figure

    while artist is not None and not isinstance(artist, Figure):
        artist = artist.figure
    return cast("Figure", artist)


@contextmanager
def new_figure(width: float, height: float, layout: _Layout = "constrained") -> Iterator[Figure]:
    """Make a figure of that many inches, to be drawn in the one style, whatever the user's is."""
    from matplotlib import style
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with style.context(["default", STYLE]):
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
    yield ax
    show_once(root_of(ax))


@contextmanager
def area(
    figure: FigureBase | None, width: float, height: float, layout: _Layout = "constrained"
) -> Iterator[FigureBase]:
    """Give the figure given, in its colours, with a layout that makes room for texts, or a new one.

    The axes that pyplot draws into next stay the same.
    """
    if figure is None:
        with new_figure(width, height, layout) as figure:
            yield figure
        return
    from matplotlib import style
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    root = root_of(figure)
    if not isinstance(root.get_layout_engine(), ConstrainedLayoutEngine):
        try:
            # In parts of a figure "compressed" moves axes beyond the edge.
            root.set_layout_engine(layout if figure is root else "constrained")
        except RuntimeError as error:  # there are colour bars of another layout
            raise OptionError(
                "figure cannot have the layout that the picture needs; make it with "
                f'layout="constrained" ({error}).'
            ) from error
    current = root.gca() if root.axes else None
    with style.context(STYLE):
        yield figure
    if current is not None:
        root.sca(current)
    show_once(root)


def room(place: Any) -> tuple[float, float]:
    """Return width and height of axes or of a figure, in inches."""
    box, dpi = place.bbox, root_of(place).dpi
    return box.width / dpi, box.height / dpi


def type_size(ax: Axes, most: float = SMALL) -> float:
    """Return the size of type in axes: smaller in small ones."""
    return min(most, max(TINY, 4.0 * min(room(ax))))


def write_labels(ax: Axes, x: str, y: str) -> None:
    """Name axes, in one line each."""
    width, height = room(ax)
    size = type_size(ax, 9.0)
    for text, inches, write in ((x, width, ax.set_xlabel), (y, height, ax.set_ylabel)):
        write(in_one_line(text, inches, size), fontsize=size)
    ax.tick_params(which="both", labelsize=min(size, SMALL))


def write_title(ax: Axes, title: str, inside: bool = False) -> float:
    """Write above axes, or at their top, and return how high it is there, in inches."""
    size = type_size(ax, SMALL if inside else 10.0)
    lines = wrapped(title, room(ax)[0], size)
    if not inside:
        ax.set_title(lines, fontsize=size)
        return 0.0
    high = 1.2 * size * (lines.count("\n") + 1)
    ax.set_title(lines, fontsize=size, y=1.0, pad=-high)
    return (high + 0.7 * size) / 72


def letters_in(inches: float, size: float) -> int:
    """Return about how many letters of that size a line has room for."""
    return int(inches / (0.52 * size / 72))


def in_one_line(text: str, inches: float, size: float) -> str:
    """Leave out what explains a name, after a comma or in brackets, if it would be too long."""
    return text if len(text) <= letters_in(inches, size) else re.split(r", | \(", text)[0]


def wrapped(text: str, inches: float, size: float) -> str:
    """Break a text into lines that are about so long at most."""
    most = max(letters_in(inches, size), 1)
    lines = (textwrap.fill(line, most, break_long_words=False) for line in text.splitlines())
    return "\n".join(lines)
