"""Publish and subscribe, in this process or over an engine that connects several."""
