"""Which batch size, for a user's own images, network and machine, by one command; see docs/choosing.md."""
