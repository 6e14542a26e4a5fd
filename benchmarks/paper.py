"""The experiments of Ji et al. (arXiv 2104.06467) on the ten networks of BEELINE.

Each network is simulated in the paper's setting (two nodes perturbed, five times, noise 0.001),
fitted as in the paper (mean absolute error, AdamW, random time prefixes as minibatches) and then
refined; both are held to the truth. Rows appear as they are done; then the median over the seeds.
``floor`` is the test error that noise alone leaves to an efficient estimate of the true edges.

    python benchmarks/paper.py
    python benchmarks/paper.py --networks HSC GSD --noise 0.01 --backend julia --out results

With --out the scores of every run are written as CSV, and for each network, first seed, pictures
of W and of the test conditions. The settings were chosen on other seeds (0 to 2, 10 to 15) than
the default ones.
"""

from __future__ import annotations

import argparse
import os
import platform
from pathlib import Path

# Matrices of this size gain nothing from threads.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import pandas as pd

import pycellbox as pcb
from pycellbox.errors import PycellboxError
from pycellbox.ji import Recovery, recover_beeline
from pycellbox.networks import BEELINE
from pycellbox.simulation import truth

COLUMNS = {
    "test_mae": "{:.1e}",
    "floor": "{:.1e}",
    "worst_condition": "{:.1e}",
    "pearson_W": "{:.5f}",
    "pearson_alpha": "{:.5f}",
    "auprc_ratio": "{:.2f}",
    "best_ratio": "{:.2f}",
    "sign_accuracy": "{:.3f}",
    "spurious": "{:.0f}",
    "missed": "{:.0f}",
    "starts": "{:.0f}",
    "seconds": "{:.1f}",
}


def rows(result: Recovery, seed: int, noise: float) -> list[dict[str, object]]:
    true = truth(result.test)["W"].values
    about = {
        "network": result.name,
        "nodes": true.shape[0],
        "true_edges": int((true != 0).sum()),
        "conditions": result.train.sizes["condition"],
        "noise": noise,
        "seed": seed,
        "starts": result.starts,
        "backend": result.refined.backend,
        "followed": result.refined.provenance["refinement"]["followed"],
        "noise_estimate": result.refined.provenance["refinement"]["noise"],
        "floor": result.floor(),
        "best_ratio": true.size / (true != 0).sum(),
    }
    return [
        {**about, "fit": name, **scores} for name, scores in result.table().to_dict("index").items()
    ]


def line(row: dict[str, object]) -> str:
    head = f"{row['network']:5s} {row['seed']!s:>6s} {row['fit']:8s}"
    return head + "".join(
        f"{text.format(row[name]):>{max(len(name), 7) + 1}s}" for name, text in COLUMNS.items()
    )


def heading() -> str:
    names = "".join(f"{name:>{max(len(name), 7) + 1}s}" for name in COLUMNS)
    return f"{'':5s} {'seed':>6s} {'fit':8s}{names}"


def medians(scores: pd.DataFrame) -> pd.DataFrame:
    """Median over the seeds, a row per network and fit."""
    keys = ["network", "fit"]
    numbers = [name for name in scores.select_dtypes("number") if name != "seed"]
    return scores.groupby(keys, sort=False)[numbers].median().reset_index()


def write_pictures(result: Recovery, folder: Path) -> None:
    """Draw W beside the truth, and the test conditions as courses."""
    from pycellbox import plot

    pictures = {
        "W": plot.interactions(result.refined, truth(result.test)["W"]),
        "test": plot.trajectories(result.refined, result.test),
    }
    for what, figure in pictures.items():
        plot.save_figure(figure, folder / f"{result.name}-{what}.png")


def main(arguments: list[str] | None = None) -> pd.DataFrame:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+", default=list(BEELINE), metavar="NAME")
    parser.add_argument("--seeds", nargs="+", type=int, default=[30, 31, 32])
    parser.add_argument("--noise", type=float, default=0.001)
    parser.add_argument("--backend", default="auto", help="julia, numpy or auto (default)")
    parser.add_argument(
        "--iterations", type=int, help="of AdamW (default 1000, beyond 15 nodes 3000)"
    )
    parser.add_argument("--starts", type=int, default=3, help="at most (default 3)")
    parser.add_argument("--jobs", type=int, default=1, help="starts at a time (default 1)")
    parser.add_argument(
        "--conditions", nargs=3, type=int, metavar=("TRAIN", "VALIDATION", "TEST"), help="how many"
    )
    parser.add_argument("--out", type=Path, help="folder for scores.csv and pictures")
    args = parser.parse_args(arguments)
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
    counts = tuple(args.conditions) if args.conditions else None

    def run(name: str, seed: int) -> Recovery:
        return recover_beeline(
            name,
            noise=args.noise,
            seed=seed,
            n_conditions=counts,
            iterations=args.iterations,
            starts=args.starts,
            backend=args.backend,
            n_jobs=args.jobs,
        )

    try:
        # The first fit of a process loads and compiles; nobody's seconds should have that.
        recover_beeline("LI", iterations=2, starts=1, backend=args.backend)
        print(heading(), flush=True)
        scores: list[dict[str, object]] = []
        for name in args.networks:
            for seed in args.seeds:
                result = run(name, seed)
                for row in rows(result, seed, args.noise):
                    scores.append(row)
                    print(line(row), flush=True)
                if args.out:
                    pd.DataFrame(scores).to_csv(args.out / "scores.csv", index=False)
                    if seed == args.seeds[0]:
                        write_pictures(result, args.out)
    except PycellboxError as error:
        parser.exit(1, f"error: {error}\n")
    table = pd.DataFrame(scores)
    print(f"\nmedian of seeds {', '.join(map(str, args.seeds))}; noise {args.noise:g}")
    print(heading())
    for row in medians(table).to_dict("records"):
        print(line({**row, "seed": ""}))
    print(
        f"\npycellbox {pcb.__version__}, numpy {np.__version__}, Python "
        f"{platform.python_version()}, {os.cpu_count()} cores, backend {table['backend'].iloc[0]}"
    )
    return table


if __name__ == "__main__":
    main()
