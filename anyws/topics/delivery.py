"""Passes a message on to all that follow its topic: `deliver`.

The followers of a message are those of the moment at which it is passed on. Whoever joins meanwhile begins after it,
and whoever leaves is sent nothing more.
"""

from __future__ import annotations

import logging

from anyws._slices import Slices

from .feed import Feed
from .followers import FrameFollower
from .published import Encode, Message

__all__ = ["deliver"]

_logger = logging.getLogger("anyws.topics")


async def deliver(feed: Feed, message: Message, slices: Slices) -> None:
    """Pass a message on. Only one task at a time may do that for a topic.

    Args:
        feed: its topic.
        message: the message.
        slices: lets other tasks run every few milliseconds.
    """
    groups = [(encode, group.members) for encode, group in feed.groups.items()]
    readers = feed.readers.members
    feed.pass_on(message)
    for reader in readers:
        reader.take(message)
    for encode, followers in groups:
        await _send(message, encode, followers, slices)


async def _send(message: Message, encode: Encode | None, followers: tuple[FrameFollower, ...], slices: Slices) -> None:
    try:
        prepared = message.prepared(encode)
    except Exception:
        _logger.exception("a message of topic %r cannot be sent to %d connections", message.topic, len(followers))
        await slices.call_each(followers, _fail)
        return
    frame = prepared.frame

    def visit(follower: FrameFollower) -> None:
        if not follower.send(frame):
            follower.send_later(message.topic, prepared)

    await slices.call_each(followers, visit)


def _fail(follower: FrameFollower) -> None:
    follower.fail("a message could not be encoded")
