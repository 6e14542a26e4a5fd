"""Trajectories fitted by equations of one's own: how many starts find the best fit, how fast.

Works are in `works/`, a module each, which say what is measured and how. Rows are appended to
OUT/trajectories.jsonl as they are made, one for each start; what is there already is not run again,
so that a run can be stopped and taken up, or be given more starts. They know nothing of the version
that made them: give a changed pycellbox another folder, or say `--again`.

    python benchmarks/trajectories.py --starts 10
    python benchmarks/trajectories.py --only lynx-2 --backend julia
    python benchmarks/trajectories.py --draw      # the table of what is there
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# One thread: fits are small, and their times are to be compared.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("JULIA_NUM_THREADS", "1")

import pycellbox as pcb

sys.path.insert(0, str(Path(__file__).resolve().parent))
from works import Work, every

from harness import report
from harness.report import Row

HERE = Path(__file__).resolve().parent

KEY = ("work", "start", "backend")


def run(work: Work, start: int, backend: str) -> Row:
    """Do one start; one that fails says why."""
    row: Row = dict(zip(KEY, (work.name, start, backend), strict=True))
    began = time.perf_counter()
    try:
        found = work.run(start, backend)
    except pcb.PycellboxError as error:
        found = {"failed": f"{type(error).__name__}: {error}"}
    return row | {"seconds": time.perf_counter() - began} | found


def results(path: Path) -> list[Row]:
    """Read what is there; of a row that was made again, the last."""
    return report.read_rows(path, KEY)


def carry_out(works: Sequence[Work], starts: int, backend: str, path: Path, again: bool) -> None:
    """Run what is not there, and append the row of each start as soon as it has ended."""
    done = set() if again else {tuple(row[name] for name in KEY) for row in results(path)}
    for work in works:
        for start in range(1 if work.once else min(starts, work.most or starts)):
            if (work.name, start, backend) in done:
                continue
            row = run(work, start, backend)
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
            what = row.get("failed") or f"{row['value']:.5g}"
            print(f"{work.name}, start {start}: {what} in {row['seconds']:.1f} s", flush=True)


def table(rows: list[Row]) -> str:
    """Make a table of the works that have rows, with a line for each backend."""
    lines = []
    for work in every():
        for backend in dict.fromkeys(row["backend"] for row in rows):
            mine = [row for row in rows if (row["work"], row["backend"]) == (work.name, backend)]
            fine = [row for row in mine if "failed" not in row]
            if not mine:
                continue
            failed, reached = len(mine) - len(fine), ""
            if work.reached is not None:
                reached = f"{sum(map(work.reached, fine))} of {len(mine)}"
            lines.append({
                "work": work.title,
                "goal": work.goal,
                "measured": work.measured(fine) if fine else "none ended",
                "reached": reached + (f", {failed} failed" if failed else ""),
                "seconds": statistics.median(row["seconds"] for row in mine),
                "all": sum(row["seconds"] for row in mine),
                "backend": backend,
            })  # fmt: skip
    columns = {"work": "work", "goal": "goal", "measured": "measured",
               "reached": "starts that reach it", "seconds": "seconds, median",
               "all": "seconds, all starts", "backend": "backend"}  # fmt: skip
    machine = report.machine()
    on = f"{machine['processor']}, {machine['cores']} cores, one of them used"
    found = report.markdown(lines, columns)
    return f"# Tables of `trajectories.py`\n\nMeasured on {on}.\n\n{found}\n"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add: Any = parser.add_argument
    names = [work.name for work in every()]
    add("--only", nargs="+", metavar="WORK", choices=names, default=names, help=", ".join(names))
    add("--starts", type=int, default=10, help="of each work (default 10)")
    add("--backend", default="numpy", help="of the fits (default numpy)")
    add("--out", type=Path, default=Path("trajectories-out"), help="folder of the rows")
    add("--table", type=Path, default=HERE / "trajectories.md", help="file of the table")
    add("--again", action="store_true", help="run also what is there")
    add("--draw", action="store_true", help="run nothing")
    args = parser.parse_args(arguments)
    path = args.out / "trajectories.jsonl"
    report.cut_unfinished(path)
    if not args.draw:
        works = [work for work in every() if work.name in args.only]
        carry_out(works, args.starts, args.backend, path, args.again)
    text = table(results(path))
    print(f"\n{text}")
    args.table.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
