"""Ways to part the conditions of a perturbation experiment into training, validation and test."""

from pycellbox.splits.folds import k_fold
from pycellbox.splits.published import leave_one_drug_out, random, single_to_combo
from pycellbox.splits.split import Split

__all__ = ["Split", "k_fold", "leave_one_drug_out", "random", "single_to_combo"]
