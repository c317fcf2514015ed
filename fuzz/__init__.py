"""Coverage-guided fuzzing of the code that reads a peer's bytes; see docs/fuzzing.md."""
