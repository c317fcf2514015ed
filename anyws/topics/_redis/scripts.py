"""The scripts that run on the server, and the names of what they store.

A topic has a *meta* hash: its epoch, the offset of its latest message, and the run of the server that wrote them last.
With history, a stream has the latest messages; the number of an entry is the offset of its message, so that a missing
entry shows. A server that restarts, and a replica that takes over, may have less than what subscribers have received:
Redis writes to its disk and to its replicas a little later. The run then differs, and the topic begins a new epoch. It
remembers at which offset the epoch before ended (*past*). A position in that epoch is still good if it does not lie
behind this offset; if it does, messages were lost, and nobody mistakes new messages for those that he has seen.
"""

from __future__ import annotations

import functools
import hashlib
from binascii import crc_hqx
from typing import NamedTuple

from anyws.topics.engine import Position

from .protocol import ServerError, pack

__all__ = [
    "POSITIONS",
    "PUBLISH",
    "READ",
    "Script",
    "TopicKeys",
    "is_still_good",
    "keys_of",
    "slot_of",
    "unpack_message",
    "unpack_position",
]

PREFIX = "anyws:"
MAX_TOPIC = 8192
"""The longest name of a topic, in bytes of UTF-8; a key is in every command."""

META_SECONDS = 3600
"""How long a topic keeps its epoch without publishers and subscribers, in seconds, unless its history is longer. A
subscriber refreshes it with each check."""

# meta, stream: keys. fresh: an epoch for a topic that needs one. run: of the server. ttl: of meta, in milliseconds.
_STAND = """
local function stand(meta, stream, fresh, run, ttl)
    local found = redis.call('HMGET', meta, 'epoch', 'offset', 'run', 'past')
    local epoch, offset, past = found[1], found[2], found[4] or ''
    if not epoch then
        epoch, offset = fresh, '0'
        redis.call('DEL', stream)
        redis.call('HSET', meta, 'epoch', epoch, 'offset', offset, 'run', run)
    elseif found[3] ~= run then
        past = string.sub(epoch .. ":" .. offset .. " " .. past, 1, 400)
        epoch = fresh
        redis.call('HSET', meta, 'epoch', epoch, 'run', run, 'past', past)
    end
    redis.call('PEXPIRE', meta, ttl)
    return epoch, offset, past
end
"""


class Script:
    """A Lua script. ``EVALSHA`` names it, and ``EVAL`` sends it to a server that does not know it yet."""

    def __init__(self, text: str) -> None:
        self._text = (_STAND + text).encode()
        self._digest = hashlib.sha1(self._text, usedforsecurity=False).hexdigest().encode()

    def short(self, keys: list[bytes], *arguments: bytes) -> bytes:
        """Return the command for a server that knows the script."""
        return pack(b"EVALSHA", self._digest, b"%d" % len(keys), *keys, *arguments)

    def long(self, keys: list[bytes], *arguments: bytes) -> bytes:
        """Return the command for a server that does not."""
        return pack(b"EVAL", self._text, b"%d" % len(keys), *keys, *arguments)


# KEYS: meta, stream, channel. ARGV: fresh, run, ttl, payload, how to publish, messages and milliseconds of history.
PUBLISH = Script("""
local epoch = stand(KEYS[1], KEYS[2], ARGV[1], ARGV[2], ARGV[3])
local offset = redis.call('HINCRBY', KEYS[1], 'offset', 1)
if ARGV[6] ~= '0' then
    local entry = {KEYS[2], 'MAXLEN', '~', ARGV[6], string.format('%.0f-0', offset), 'd', ARGV[4]}
    local added = redis.pcall('XADD', unpack(entry))
    if type(added) == 'table' and added.err then  -- the stream does not belong to the meta hash
        redis.call('DEL', KEYS[2])
        redis.call('XADD', unpack(entry))
    end
    redis.call('PEXPIRE', KEYS[2], ARGV[7])
end
local position = epoch .. string.format(' %.0f', offset)
redis.call(ARGV[5], KEYS[3], position .. ' ' .. ARGV[4])
return position
""")

