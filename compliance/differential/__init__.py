"""Give the same bytes to anyws and to other implementations, and compare the results; see docs/fuzzing.md."""
