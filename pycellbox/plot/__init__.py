"""Pictures of data, fits and networks, as matplotlib figures.

Every function takes a fit first, or the part of one that it draws, then what the fit is compared
with, and returns a ``matplotlib.figure.Figure``, which `save_figure` writes to a file. Pictures of
a single panel are drawn into axes that are given (``ax=``), those of several into an empty figure
or a part of one (``figure=``); the whole figure is returned then. In a small place there is less to
see, and in small type. A notebook shows each picture once, at the end of the cell that made it, as
the cell left it and whether or not it was assigned; a script shows none. New figures are not
pyplot's: nothing pops up and nothing has to be closed. Nothing here changes matplotlib's settings
or needs a screen. matplotlib comes with ``pip install "pycellbox[plot]"`` and is imported when a
picture is made.
"""

from __future__ import annotations

from pycellbox.plot.agreement import observed_against_predicted
from pycellbox.plot.courses import trajectories
from pycellbox.plot.files import save_figure
from pycellbox.plot.graph import network
from pycellbox.plot.heatmaps import interactions
from pycellbox.plot.place import require_matplotlib
from pycellbox.plot.profiles import profile
from pycellbox.plot.progress import loss_history
from pycellbox.plot.recovery import fitted_against_true, precision_recall

__all__ = [
    "fitted_against_true",
    "interactions",
    "loss_history",
    "network",
    "observed_against_predicted",
    "precision_recall",
    "profile",
    "require_matplotlib",
    "save_figure",
    "trajectories",
]
