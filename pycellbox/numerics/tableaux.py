"""Butcher tableaux of the Runge-Kutta methods.

Tsit5: Ch. Tsitouras, Comput. Math. Appl. 62:770-775 (2011), table 1.

KenCarp4: Ch. A. Kennedy, M. H. Carpenter, Appl. Numer. Math. 44:139-181 (2003), the implicit part
of ARK4(3)6L[2]SA. Kvaerno5: A. Kværnø, BIT 44:489-502 (2004), ESDIRK5/4. Both are L-stable, and
their steps end at their last stage. The names are those of OrdinaryDiffEq.jl.
"""

from __future__ import annotations

from dataclasses import dataclass

from pycellbox.solvers import RK4, Adaptive, Euler, Heun, Midpoint, Solver, Tsit5


@dataclass(frozen=True)
class Tableau:
    """A[s] are the weights of earlier stages in stage s, b those of the step.

    Implicit stages have one more weight, their own. ``error`` are the weights of the embedded
    error estimate, of explicit methods its last entry that of the derivative at the end of the
    step; empty for methods without one.
    """

    A: tuple[tuple[float, ...], ...]
    b: tuple[float, ...]
    order: int
    error: tuple[float, ...] = ()

    @property
    def stages(self) -> int:
        """Number of stages."""
        return len(self.b)

    def own(self, stage: int) -> float:
        """Weight that a stage has in itself; 0 of explicit ones."""
        return self.A[stage][stage] if len(self.A[stage]) > stage else 0.0

    @property
    def implicit(self) -> bool:
        """Whether stages are the solutions of equations."""
        return any(self.own(stage) for stage in range(self.stages))


_TSIT5 = Tableau(
    A=(
        (),
        (0.161,),
        (-0.008480655492356989, 0.335480655492357),
        (2.8971530571054935, -6.359448489975075, 4.3622954328695815),
        (5.325864828439257, -11.748883564062828, 7.4955393428898365, -0.09249506636175525),
        (
            5.86145544294642,
            -12.92096931784711,
            8.159367898576159,
            -0.071584973281401,
            -0.028269050394068383,
        ),
    ),
    b=(
        0.09646076681806523,
        0.01,
        0.4798896504144996,
        1.379008574103742,
        -3.290069515436081,
        2.324710524099774,
    ),
    order=5,
    error=(
        -0.00178001105222577714,
        -0.0008164344596567469,
        0.007880878010261995,
        -0.1447110071732629,
        0.5823571654525552,
        -0.45808210592918697,
        0.015151515151515152,
    ),
)

TABLEAUX: dict[type[Solver], Tableau] = {
    Euler: Tableau(A=((),), b=(1.0,), order=1),
    Midpoint: Tableau(A=((), (0.5,)), b=(0.0, 1.0), order=2),
    Heun: Tableau(A=((), (1.0,)), b=(0.5, 0.5), order=2),
    RK4: Tableau(
        A=((), (0.5,), (0.0, 0.5), (0.0, 0.0, 1.0)), b=(1 / 6, 1 / 3, 1 / 3, 1 / 6), order=4
    ),
    Tsit5: _TSIT5,
}


def _implicit(*rows: tuple[float, ...], order: int, other: tuple[float, ...]) -> Tableau:
    """Return a method whose last stage is its step, with the weights of its lower order."""
    b = rows[-1]
    return Tableau(((), *rows), b, order, tuple(x - y for x, y in zip(b, other, strict=True)))


_G, _K = 1 / 4, 0.26
_KVAERNO4 = (
    0.13855640231268224, 0.0, -0.04245337201752043, 0.02446657898003141, 0.61943039072480676, _K,
)  # fmt: skip
IMPLICIT: dict[str, Tableau] = {
    "KenCarp4": _implicit(
        (1 / 4, _G),
        (8611 / 62500, -1743 / 31250, _G),
        (5012029 / 34652500, -654441 / 2922500, 174375 / 388108, _G),
        (
            15267082809 / 155376265600, -71443401 / 120774400, 730878875 / 902184768,
            2285395 / 8070912, _G,
        ),
        (82889 / 524892, 0.0, 15625 / 83664, 69875 / 102672, -2260 / 8211, _G),
        order=4,
        other=(
            4586570599 / 29645900160, 0.0, 178811875 / 945068544, 814220225 / 1159782912,
            -3700637 / 11593932, 61727 / 225920,
        ),
    ),
    "Kvaerno5": _implicit(
        (_K, _K),
        (0.13, 0.84033320996790809, _K),
        (0.22371961478320505, 0.47675532319799699, -0.06470895363112615, _K),
        (
            0.16648564323248321, 0.1045001884159172, 0.03631482272098715, -0.13090704451073998, _K,
        ),
        _KVAERNO4,
        (
            0.13659751177640291, 0.0, -0.05496908796538376, -0.04118626728321046,
            0.62993304899016403, 0.06962479448202728, _K,
        ),
        order=5,
        other=(*_KVAERNO4, 0.0),
    ),
}  # fmt: skip
"""Implicit methods for stiff equations, by the algorithms that `Adaptive` names."""


def method_of(solver: Solver) -> str:
    """Return the name of a method."""
    return str(solver.algorithm) if isinstance(solver, Adaptive) else type(solver).__name__


def tableau_of(solver: Solver) -> Tableau | None:
    """Return a solver's tableau, None where it is not here."""
    if isinstance(solver, Adaptive):
        return IMPLICIT.get(solver.algorithm) if isinstance(solver.algorithm, str) else None
    return TABLEAUX.get(type(solver))


def stages_of(solver: Solver) -> int:
    """Return how many stages a step of a solver has that is here."""
    tableau = tableau_of(solver)
    assert tableau is not None
    return tableau.stages
