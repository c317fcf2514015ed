"""The settings that Django Channels needs."""

from __future__ import annotations

import django
from django.conf import settings

__all__ = ["configure"]


def configure() -> None:
    """Configure Django, once."""
    if not settings.configured:
        layers = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
        settings.configure(SECRET_KEY="x", ALLOWED_HOSTS=["*"], CHANNEL_LAYERS=layers, INSTALLED_APPS=["channels"])
        django.setup()
