"""Parameters of a network for drug screens, and the strengths of their penalties, in closed steps.

Pure arrays in, a stated objective, its optimum out; no gradient descent and no solver.
"""

from pycellbox.estimation.estimate import Estimate as Estimate
from pycellbox.estimation.estimate import estimate as estimate
