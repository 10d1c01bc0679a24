"""The report: recorded JSON in; figures, tables and one self-contained page out. Needs no torch."""
