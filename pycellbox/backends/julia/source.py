"""Expressions printed as Julia source, from a fixed list of operations and numbers alone.

A program reads the states x, inputs u and parameters p of a condition and an adjoint a, and writes
to up to three places o1, o2, o3. Small ones are straight-line code, in which what is computed twice
is a variable; large ones are loops over arrays, which compile in a time that does not grow with
them. Names of users do not enter: symbols are places in x, u, p and a.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pycellbox.backends.julia.loops import Loops
from pycellbox.backends.julia.scalars import Scalars, TooLongError
from pycellbox.graph import Node

MOST_STATEMENTS = 1000
"""Of straight-line code, which takes half a second to compile then, and longer and longer beyond.

Of dx/dt = tanh(Ax + b) − d∘x of n states it is faster than loops up to n = 15 or so; at n = 20
products with an adjoint take 0.56 µs (3,100 lines, 2.7 s to compile) and 0.29 µs as loops.
"""

ARRAYS = ("x", "u", "p", "a", "o1", "o2", "o3")


@dataclass(frozen=True)
class Output:
    """Where an expression is written.

    Attributes
    ----------
    node : Node
    array : {"o1", "o2", "o3"}
    offset : int
        Of its first entry.
    added : bool
        Whether it is added to what is there.
    """

    node: Node
    array: str
    offset: int = 0
    added: bool = False


def source(
    outputs: Sequence[Output],
    places: Mapping[str, tuple[str, int]],
    sizes: Mapping[str, int],
    dtype: str,
    loops: bool = False,
) -> str:
    """Return a program as Julia source: a function, and what Julia hands to who asks for it.

    Parameters
    ----------
    outputs : sequence of Output
    places : mapping of str to (str, int)
        For each symbol its array and the offset of its first entry.
    sizes : mapping of str to int
        Entries of each array for one condition.
    dtype : {"float64", "float32"}
    loops : bool
        Whether it consists of loops even where straight-line code would not be too long.
    """
    if not loops and (text := straight(outputs, places, sizes, dtype)) is not None:
        return text
    made = Loops(places, dtype)
    body = made.body(outputs)
    return _printed(body, sizes, dtype, made.constants, made.room)


def straight(
    outputs: Sequence[Output],
    places: Mapping[str, tuple[str, int]],
    sizes: Mapping[str, int],
    dtype: str,
) -> str | None:
    """Return a program as straight-line code; None where that is too long."""
    try:
        body = Scalars(places, dtype, MOST_STATEMENTS).body(outputs)
    except TooLongError:
        return None
    return _printed(body, sizes, dtype)


def _printed(
    body: Sequence[str],
    sizes: Mapping[str, int],
    dtype: str,
    constants: Sequence[str] = (),
    room: int = 0,
) -> str:
    number = "Float64" if dtype == "float64" else "Float32"
    arrays = (*ARRAYS, "w")
    bases = [f"i{array} = (j - 1) * {sizes.get(array, 0)}" for array in ARRAYS]
    lines = [
        *constants,
        f"const P = Ptr{{{number}}}",
        f"function program!(from, to, {', '.join(arrays)})",
        "    @inbounds for j in from:to",
        *(f"        {line}" for line in (*bases, *body)),
        "    end",
        "    return nothing",
        "end",
        f"entry(from::Int, to::Int, {', '.join(f'{a}::P' for a in arrays)}) =",
        f"    program!(from, to, {', '.join(f'At({a})' for a in arrays)})",
        f"const ADDRESS = @cfunction(entry, Cvoid, (Int, Int{', P' * len(arrays)}))",
        f"Program(ADDRESS, program!, {room})",
    ]
    return "\n".join(lines) + "\n"
