"""Loads the suite's pytest plugin; everything else is in bsr.plugin."""

pytest_plugins = ["bsr.plugin"]
