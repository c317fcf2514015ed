"""The servers that are measured: each echoes every message, as its own documentation shows how."""
