"""Where WebSocket libraries differ, on the same bytes: ``python -m compliance.differences``."""
