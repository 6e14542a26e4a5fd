"""The one style of all pictures: sizes, and colors that everybody can tell apart."""

from __future__ import annotations

from typing import Any

# Okabe and Ito's palette (https://jfly.uni-koeln.de/color/): told apart under all common forms of
# color blindness. Its yellow is left out, which is too pale for lines on white. Shapes or dashes
# differ as well, for print in black and white.
BLACK, BLUE, VERMILION, GREEN = "#000000", "#0072B2", "#D55E00", "#009E73"
PURPLE, ORANGE, SKY = "#CC79A7", "#E69F00", "#56B4E9"
GREY, DARK_GREY = "#999999", "#595959"
PALETTE = (BLUE, VERMILION, SKY, BLACK, ORANGE, GREEN, PURPLE)  # the closest pair comes last
MARKERS = ("o", "s", "^", "D", "v", "P", "X")

KINDS = {
    "protein": (BLUE, "o"), "phenotype": (VERMILION, "^"), "drug": (GREEN, "s"),
    "hidden": (PURPLE, "D"),
}  # fmt: skip
PLURALS = {
    "protein": "proteins", "phenotype": "phenotypes", "drug": "drugs", "hidden": "hidden nodes",
}  # fmt: skip

# Signs of interactions, the same in every picture: red activates, blue inhibits. Red and blue are
# told apart by all, and white is zero.
DIVERGING = "RdBu_r"
ACTIVATES, INHIBITS = "#B2182B", "#2166AC"

SMALL = 8.0
TINY = 6.5
"""The smallest type, in points."""

STYLE: Any = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.labelsize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "legend.fontsize": SMALL,
    "legend.frameon": False,
    "lines.linewidth": 1.4,
}
