"""Measurements of anyws beside its peers: ``nox -s benchmarks``."""
