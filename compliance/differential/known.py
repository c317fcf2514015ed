"""The known differences: what another implementation does differently, and the section that proves us right."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from .generate import Sequence
from .inflating import Compressed, compressed_messages
from .outcome import Outcome
from .wire import WireFrame, read_frames

__all__ = ["KNOWN", "Case", "Difference", "explain"]

_MESSAGES = ("text", "binary")


@dataclass(frozen=True)
class Case:
    """A sequence that anyws and a peer handle differently."""

    sequence: Sequence
    ours: Outcome
    theirs: Outcome

    @functools.cached_property
    def frames(self) -> list[WireFrame]:
        """The frames of the sequence."""
        return read_frames(self.sequence.data)

    @functools.cached_property
    def compressed(self) -> list[Compressed]:
        """The compressed messages; empty if compression was not negotiated."""
        return [] if self.sequence.deflate is None else list(compressed_messages(self.sequence, self.frames))

    def agree_before(self, index: int) -> bool:
        """Whether both handle all frames before this one in the same way."""
        count = sum(frame.is_control or frame.fin for frame in self.frames[:index])
        return self.ours.events[:count] == self.theirs.events[:count] and len(self.ours.events) >= count

    def agree_before_any(self, indices: Iterable[int]) -> bool:
        """Whether both handle all frames before one of these in the same way."""
        return any(map(self.agree_before, indices))

    def agree_before_frame(self, condition: Callable[[WireFrame], bool]) -> bool:
        """Whether both handle all frames before one that fulfils a condition in the same way."""
        return self.agree_before_any(index for index, frame in enumerate(self.frames) if condition(frame))

    def we_fail(self, code: int, reason: str) -> bool:
        """Whether we fail for this reason, and the peer agrees with us up to there."""
        count = len(self.ours.events)
        return (
            self.ours.failure == code and reason in self.ours.reason and self.theirs.events[:count] == self.ours.events
        )

    def they_get_no_more_messages(self) -> bool:
        """Whether the peer received nothing more than we did, apart from control frames."""
        return not any(event.kind in _MESSAGES for event in self.theirs.events[len(self.ours.events) :])


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A known difference.

    Attributes:
        name: a short name.
        peers: the peers that differ.
        section: the section that proves us right, or that leaves the behaviour open.
        explanation: what they do, and what we do.
        explains: says whether it explains a case.
    """

    name: str
    peers: tuple[str, ...]
    section: str
    explanation: str
    explains: Callable[[Case], bool]


def _in_unfinished_frame(case: Case) -> bool:
    """One side failed at the last, incomplete frame, and the other waits for the rest of it."""
    if case.ours.events != case.theirs.events or not case.frames or case.frames[-1].complete:
        return False
    if case.ours.failure is not None:
        return case.theirs.failure is None
    # We wait for at most a header and 125 bytes.
    last = case.frames[-1]
    return last.is_control or not last.payload


def _after_a_control_frame(case: Case) -> bool:
    """A continuation of a compressed message follows a control frame."""
    pairs = zip(case.frames, case.frames[1:], strict=False)
    return case.agree_before_any(
        index
        for index, (before, frame) in enumerate(pairs, 1)
        if before.is_control and frame.opcode == 0 and frame.compressed
    )


def _beyond_the_limit(case: Case) -> bool:
    """The payload of a compressed message is larger than the limit on messages."""
    limit = case.sequence.max_message_size
    if limit is None or case.theirs.failure != 1009:
        return False
    sizes: dict[int | None, int] = {}
    for index, frame in enumerate(case.frames):
        sizes[frame.message] = sizes.get(frame.message, 0) + (frame.length or 0)
        if frame.compressed and sizes[frame.message] > limit and case.agree_before(index):
            return True
    return False


