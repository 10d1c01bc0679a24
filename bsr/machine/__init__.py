"""The machine that trains: its devices, its GPU, how much of it there is."""
