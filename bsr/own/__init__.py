"""A user's own code: which files it is, and what a network of it is made of and computes."""
