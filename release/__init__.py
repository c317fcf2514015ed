"""The check-list of a release: ``nox -s release -- [--final]``."""
