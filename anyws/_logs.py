"""Loggers that name the connection. anyws never logs message contents, credentials or query strings."""

from __future__ import annotations

import functools
import logging
from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Any

from anyio import TypedAttributeProvider
from anyio.abc import SocketAttribute

from anyws.protocol.hosts import join_host_port

if TYPE_CHECKING:
    _Adapter = logging.LoggerAdapter[logging.Logger]
else:
    _Adapter = logging.LoggerAdapter

__all__ = ["ConnectionLogger", "connection_logger"]


class ConnectionLogger(_Adapter):
    """A logger that prefixes each message with the peer's address, and stores it as ``remote`` in each record.

    Args:
        logger: the underlying logger.
        address: the peer's address, either as returned by a socket or as a string to show.
    """

    def __init__(self, logger: logging.Logger, address: object) -> None:
        super().__init__(logger)
        self._address = address

    def debug(self, msg: object, *args: object, **kwargs: Any) -> None:
        """Log a debugging message. Most programs log none, so this checks the level first: it is faster."""
        if self.logger.isEnabledFor(logging.DEBUG):
            kwargs["stacklevel"] = kwargs.get("stacklevel", 1) + 1
            super().debug(msg, *args, **kwargs)

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        """Add the peer's address to a message and its record."""
        remote = _shown(self._address)
        return f"[{remote}] {msg}", {**kwargs, "extra": {"remote": remote, **kwargs.get("extra", {})}}


def connection_logger(name: str, stream: TypedAttributeProvider) -> ConnectionLogger:
    """Return the logger for one connection.

    Args:
        name: ``anyws.client`` or ``anyws.server``.
        stream: the stream of the connection, which knows the peer's address.
    """
    address = getattr(stream, "remote_address", None)  # our own streams have it; extra() is slower
    if address is None:
        address = stream.extra(SocketAttribute.remote_address, None)
    return ConnectionLogger(_logger(name), address)


_logger = functools.cache(logging.getLogger)


def _shown(address: object) -> str:
    """Return the address as shown in messages. It is formatted on demand because most connections log nothing."""
    if not isinstance(address, tuple):
        return str(address or "-")
    host, port, *others = address
    if len(others) > 1 and others[1]:  # an IPv6 address with a scope
        host = f"{host}%{others[1]}"
    return join_host_port(host, port)