KNOWN = (
    Difference(
        name="non-minimal length",
        peers=("ws",),
        section="RFC 6455, section 5.2: the minimal number of bytes MUST be used",
        explanation="ws accepts a length that uses more bytes than necessary; we fail with 1002",
        explains=lambda case: case.we_fail(1002, "not minimally encoded"),
    ),
    Difference(
        name="length of 2**53 or more",
        peers=("ws",),
        section="RFC 6455, section 5.2: the top bit MUST be 0, any other length is legal",
        explanation="ws fails with 1009; we fail with 1002 for the top bit, and otherwise only for max_frame_size",
        explains=lambda case: (
            case.theirs.failure == 1009
            and case.agree_before_frame(lambda frame: frame.length is not None and frame.length >= 1 << 53)
        ),
    ),
    Difference(
        name="text fails fast",
        peers=("ws",),
        section="RFC 6455, section 8.1; Autobahn testsuite, section 6.4",
        explanation="ws checks text once the message is complete; we fail with 1007 at the first invalid byte",
        explains=lambda case: case.we_fail(1007, "text is not valid UTF-8") and case.they_get_no_more_messages(),
    ),
    Difference(
        name="surrogate fails fast",
        peers=("wsproto",),
        section="RFC 3629, section 3: no surrogates (U+D800 to U+DFFF); RFC 6455, section 8.1",
        explanation="wsproto waits for the third byte of a surrogate; we fail with 1007 at the second",
        explains=lambda case: case.we_fail(1007, "surrogate") and case.they_get_no_more_messages(),
    ),
    Difference(
        name="close code 1014",
        peers=("wsproto",),
        section="RFC 6455, sections 7.4.2 and 11.7: registered with IANA",
        explanation="wsproto fails with 1002; we accept it",
        explains=lambda case: (
            case.theirs.failure == 1002
            and case.agree_before_frame(lambda frame: frame.opcode == 8 and frame.payload[:2] == b"\x03\xf6")
        ),
    ),
    Difference(
        name="final block",
        peers=("ws", "wsproto"),
        section="RFC 7692, section 7.2.3.4: a block with BFINAL=1 is legal, and the window is kept",
        explanation="ws loses the rest of the message and the window; wsproto all that follows; we lose nothing",
        explains=lambda case: case.agree_before_any(
            message.first for message in case.compressed if message.has_final_block
        ),
    ),
    Difference(
        name="empty payload of a compressed message",
        peers=("ws", "wsproto"),
        section="RFC 7692, section 7.2.3.6: an empty message is the byte 00; an empty payload is left open",
        explanation="ws and wsproto treat 00 00 ff ff as part of the next message; we treat this message as empty",
        explains=lambda case: case.agree_before_any(message.first for message in case.compressed if message.is_empty),
    ),
    Difference(
        name="truncated compressed message",
        peers=("ws", "wsproto"),
        section="RFC 7692, section 7.2.1: the payload ends in an empty stored block without its last 4 bytes",
        explanation="ws and wsproto treat 00 00 ff ff as data of the message; we fail with 1007",
        explains=lambda case: case.we_fail(1007, "truncated"),
    ),
    Difference(
        name="distance beyond the agreed window",
        peers=("ws", "wsproto", "chunks"),
        section="RFC 7692, section 7.1.2: the sender MUST NOT use a larger window",
        explanation="1007 or the message: whether zlib detects such a distance depends on how its input is split",
        explains=lambda case: case.agree_before_any(
            message.first for message in case.compressed if message.reaches_too_far
        ),
    ),
    Difference(
        name="control frame inside a compressed message",
        peers=("wsproto",),
        section="RFC 7692, section 6.1; RFC 6455, section 5.4: control frames may come between fragments",
        explanation="wsproto treats the fragments after it as uncompressed; we continue to decompress",
        explains=_after_a_control_frame,
    ),
    Difference(
        name="new message inside a compressed one",
        peers=("wsproto",),
        section="RFC 6455, section 5.4: fragments of messages MUST NOT be interleaved",
        explanation="wsproto decompresses first and fails with 1007; we fail with 1002 at the header",
        explains=lambda case: case.theirs.failure == 1007 and case.we_fail(1002, "5.4"),
    ),
    Difference(
        name="compressed size and limit",
        peers=("ws",),
        section="RFC 6455, section 10.4: limits are up to the implementation",
        explanation="ws applies the message limit to the compressed bytes; we allow these some slack",
        explains=_beyond_the_limit,
    ),
    Difference(
        name="bad data beyond the limit",
        peers=("ws", "chunks"),
        section="RFC 6455, section 7.1.7: both fail; which error is detected first is left open",
        explanation="for a frame that is both invalid and too large, one fails with 1007 and the other with 1009",
        explains=lambda case: (
            case.ours.events == case.theirs.events and {case.ours.failure, case.theirs.failure} == {1007, 1009}
        ),
    ),
    Difference(
        name="unfinished frame",
        peers=("ws", "wsproto"),
        section="RFC 6455, section 7.1.7: when a frame fails is left open, except for text (section 8.1)",
        explanation="one fails at the header or within the payload, while the other waits for the rest of the frame",
        explains=_in_unfinished_frame,
    ),
)
"""All known differences. The rules are tried in this order."""


def explain(case: Case, peer: str) -> Difference | None:
    """Return the known difference that explains the case, or None."""
    return next((known for known in KNOWN if peer in known.peers and known.explains(case)), None)
