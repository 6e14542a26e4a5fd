"""Of the edges that rules call at 90 %, how many are there? On networks of other kinetics.

    python benchmarks/edges.py --out edges-out
    python benchmarks/edges.py --out edges-out --draw      # the table of what is there

Screens are simulated (`harness/kinetics.py`), each of a network and a seed of its own. Where drugs
are given, an estimated fit has effects of drugs on nodes; where nodes themselves are perturbed, a
network is trained. Standard deviations are those of `fit.edges`. Rules give each edge a chance
that it is there:

normal      2Φ(|w|/sd) − 1, as if sd were all there is to know
mixture     1 − local false sign rate under a mixture of normal distributions about 0, one of them
            of no width, fitted to all edges of the fit (empirical Bayes, as in ash of Stephens,
            Biostatistics 18:275, 2017)
left out    sd times by how much errors of conditions left out are larger than they should be, then
            1 − q, with the share of edges that are not there by Storey (J. R. Stat. Soc. B 64:479,
            2002)
strongest   the tenth with the largest |w|, for comparison

Called at 90 % are the edges with the highest chances, as many as have a mean chance of 90 % or
more: 85 to 95 % of them should be there. "direct": the source acts on the target itself; "through":
a way leads from one to the other.

Results are appended to OUT/edges.jsonl, a line for each screen; what is there is not run again.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from scipy.stats import norm

import pycellbox as pcb

sys.path.insert(0, str(Path(__file__).resolve().parent))
from harness import kinetics, report
from harness.report import Row

SIZES = (20, 35, 50)
OF_NODES = (8, 12, 20)  # which are trained
CHANCE = 0.9
TRUTHS = ("direct", "through")
_WIDTHS = 2.0 ** np.arange(-2, 5)  # of the mixture, in units of the median sd
_ROUNDS = 200


def normal(w: Any, sd: Any, _: float) -> Any:
    return 2 * norm.cdf(np.abs(w) / sd) - 1


def mixture(w: Any, sd: Any, _: float) -> Any:
    squares = np.concatenate([[0.0], (_WIDTHS * np.median(sd)) ** 2])
    likely = norm.pdf(w[:, None], 0, np.sqrt(squares + sd[:, None] ** 2)) + 1e-300
    share = np.full(squares.size, 1 / squares.size)
    for _ in range(_ROUNDS):
        belongs = likely * share
        belongs /= belongs.sum(axis=1, keepdims=True)
        share = belongs.mean(axis=0)
    # Of each part with a width, the chance of the sign that was not estimated.
    shrunken = squares[1:] / (squares[1:] + sd[:, None] ** 2)
    wrong = norm.sf(np.abs(w)[:, None] / sd[:, None] * np.sqrt(shrunken))
    return 1 - belongs[:, 0] - (belongs[:, 1:] * wrong).sum(axis=1)


def left_out(w: Any, sd: Any, larger: float) -> Any:
    p = np.maximum(2 * norm.sf(np.abs(w) / (larger * sd)), 1e-300)
    absent = min(1.0, float((p > 0.5).mean()) / 0.5)
    order = np.argsort(p)
    q = absent * p[order] * p.size / (1 + np.arange(p.size))
    found = np.empty_like(p)
    found[order] = np.minimum.accumulate(q[::-1])[::-1]
    return 1 - np.minimum(found, 1)


def strongest(w: Any, sd: Any, _: float) -> Any:
    return np.where(np.argsort(np.argsort(-np.abs(w))) < w.size / 10, 1.0, 0.0)


RULES = {"normal": normal, "mixture": mixture, "left out": left_out, "strongest": strongest}


def called(chances: Any, rule: str) -> Any:
    """Return which edges have the highest chances, with a mean of 90 % or more; or q ≤ 10 %."""
    if rule == "left out":  # q is that of all called with an edge
        return chances >= CHANCE
    order = np.argsort(-chances, kind="stable")
    many = np.cumsum(chances[order]) / (1 + np.arange(chances.size)) >= CHANCE
    found = np.zeros(chances.size, dtype=bool)
    found[order[: int(np.flatnonzero(many).max(initial=-1)) + 1]] = True
    return found


def run(kind: kinetics.Kind, n: int, seed: int) -> Row:
    """How many edges each rule calls, and how many of them are there."""
    screen = kinetics.draw(kind, n, seed)
    row: Row = {"kind": kind, "nodes": n, "seed": seed}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit = pcb.fit(screen.data, progress=False, backend="numpy")
        table = fit.edges()
        larger = fit.predict(screen.data, interval=0.6827, backend="numpy")
        larger = float(((larger["upper"] - larger["response"]) / larger["sd"]).median())
    table = table[np.isfinite(table["sd"])]
    place = {name: k for k, name in enumerate(screen.data["node"].values)}
    i, j = ([place[name] for name in table[end]] for end in ("target", "source"))
    w, sd = (table[name].to_numpy() for name in ("weight", "sd"))
    truths = {name: getattr(screen, name)[i, j] for name in TRUTHS}
    row |= {"edges": len(table), "larger": larger}
    row["there"] = {name: int(true.sum()) for name, true in truths.items()}
    row["rules"] = {}
    for rule, chance in RULES.items():
        calls = called(chance(w, sd, larger), rule)
        hits = {name: int(true[calls].sum()) for name, true in truths.items()}
        row["rules"][rule] = {"called": int(calls.sum()), **hits}
    return row


def markdown(rows: Sequence[Row]) -> str:
    """Write a line for each kind of screen, size and rule."""
    lines: list[Row] = []
    both = [(row["kind"], n) for row in rows for n in (row["nodes"], "all")]
    for kind, n in sorted(set(both), key=lambda one: (one[0], one[1] == "all", both.index(one))):
        some = [row for row in rows if row["kind"] == kind and n in (row["nodes"], "all")]
        edges = sum(row["edges"] for row in some)
        for rule in RULES:
            own = [row["rules"][rule] for row in some]
            count = sum(each["called"] for each in own)
            line: Row = {"perturbed": kind, "nodes": n, "screens": len(some), "rule": rule,
                         "called": f"{count} of {edges}"}  # fmt: skip
            for name in TRUTHS:
                share = sum(each[name] for each in own) / count if count else float("nan")
                chance = sum(row["there"][name] for row in some) / edges
                holds = "" if 0.85 <= share <= 0.95 or rule == "strongest" else " *"
                line[name] = f"{share:.0%}{holds}" if count else "-"
                line[f"chance {name}"] = f"{chance:.0%}"
            lines.append(line)
    columns = {name: name for name in lines[0]}
    head = (
        "Of the edges that rules call at 90 %, the share that is there (* not within 85–95 %), and "
        "*chance*, that of all edges of the fits."
    )
    return f"{head}\n\n{report.markdown(lines, columns)}"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add: Any = parser.add_argument
    add("--out", type=Path, required=True, help="folder for edges.jsonl and edges.md")
    add("--seeds", type=int, default=10, help="screens of each kind and size (default 10)")
    add("--sizes", type=int, nargs="+", help=f"nodes (default {SIZES}, trained {OF_NODES})")
    add("--kinds", nargs="+", choices=kinetics.KINDS, default=kinetics.KINDS)
    add("--draw", action="store_true", help="run nothing")
    args = parser.parse_args(arguments)
    args.out.mkdir(parents=True, exist_ok=True)
    path = args.out / "edges.jsonl"
    report.cut_unfinished(path)
    rows = report.read_rows(path, ("kind", "nodes", "seed"))
    done = {(row["kind"], row["nodes"], row["seed"]) for row in rows}
    for kind in args.kinds if not args.draw else ():
        for n in args.sizes or (OF_NODES if kind == "nodes" else SIZES):
            for seed in range(args.seeds):
                if (kind, n, seed) not in done:
                    rows.append(run(kind, n, seed))
                    with path.open("a", encoding="utf-8") as file:
                        file.write(json.dumps(rows[-1]) + "\n")
            print(kind, n, flush=True)
    if not rows:
        parser.error(f"{path} has no results")
    text = markdown(rows)
    print("\n" + text)
    (args.out / "edges.md").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
