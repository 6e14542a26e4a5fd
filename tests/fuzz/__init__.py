"""Everything that is public, called with what it is not made for: see `tests.fuzz.__main__`."""
