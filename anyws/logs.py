"""Loggers that know their connection. Contents of messages, credentials and query strings are never logged."""

from __future__ import annotations

import logging
from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Any

from anyio import TypedAttributeProvider
from anyio.abc import SocketAttribute

if TYPE_CHECKING:
    _Adapter = logging.LoggerAdapter[logging.Logger]
else:
    _Adapter = logging.LoggerAdapter

__all__ = ["ConnectionLogger", "connection_logger"]


class ConnectionLogger(_Adapter):
    """Puts the peer's address before each message, and as ``remote`` into each record."""

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        """Extend one message."""
        assert self.extra is not None
        return f"[{self.extra['remote']}] {msg}", {**kwargs, "extra": {**self.extra, **kwargs.get("extra", {})}}


def connection_logger(name: str, stream: TypedAttributeProvider) -> ConnectionLogger:
    """Return the logger of one connection.

    Args:
        name: ``anyws.client`` or ``anyws.server``.
        stream: where the peer's address is looked up.
    """
    address = stream.extra(SocketAttribute.remote_address, None)
    if isinstance(address, tuple):
        host, port = address[:2]
        remote = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    else:
        remote = address or "-"
    return ConnectionLogger(logging.getLogger(name), {"remote": remote})
