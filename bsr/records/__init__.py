"""What is kept of a session: how it is written, what may replace it, and how it is read again."""
