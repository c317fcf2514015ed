"""Options of `reconnecting`, apart from the options that all clients have."""

# No `from __future__ import annotations`: the annotations are the types that options are checked against.

from dataclasses import dataclass

from anyws._checking import check_positive

from .options import ClientOptions, ConnectKeywords
from .outages import DisconnectHook

__all__ = ["ReconnectKeywords", "ReconnectOptions"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconnectOptions(ClientOptions):
    """Options of `reconnecting`, in addition to those of `connect`.

    Attributes:
        initial_delay: upper bound of the delay after the first failure; it doubles with each further failure. 5 s, as
            RFC 6455, section 7.2.3, suggests.
        max_delay: the highest upper bound, apart from ``Retry-After``. 60 s.
        reset_after: reset the delay if a connection stays open for this many seconds. 60 s. So a server that accepts
            connections and drops them immediately gets no more of them than one that refuses them.
        on_disconnect: a sync or async callable that receives each `Outage` before the delay. Return True to reconnect,
            False to stop, or None for the default. Stopping raises the exception or, if there is none, ends the loop.
    """

    initial_delay: float = 5
    max_delay: float = 60
    reset_after: float = 60
    on_disconnect: DisconnectHook | None = None

    def __post_init__(self) -> None:
        ClientOptions.__post_init__(self)
        check_positive(self, "initial_delay", "max_delay", "reset_after")
        if self.stream is not None:
            raise ValueError("option stream cannot be used with reconnecting(): it is a single connection")


class ReconnectKeywords(ConnectKeywords, total=False):
    """The keywords of `reconnecting`: see `ReconnectOptions`."""

    initial_delay: float
    max_delay: float
    reset_after: float
    on_disconnect: DisconnectHook | None
