"""The same bytes to anyws and to other implementations: what comes of them must be the same, see docs/fuzzing.md."""
