"""`run_config`: other people's configurations on our engine."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from pycellbox.backends import BACKEND, BackendName
from pycellbox.common.files import PATH
from pycellbox.common.options import checked, flag, integer, optional
from pycellbox.ending import Ending
from pycellbox.errors import DataError, OptionError, once
from pycellbox.interop import files
from pycellbox.interop.keys import Unused
from pycellbox.interop.outcome import Outcome


@checked(
    path=PATH,
    out=optional(PATH),
    index=integer(0),
    drug=optional(integer()),
    overwrite=flag(),
    restart=flag(),
    backend=BACKEND,
    progress=flag(),
)
def run_config(
    path: str | Path,
    *,
    index: int = 0,
    drug: int | None = None,
    out: str | Path | None = None,
    overwrite: bool = False,
    restart: bool = False,
    backend: BackendName = "auto",
    progress: bool = False,
    tell: Callable[[str], None] = lambda text: None,
) -> Outcome:
    """Run a configuration of CellBox (JSON) or CellBox.jl (YAML) and write its results.

    Parameters
    ----------
    path : str or Path
        The configuration; a ``runtime.yaml`` that names one; or a folder with a ``config.yaml``.
    index : int
        ``-i`` of CellBox: runs with the same index are the same. A JSON configuration is seeded
        with it plus 1000, or plus its own seed.
    drug : int, optional
        ``-drug`` of CellBox: the drug to leave out, counted from 1.
    out : str or Path, optional
        Folder for the results; by default one in ``results``, named after experiment, settings
        and index.
    overwrite : bool
        Whether to replace a finished run there.
    restart : bool
        ``--is-restart`` of CellBox.jl: go on from the result that is there.
    backend : {"auto", "julia", "numpy", "jax"}
        As for `pycellbox.fit`.
    progress : bool
        Show progress bars.
    tell : callable
        Is given the keys that have no effect, what is done in the nearest way instead of the
        same, the folder, and a line for every finished sub-stage.

    Returns
    -------
    Outcome

    Raises
    ------
    OptionError
        A key or value is unknown or cannot be.
    DataError
        A file is missing or has another shape.
    ResultFileError
        The folder holds a finished run, or none to go on from.

    Notes
    -----
    CellBox: noise, partition and initial weights are those the original draws for the same index.
    Not the same are early stopping (the whole validation set once per epoch; the patience counts
    the epochs that hold n_iter_patience iterations) and the hand-over between sub-stages (the best
    parameters and fresh moments, not the last ones). The result is computed in double precision.

    CellBox.jl: the equation is that of its code, an update sees one condition up to a random
    time. The port has no seed, so nothing is the same number by number.
    """
    source = Path(path)
    if os.path.isdir(source):
        source = source / "config.yaml"
    wish = _Wish(
        index, drug, None if out is None else Path(out), overwrite, restart, backend, progress, tell
    )
    kind = source.suffix.lower()
    run = {".json": _run_json, ".yaml": _run_yaml, ".yml": _run_yaml}.get(kind)
    if run is not None:
        with once():  # the stages are fits of their own
            return run(source, wish)
    raise DataError(
        f"{source} is no configuration: its name needs to end in .json (CellBox), or in .yaml or "
        ".yml (CellBox.jl)."
    )


@dataclass(frozen=True)
class _Wish:
    """The options of `run_config`."""

    index: int
    drug: int | None
    out: Path | None
    overwrite: bool
    restart: bool
    backend: BackendName
    progress: bool
    tell: Callable[[str], None]


def _run_json(source: Path, wish: _Wish) -> Outcome:
    from pycellbox.interop.cellbox import experiment, reading, training

    if wish.restart:
        raise OptionError(
            f"{source}: a restart is for the configurations of CellBox.jl (YAML); those of "
            "CellBox start anew (--overwrite replaces a finished run)."
        )
    config = reading.read_config(source, wish.index, wish.drug)
    folder = wish.out or config.folder
    if not wish.overwrite:
        files.check_unfinished(folder)
    made = experiment.prepare(config)
    inputs = [source, *experiment.data_files(config).values()]
    with files.workplace(folder, inputs) as place:
        _introduce(config.unused, config.differences(), folder, wish.tell)
        outcome = training.run(
            config, made, place, backend=wish.backend, progress=wish.progress, tell=wish.tell
        )
        return _settled(outcome, folder, inputs, wish.tell)


def _run_yaml(source: Path, wish: _Wish) -> Outcome:
    from pycellbox.interop.cellbox_jl import config as jl_config
    from pycellbox.interop.cellbox_jl import material, reading, training

    if wish.drug is not None:
        raise OptionError(f"{source}: -drug is for the configurations of CellBox (JSON).")
    config = reading.read_config(source, wish.index, wish.restart)
    folder = wish.out or config.folder
    if not (config.restart or wish.overwrite):
        files.check_unfinished(folder)
    start = training.prepare(config, folder, wish.backend)
    inputs = [source, *material.data_files(config)]
    with nullcontext(folder) if config.restart else files.workplace(folder, inputs) as place:
        _introduce(config.unused, jl_config.DIFFERENCES, folder, wish.tell)
        outcome = training.run(config, start, place, backend=wish.backend, progress=wish.progress)
        return _settled(outcome, folder, inputs, wish.tell)


def _settled(
    outcome: Outcome, folder: Path, inputs: Sequence[Path], tell: Callable[[str], None]
) -> Outcome:
    """Let a finished run take the place of the one that was there."""
    if outcome.folder == folder:
        return outcome
    if outcome.fit.ending is not Ending.COMPLETED:
        tell(f"the finished result in {folder} stays; this run, cut short, is in {outcome.folder}")
        return outcome
    files.publish(outcome.folder, folder, inputs)
    return replace(outcome, folder=folder)


def _introduce(
    unused: Unused, differences: Sequence[str], folder: Path, tell: Callable[[str], None]
) -> None:
    if unused.reasons:
        tell(f"keys without effect here: {unused}.")
    for difference in differences:
        tell(f"not the same as in the original: {difference}.")
    tell(f"results go to {folder}")
