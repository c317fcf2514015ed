"""Coverage-guided fuzzing of what reads a peer's bytes, see docs/fuzzing.md."""
