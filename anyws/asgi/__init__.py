"""anyws inside ASGI applications, for example those of FastAPI, Starlette and Django Channels."""

from __future__ import annotations

from anyws._names import claim_names

from ._endpoint import endpoint
from ._options import EndpointOptions
from ._scope import websocket_of

__all__ = ["EndpointOptions", "endpoint", "websocket_of"]

claim_names(globals())
