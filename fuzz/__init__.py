"""Inputs that nobody thought of, and what has to be true of them. `fuzz/README.md` says how to run it."""
