"""Collects the code blocks of the documentation as tests, and runs tests in parallel."""

from __future__ import annotations

import os

import pytest
from sybil import Sybil
from sybil.parsers.myst import PythonCodeBlockParser, SkipParser

pytest_collect_file = Sybil(
    parsers=[PythonCodeBlockParser(), SkipParser()],
    patterns=["README.md", "docs/*.md", "docs/integrations/*.md"],
).pytest()


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the options
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Run the tests on all cores, but those of a single file in this process: starting workers would take longer.

    ``-n 0`` runs all tests in this process, ``-n 4`` in four workers.
    """
    options = config.option
    if not config.pluginmanager.hasplugin("xdist") or hasattr(config, "workerinput") or options.usepdb:
        return
    files = {argument.partition("::")[0] for argument in config.args}
    if options.numprocesses is None and (len(files) > 1 or any(map(os.path.isdir, files))):
        options.numprocesses = "auto"
    if options.numprocesses and options.dist == "no":
        options.dist = "loadfile"  # the blocks of a page of the documentation build on each other
        options.maxworkerrestart = 0  # a new worker would run the test that hung once more
