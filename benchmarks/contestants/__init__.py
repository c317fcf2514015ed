"""The measured servers. Each echoes every message, in the way that its documentation shows."""
