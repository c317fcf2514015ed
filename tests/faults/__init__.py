"""Faults from a seed, cancellation everywhere, and every order of a close."""
