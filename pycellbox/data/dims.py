"""Dims of the variables of a dataset, in their canonical order."""

STEADY = ("condition", "node")
COURSE = ("condition", "time", "node")
PHASED = ("condition", "phase", "node")
EVERY = ("condition", "phase", "time", "drive_time", "node", "input")
