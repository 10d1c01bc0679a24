"""How anything is drawn: style, panels, legends, marks, curves. Nothing here knows of a question."""
