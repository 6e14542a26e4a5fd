"""Call everything that is public with what it is not made for; all must end in an error of ours.

    python -m tests.fuzz --cases 10000 --seed 0 --processes 2

A case is a valid call of a function, of the command line, or of either on a file or configuration,
of which one or two things are spoilt. The same seed and number make the same case. Cases run in
forked workers, each case with 20 s of processor time and 4 GB of memory. It ends

- well, or in a `PycellboxError` (on the command line, with a code that is documented);
- in an error from inside: any other exception;
- not at all: its time is over ("hang"), or its process dies ("crash").

The program ends with 1 if a case ended in one of the last two ways, or if there is something public
of which there is no valid call.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from concurrent.futures import ProcessPoolExecutor

from tests.fuzz.running import Outcome, trial, uncalled


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--only", nargs="*", default=(), help="names of calls")
    parser.add_argument("--show", nargs="*", default=(), help="list all of ok, refused, …")
    options = parser.parse_args()
    if missing := uncalled():
        print(f"public, and without a valid call in tests/fuzz: {', '.join(missing)}")
    numbers = range(options.first, options.first + options.cases)
    parts = [numbers[i :: options.processes] for i in range(options.processes)]
    outcomes: list[Outcome] = []
    with ProcessPoolExecutor(options.processes) as pool:
        for part in pool.map(
            trial, parts, [options.seed] * len(parts), [options.only] * len(parts)
        ):
            outcomes += part
    print(dict(Counter(one.end for one in outcomes)))
    bad = [one for one in outcomes if one.end not in ("ok", "refused")]
    places = Counter((one.end, one.place) for one in bad)
    for (end, place), count in places.most_common():
        first = next(one for one in bad if (one.end, one.place) == (end, place))
        print(f"{count:4} {end:7} {place:32} {first.number} {first.call}\n     {first.words}")
    for one in outcomes:
        if one.end in options.show:
            print(f"{one.end:8} {one.number} {one.call}  {one.words[:200]}")
    return 1 if bad or missing else 0


if __name__ == "__main__":
    sys.exit(main())