# KEYS: meta and stream of each topic in turn. ARGV: fresh, run, ttl. Returns where each topic stands.
POSITIONS = Script("""
local positions = {}
for i = 1, #KEYS, 2 do
    local epoch, offset = stand(KEYS[i], KEYS[i + 1], ARGV[1], ARGV[2], ARGV[3])
    positions[#positions + 1] = epoch .. ' ' .. offset
end
return positions
""")

# KEYS: meta, stream. ARGV: fresh, run, ttl, offset, limit. Returns where the topic stands, its past, and the entries.
READ = Script("""
local epoch, offset, past = stand(KEYS[1], KEYS[2], ARGV[1], ARGV[2], ARGV[3])
local entries = redis.call('XRANGE', KEYS[2], '(' .. ARGV[4] .. '-0', '+', 'COUNT', ARGV[5])
return {epoch .. ' ' .. offset, past, entries}
""")


class TopicKeys(NamedTuple):
    """The names that belong to a topic. They have one hash tag, so that a cluster keeps them together."""

    meta: bytes
    stream: bytes
    channel: bytes

    @classmethod
    def of(cls, topic: str, db: int) -> TopicKeys:
        """Return the names for a topic in a database.

        Raises:
            TypeError: the topic is not a string.
            ValueError: the topic is too long, or is not valid Unicode.
        """
        if not isinstance(topic, str):
            raise TypeError(f"a topic must be a str, not {type(topic).__name__}")
        try:
            # A "}" would end the hash tag, and an empty tag would not be one.
            tag = topic.replace("%", "%25").replace("}", "%7D").encode() or b"%"
        except UnicodeEncodeError:
            raise ValueError(f"the topic {topic[:40]!r} is not valid Unicode: it has a lone surrogate") from None
        if len(tag) > MAX_TOPIC:
            raise ValueError(
                f"the topic {topic[:40]!r}... has {len(tag)} bytes as UTF-8, with each % and }} escaped; "
                f"at most {MAX_TOPIC} are possible"
            )
        name = PREFIX.encode() + b"{" + tag + b"}"
        # Channels do not belong to a database, unlike keys.
        return cls(name + b":meta", name + b":stream", name + b":channel:%d" % db)


keys_of = functools.lru_cache(maxsize=4096)(TopicKeys.of)  # for speed: publishers use few topics often


def slot_of(key: bytes) -> int:
    """Return the hash slot of one of the keys above, in a cluster."""
    return crc_hqx(key[key.index(b"{") + 1 : key.index(b"}")], 0) % 16384


def unpack_position(value: object) -> Position:
    """Return the position that a script has returned.

    Raises:
        ValueError: it is not one.
    """
    if isinstance(value, ServerError):
        raise value
    if not isinstance(value, bytes):
        raise ValueError(f"the server returned {value!r}, expected a position")
    epoch, offset = value.split(b" ")
    return Position(epoch.decode("ascii"), int(offset))


def unpack_message(message: bytes) -> tuple[Position, bytes]:
    """Return the position and the payload of a published message.

    Raises:
        ValueError: something else has published on the channel.
    """
    epoch, offset, payload = message.split(b" ", 2)
    return Position(epoch.decode("ascii"), int(offset)), payload


def is_still_good(after: Position, now: Position, past: bytes) -> bool:
    """Return whether all that a subscriber at a position has received is part of what the server has.

    Args:
        after: the position.
        now: where the topic stands.
        past: the epochs before, the latest first, each with the offset at which it ended.
    """
    ends = {now.epoch: now.offset}
    for item in past.decode("ascii").split():
        epoch, _, end = item.partition(":")
        if end.isdigit():  # the oldest may have been cut off
            ends[epoch] = int(end)
    return after.offset <= ends.get(after.epoch, -1)
