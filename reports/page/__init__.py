"""The page: from a recording to a folder of figures, tables and index.html."""
