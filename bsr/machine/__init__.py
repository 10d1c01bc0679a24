"""The machine that trains: its devices, its GPU, its compiler, how much of it there is."""
