"""Published experiments that are more than a dose at time zero.

Of each a function of pandas alone reads the files into two tables, doses and log-ratios to a
control, as an experimenter has them; another enters them, in at most six lines. Where a measurement
may be zero a small amount is added before its logarithm.
"""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

import numpy as np
import pandas as pd
import xarray as xr

import pycellbox as pcb

Tables: TypeAlias = tuple[pd.DataFrame, pd.DataFrame, dict[str, str]]
IRMA = ("CBF1", "GAL4", "SWI5", "GAL80", "ASH1")
IRMA_ROWS = ["none"] * 3 + [gene for gene in IRMA for _ in range(9 if gene == "GAL80" else 3)]


def hpn(file: Path) -> xr.Dataset:
    """Breast cancer cells: inhibitors long before the stimulus, which is given at time 0."""
    doses, responses, kinds = read_hpn(file)
    inhibitors = [name for name in doses if name.endswith("i") and doses[name].any()]
    data = pcb.from_tables(doses, responses, node_kind=kinds, time_units="h")
    return pcb.regimen(data, pcb.pretreat(inhibitors))


def gut(file: Path) -> xr.Dataset:
    """Gut flora of mice: an antibiotic for a day, then spores; each mouse begins elsewhere."""
    doses, responses, kinds = read_gut(file)
    data = pcb.from_tables(doses, responses, node_kind=kinds, time_units="d")
    given = pcb.pulse("clindamycin", "0 d", "1 d"), pcb.pulse("spores", "1 d", "2 d")
    return pcb.regimen(data, *given, pcb.start_as_measured())


def dream4(folder: Path) -> xr.Dataset:
    """Genes of a simulation: inputs end at half-time; knock-outs; knock-downs to unknown levels."""
    doses, responses, kinds = read_dream4(folder)
    data = pcb.from_tables(doses, responses, node_kind=kinds, time_units="h")
    nothing = {gene: responses.loc[f"{gene} out", gene].iloc[0] for gene in list(doses)[:10]}
    out = [pcb.knockout(g, level=y, conditions=f"{g} out") for g, y in nothing.items()]
    down = [pcb.knockdown(gene, conditions=f"{gene} down") for gene in nothing]
    return pcb.regimen(data, pcb.pulse(list(doses)[10:], "0 min", "500 min"), *out, *down)


def irma(folder: Path) -> xr.Dataset:
    """Yeast genes: from glucose to galactose and back; steady samples with one gene held high."""
    doses, responses, kinds = read_irma(folder)
    data = pcb.from_tables(doses, responses, node_kind=kinds, time_units="h")
    data["held"] = data["response"][:, 0].where(data["condition"].str.startswith(data["node"]))
    fed = [name for name in doses.index if "galactose" in name]
    before = pcb.pretreat("galactose", conditions=[*fed, "off"])
    return pcb.regimen(data, before, pcb.washout("galactose", 0, conditions="off"))


def read_hpn(file: Path) -> Tables:
    """Read a MIDAS table of Hill et al. (Nature Methods 2016): treatments, minutes, proteins."""
    midas = pd.read_csv(file).rename(columns=lambda c: c[3:])
    u, x = midas.loc[:, "EGF":"PD173074i"], midas.iloc[:, 13:]
    name = u.apply(lambda row: "+".join(u.columns[row == 1]) or "control", axis=1)
    y = np.log2(x / x[name == "control"].iloc[0]).set_index([name, midas["ALL"] / 60])
    return _tables(u.groupby(name).first(), y)


def read_gut(file: Path) -> Tables:
    """Read the counts of Stein et al. (PLoS Comput Biol 2013), a row for each sample.

    Populations 2 and 3 had clindamycin, 1 and 3 spores of C. difficile; 1 is the control.
    """
    raw = pd.read_csv(file, header=None, index_col=0).T.astype(float)
    raw = raw.set_index(["ID", "time (in d)"])
    x, population = np.log10(raw.iloc[:, 2:13] + 1e-4), raw["Population"].groupby("ID").first()
    u = pd.DataFrame({"clindamycin": population > 1, "spores": population != 2}, dtype=float)
    return _tables(u, x - x[raw["Population"] == 1].mean())


def read_dream4(folder: Path) -> Tables:
    """Read a network of Marbach et al. (PNAS 2010); steady states stand at the end of courses."""
    files = ("timeseries", "wildtype", "knockouts", "knockdowns")
    runs, wild, *steady = (pd.read_csv(folder / f"{name}.tsv", sep="\t") for name in files)
    rows = [f"course {i // 21}" for i in range(105)] + ["wild type"]
    rows += [f"{gene} {how}" for how in ("out", "down") for gene in wild]
    every = pd.concat([runs, *(each.assign(Time=1000.0) for each in (wild, *steady))])
    y = np.log2(every[[*wild]] + 0.1)
    y -= y[(every["Time"] == 0) | (np.array(rows) == "wild type")].mean()
    u = pd.DataFrame(np.eye(26, 5), [*dict.fromkeys(rows)], [f"input {i}" for i in range(5)])
    return _tables(u, y.set_index([rows, every["Time"] / 60]))


def read_irma(folder: Path) -> Tables:
    """Read the samples and courses of Cantone et al. (Cell 2009); glucose is the control.

    Steady samples stand at time 0. By its values the table named "off" is of cells in galactose.
    """
    files = ("irma_on", "irma_off", "dataIRMAon", "dataIRMAoff")
    parts = [pd.read_csv(folder / f"{n}.csv", index_col=0).set_axis(IRMA, axis=1) for n in files]
    steady = [f"{g} in {m} {i}" for m in ("glucose", "galactose") for i, g in enumerate(IRMA_ROWS)]
    rows, hours = [*steady, *["on"] * 16, *["off"] * 21], np.r_[[0] * 48, :16, :10.5:0.5] / 3
    control = np.log(pd.concat([parts[0][:3], parts[2][:1]])).mean()
    y = np.log2(pd.concat(parts) / np.exp(control)).set_axis([rows, hours])
    return _tables(pd.DataFrame({"galactose": [0.0] * 24 + [1.0] * 26}, [*steady, "on", "off"]), y)


def _tables(u: pd.DataFrame, y: pd.DataFrame) -> Tables:
    """Give both tables all columns, and each column its kind."""
    kinds = dict.fromkeys(map(str, y), "protein") | dict.fromkeys(map(str, u), "drug")
    return u.reindex(columns=[*kinds], fill_value=0), y.reindex(columns=[*kinds]), kinds
