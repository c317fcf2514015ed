"""Loggers that know their connection. Contents of messages, credentials and query strings are never logged."""

from __future__ import annotations

import functools
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
    """Puts the peer's address before each message, and as ``remote`` into each record.

    Args:
        logger: where to say it.
        address: as a socket gives it, or as it is to be shown.
    """

    def __init__(self, logger: logging.Logger, address: object) -> None:
        super().__init__(logger)
        self._address = address

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        """Extend one message."""
        remote = _shown(self._address)
        return f"[{remote}] {msg}", {**kwargs, "extra": {"remote": remote, **kwargs.get("extra", {})}}


def connection_logger(name: str, stream: TypedAttributeProvider) -> ConnectionLogger:
    """Return the logger of one connection.

    Args:
        name: ``anyws.client`` or ``anyws.server``.
        stream: where the peer's address is looked up.
    """
    address = getattr(stream, "remote_address", None)  # ours knows it; to ask for attributes takes longer
    if address is None:
        address = stream.extra(SocketAttribute.remote_address, None)
    return ConnectionLogger(_logger(name), address)


_logger = functools.cache(logging.getLogger)


def _shown(address: object) -> str:
    """The address as it stands in a message; worked out for each, because most connections have none."""
    if not isinstance(address, tuple):
        return str(address or "-")
    host, port, *others = address
    if len(others) > 1 and others[1]:  # of IPv6, with a scope
        host = f"{host}%{others[1]}"
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
