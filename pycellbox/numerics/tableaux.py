"""Butcher tableaux of the explicit Runge-Kutta methods.

Tsit5: Ch. Tsitouras, Comput. Math. Appl. 62:770-775 (2011), table 1.
"""

from __future__ import annotations

from dataclasses import dataclass

from pycellbox.solvers import RK4, Euler, Heun, Midpoint, Solver, Tsit5


@dataclass(frozen=True)
class Tableau:
    """A[s] are the weights of earlier stages in stage s, b those of the step.

    ``error`` are the weights of the embedded error estimate, its last entry that of the
    derivative at the end of the step; empty for methods without one.
    """

    A: tuple[tuple[float, ...], ...]
    b: tuple[float, ...]
    error: tuple[float, ...] = ()

    @property
    def stages(self) -> int:
        """Number of stages."""
        return len(self.b)


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
    Euler: Tableau(A=((),), b=(1.0,)),
    Midpoint: Tableau(A=((), (0.5,)), b=(0.0, 1.0)),
    Heun: Tableau(A=((), (1.0,)), b=(0.5, 0.5)),
    RK4: Tableau(A=((), (0.5,), (0.0, 0.5), (0.0, 0.0, 1.0)), b=(1 / 6, 1 / 3, 1 / 3, 1 / 6)),
    Tsit5: _TSIT5,
}
