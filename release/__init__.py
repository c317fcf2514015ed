"""Build and check a release: ``nox -s release -- [--final]``."""
