"""Runs the Autobahn testsuite against anyws, as server and as client: ``nox -s autobahn``."""
