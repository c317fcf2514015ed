"""Shows where WebSocket libraries handle the same bytes differently: ``python -m compliance.differences``."""
