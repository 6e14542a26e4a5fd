"""The datasets in ``files/``, each a folder with its tables as published, licence and citation."""

from __future__ import annotations

from pathlib import Path

import xarray as xr

from pycellbox.data import read_csv

FILES = Path(__file__).parent / "files"


def melanoma() -> xr.Dataset:
    """Read the drug screen of melanoma cells on which CellBox was published.

    Twelve drugs, alone (23 conditions) and in pairs (66), and how 82 proteins and 5 phenotypes of
    SkMel-133 cells answered. One pair of conditions are replicates.

    Returns
    -------
    Dataset
        As `pycellbox.read_csv` makes it of ``pert.csv``, ``expr.csv`` and ``node_Index.csv`` of
        sanderlab/CellBox: ``perturbation`` and ``response`` (89 conditions, 99 nodes), steady
        states, log-ratio to the untreated control. Conditions are named after their doses, as
        ``"aMEK=-0.863+aHDAC=-0.551"``; an inhibitor is negative.

    Notes
    -----
    Measured by Korkut et al., Perturbation biology nominates upstream-downstream drug combinations
    in RAF inhibitor resistant melanoma cells, eLife 4:e04640 (2015), doi:10.7554/eLife.04640:
    cite it if you use the data. The files are those of https://github.com/sanderlab/CellBox, MIT
    licence, kept beside them.

    Examples
    --------
    >>> import pycellbox as pcb
    >>> dict(pcb.datasets.melanoma().sizes)
    {'condition': 89, 'node': 99}
    """
    folder = FILES / "melanoma"
    return read_csv(
        folder / "pert.csv",
        folder / "expr.csv",
        nodes=folder / "node_Index.csv",
        node_kind={"protein": 82, "phenotype": 5, "drug": 12},
    )


#: By the name that the command line knows.
DATASETS = {"melanoma": melanoma}
