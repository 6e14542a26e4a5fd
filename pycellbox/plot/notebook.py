"""Pictures in notebooks: each is shown once, at the end of the cell that made it.

That is what pyplot's inline backend does for its own figures. Ours are none of pyplot's, so that
nothing pops up and nothing has to be closed; a notebook would show them as text, and those drawn
into axes of pyplot's twice where they end a cell.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from pycellbox.views import kernel_shell

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST = 20
"""So many figures of a cell are held back for its end, so that a loop does not fill the memory."""

_pending: list[Figure] = []
_drawn_into: list[Figure] = []  # figures of pyplot's, which it shows itself


def show_once(figure: Figure) -> None:
    """Have a notebook show a figure; do nothing in a script or a terminal."""
    shell = kernel_shell()
    if shell is None:
        return
    from IPython.display import display
    from matplotlib.figure import Figure

    formatter = shell.display_formatter
    if not any(_knows(kind, Figure) for kind in formatter.formatters.values()):
        from IPython.core.pylabtools import print_figure

        png = partial(print_figure, fmt="png", base64=True, bbox_inches="tight")
        formatter.formatters["image/png"].for_type(Figure, png)
    # Called before any other, for whatever way a figure is shown.
    formatter.mimebundle_formatter.for_type(Figure, _is_shown)
    shell.events.register("post_execute", _end_of_cell)
    figures = _drawn_into if _is_pyplots(figure) else _pending
    if figure not in figures:
        figures.append(figure)
    while len(_pending) > MOST:
        display(_pending.pop(0))


def _knows(formatter: Any, kind: type) -> bool:
    try:
        formatter.lookup_by_type(kind)
    except KeyError:
        return False
    return True


def _is_pyplots(figure: Figure) -> bool:
    from matplotlib._pylab_helpers import Gcf

    return figure.canvas.manager in Gcf.get_all_fig_managers()


def _is_shown(figure: Figure) -> dict[str, str]:
    """Note that a figure is shown now, so that the end of the cell does not show it again."""
    if figure in _pending:
        _pending.remove(figure)
    if figure in _drawn_into:
        _drawn_into.remove(figure)
        from matplotlib import get_backend, pyplot

        if "inline" in get_backend():
            pyplot.close(figure)
    return {}


def _end_of_cell() -> None:
    from IPython.display import display

    _drawn_into.clear()
    while _pending:
        display(_pending.pop(0))
