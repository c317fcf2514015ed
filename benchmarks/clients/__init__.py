"""The measured clients. Each sends a message for every echo, in the way that its documentation shows."""
