"""The program of the trajectory benchmarks, on works of no work."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import pycellbox as pcb

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))

import trajectories
import works


@pytest.fixture
def made(monkeypatch):
    """Two works, one with a start that fails; the starts that they have run."""
    ran = []

    def run(start, backend):
        ran.append(start)
        if start == 1:
            raise pcb.DivergenceError("it blew up")
        return {"value": float(start), "seconds": 2.0 * start}

    both = [
        works.Work("many", "many starts", "small", run, lambda row: row["value"] < 1),
        works.Work("one", "no starts", "any", run, once=True),
    ]
    monkeypatch.setattr(trajectories, "every", lambda: both)
    return ran


def test_rows_go_on_where_they_stopped(made, tmp_path):
    def main(*more):
        trajectories.main(["--out", str(tmp_path), "--table", str(tmp_path / "t.md"), *more])
        return (tmp_path / "t.md").read_text()

    main("--starts", "2", "--only", "many")
    assert made == [0, 1]
    with (tmp_path / "trajectories.jsonl").open("a") as file:
        file.write('{"work": "many", "sta')  # a run that was killed
    text = main("--starts", "3")
    assert made == [0, 1, 2, 0]
    assert "1 of 3, 1 failed" in text
    assert text.count("| numpy |") == 2
    assert main("--draw") == text
    main("--starts", "1", "--only", "many", "--again")
    assert made == [0, 1, 2, 0, 0]


def test_works_have_names_of_their_own():
    names = [work.name for work in works.every()]
    assert len(set(names)) == len(names)
