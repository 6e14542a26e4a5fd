"""One loss and gradient, and one solve: pycellbox beside its peers and the machine's own limit.

Every size, precision and number of threads is a process of its own, in which all contenders take
turns. See benchmarks/README.md for what the columns mean.

    python benchmarks/gradient.py --cases 99x89/100 --threads 1 all --out results
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from harness import report, run  # noqa: E402
from harness.case import draw, parse  # noqa: E402
from harness.limit import PARTS, gradient_limit, solve_limit  # noqa: E402
from peers import all_contenders, choose  # noqa: E402

CASES = ["5x20/100", "20x64/100", "99x89/100", "99x89/400", "500x256/100", "1000x1000/100"]


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--cases", nargs="+", default=CASES, help="nodes×conditions/steps, as 99x89/400"
    )
    parser.add_argument(
        "--dtypes", nargs="+", default=["float64", "float32"], choices=["float64", "float32"]
    )
    parser.add_argument("--threads", nargs="+", default=["1", "all"], help="numbers, or all")
    parser.add_argument("--contenders", nargs="+", help="names or parts of them; see --list")
    parser.add_argument("--list", action="store_true", help="name the contenders and stop")
    parser.add_argument("--repeats", type=int, default=25, help="rounds at most")
    parser.add_argument(
        "--seconds", type=float, default=10.0, help="for each contender's repeats in each process"
    )
    parser.add_argument("--rtol", type=float, default=1e-3)
    parser.add_argument("--atol", type=float, default=1e-6)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-memory", action="store_true", help="leave peak memory out")
    parser.add_argument("--no-reference", action="store_true", help="leave gradient errors out")
    parser.add_argument("--no-limit", action="store_true", help="leave the machine's limit out")
    parser.add_argument("--out", type=Path, help="folder for gradient.csv, .json and .md")
    return parser.parse_args(given)


def say(text: str) -> None:
    print(text, flush=True)


def reference(specification: run.Event, path: Path) -> str | None:
    """Compute the converged solutions once for a case; where they are, or None."""
    specification = {**specification, "threads": run.cores(), "out": str(path)}
    for event in run.work("reference", specification):
        if event["event"] == "reference":
            say(
                f"  reference: RK4, {event['steps']} steps, gradient within "
                f"{event['continuous']:.0e}; steady state within {event['steady']:.0e}"
            )
            return str(path)
        if event["event"] == "end":
            say(f"  no reference: {event['why']}")
    return None


def one_process(
    specification: run.Event, steps: int
) -> tuple[list[report.Row], Any, dict[str, str]]:
    """Rows of all contenders at one size, precision and number of threads."""
    known = all_contenders()
    rows: dict[str, report.Row] = {}
    limit: Any = None
    absent: dict[str, str] = {}
    for event in run.time_all(specification):
        kind, name = event.pop("event"), event.pop("contender", "")
        if kind == "again":
            rows.clear()
        elif kind == "limit":
            limit = event
        elif kind in ("absent", "failed"):
            absent[name] = event["why"]
            say(f"  without {name}: {event['why']}")
        elif kind == "prepared":
            contender = known[name]
            rows[name] = {
                "contender": name,
                "label": contender.label,
                "method": contender.method,
                **event,
            }
        elif kind == "times":
            low, middle, high = report.quartiles(event["seconds"])
            what = event["what"]
            rows[name] |= {
                f"{what}_ms": 1e3 * middle,
                f"{what}_best_ms": 1e3 * min(event["seconds"]),
                f"{what}_low_ms": 1e3 * low,
                f"{what}_high_ms": 1e3 * high,
                f"{what}_spread": f"{report.shown(1e3 * low)}–{report.shown(1e3 * high)}",
                f"{what}_calls": len(event["seconds"]),
            }
            say(f"  {known[name].label:45s} {what:8s} {1e3 * middle:10.3f} ms")
    found = [row for row in rows.values() if "gradient_ms" in row]
    if limit:
        parts = limit["parts"]
        floors = {"gradient": gradient_limit(parts, steps), "solve": solve_limit(parts, steps)}
        limit["floors"] = floors
        for row in found:
            for what, seconds in floors.items():
                if f"{what}_ms" in row:
                    row[f"{what}_multiple"] = row[f"{what}_ms"] / 1e3 / seconds
                    row[f"{what}_best_multiple"] = row[f"{what}_best_ms"] / 1e3 / seconds
    return found, limit, absent


def limit_in_words(limit: Any) -> str:
    parts = ", ".join(
        f"{p} {1e6 * limit['parts'][p]['seconds']:.2f} µs ({limit['parts'][p]['by']})"
        for p in PARTS
    )
    floors = limit["floors"]
    untried = f"; not tried: {', '.join(limit['untried'])}" if limit["untried"] else ""
    return (
        f"Limit: gradient {1e3 * floors['gradient']:.3f} ms, solve {1e3 * floors['solve']:.3f} ms; "
        f"a stage: {parts}{untried}."
    )


def main(given: list[str] | None = None) -> None:
    options = arguments(given)
    known = all_contenders()
    if options.list:
        for c in known.values():
            say(f"{c.name:28s} {c.label}{' (only by name)' if c.optional else ''}")
        return
    names = choose(options.contenders)
    threads = list(dict.fromkeys(run.cores() if t == "all" else int(t) for t in options.threads))
    record: dict[str, Any] = {"machine": report.machine(), "options": vars(options) | {"out": None}}
    rows: list[report.Row] = []
    texts: list[str] = []
    record |= {"limits": [], "absent": [], "rows": rows}
    say(f"{record['machine']}")
    with tempfile.TemporaryDirectory() as folder:
        for text in options.cases:
            nodes, conditions, steps = parse(text)
            case = draw(
                nodes, conditions, steps, options.seed, rtol=options.rtol, atol=options.atol
            )
            path = Path(folder) / f"{nodes}x{conditions}-{steps}.npz"
            case.save(path)
            say(f"\n{text}")
            specification: run.Event = {
                "case": str(path),
                "contenders": names,
                "repeats": options.repeats,
                "seconds": options.seconds,
                "limit": not options.no_limit,
            }
            if not options.no_reference:
                specification["reference"] = reference(
                    specification, path.with_suffix(".reference.npz")
                )
            for dtype in options.dtypes:
                for count in threads:
                    where = {
                        "nodes": nodes, "conditions": conditions, "steps": steps,
                        "dtype": dtype, "threads": count,
                    }  # fmt: skip
                    title = (
                        f"{nodes} nodes × {conditions} conditions, {steps} Heun steps, {dtype}, "
                        f"{count} thread{'s' if count > 1 else ''}"
                    )
                    say(f"{title}")
                    job = {**specification, "dtype": dtype, "threads": count}
                    found, limit, absent = one_process(job, steps)
                    if not options.no_memory and count == threads[0]:
                        for row in found:
                            memory = run.memory_of(job, row["contender"])
                            row |= {k: v for k, v in memory.items() if k in ("mib", "first_mib")}
                            if "why" in memory:
                                say(f"  no peak memory of {row['contender']}: {memory['why']}")
                    report.add_ratios(found)
                    found.sort(key=lambda row: row["gradient_ms"])
                    rows += [{**where, **row} for row in found]
                    record["absent"] += [
                        {**where, "contender": name, "why": why} for name, why in absent.items()
                    ]
                    texts.append(f"### {title}\n")
                    if limit:
                        record["limits"].append({**where, **limit})
                        texts.append(limit_in_words(limit) + "\n")
                    texts.append(report.markdown(found, report.COLUMNS) + "\n")
                    if absent:
                        texts.append(report.without(absent) + "\n")
                    say("\n" + "\n".join(texts[-4:]))
                    if options.out:
                        # After every process, so that a run that is stopped leaves what it has.
                        options.out.mkdir(parents=True, exist_ok=True)
                        report.write_csv(options.out / "gradient.csv", rows)
                        report.write_json(options.out / "gradient.json", record)
                        (options.out / "gradient.md").write_text("\n".join(texts))


if __name__ == "__main__":
    main()
