"""Loads the suite's pytest plugin; everything else is in bsr.plugin."""

pytest_plugins = ["bsr.plugin"]
collect_ignore = ["benchmarks/results"]  # recordings and their pages, whatever lies beside them
