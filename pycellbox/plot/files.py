"""Pictures as files."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pycellbox.common.files import PATH, write_whole
from pycellbox.common.options import checked, instance
from pycellbox.errors import OptionError
from pycellbox.plot.place import require_matplotlib

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 300
_MARGIN = 0.05  # inch

_SAVING: Any = {"pdf.fonttype": 42, "ps.fonttype": 42}  # text that can be edited and searched


@checked(path=PATH)
def save_figure(figure: Figure, path: str | os.PathLike[str]) -> Path:
    """Write a figure to a file at 300 dots per inch, whole or not at all.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        As the functions of `pycellbox.plot` return it.
    path : str or path-like
        The suffix says the format: .png, .pdf, .svg and what else matplotlib knows.

    Returns
    -------
    pathlib.Path
        The file that was written. The page ends where the picture does, with a small margin.

    Raises
    ------
    OptionError
        The suffix is none that matplotlib knows.
    ResultFileError
        The folder is missing, or the file cannot be written.
    """
    require_matplotlib()
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    instance(Figure, "a figure of pcb.plot")("figure", figure)
    form = Path(path).suffix.lower().lstrip(".")
    known = figure.canvas.get_supported_filetypes()
    if form not in known:
        raise OptionError(
            f"cannot write a picture to {str(path)!r}: the file name needs one of the endings "
            f"{', '.join('.' + name for name in sorted(known))}."
        )
    image = io.BytesIO()
    with rc_context(_SAVING):
        figure.savefig(image, format=form, dpi=DPI, bbox_inches="tight", pad_inches=_MARGIN)
    return write_whole(path, image.getvalue())
