"""Long and large runs that look for leaks: ``nox -s soak``; see docs/soak.md."""
