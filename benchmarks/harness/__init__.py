"""What the benchmark programs share: the problem, the clock, the machine's limit, the tables."""
