"""The clients that are measured: each sends a message for every one that comes back, as its documentation shows how."""
