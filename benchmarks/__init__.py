"""Benchmarks of anyws and comparable libraries: ``nox -s benchmarks``."""
