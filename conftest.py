"""Loads the suite's pytest plugin; everything else is in bsr.plugin."""

pytest_plugins = ["bsr.plugin"]
collect_ignore = ["benchmarks/results"]  # recordings and their pages, and whatever else is there
