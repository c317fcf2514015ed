"""uvicorn with wsproto."""

from __future__ import annotations

from .uvicorn import main

if __name__ == "__main__":
    main("wsproto")
