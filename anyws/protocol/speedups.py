"""The choice between the two twins of the inner loops over bytes: compiled if there is that, or in pure Python.

The environment variable ``ANYWS_NO_EXTENSION``, if not empty, keeps to pure Python: while anyws is built the extension
is left out, and when anyws is imported it is not used.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ._pure import find_payload

__all__ = [
    "FrameQueue",
    "MessageQueue",
    "Payload",
    "apply_mask",
    "build_frame",
    "find_payload",
    "speedups_in_use",
    "take_messages",
]

if TYPE_CHECKING:
    from ._pure import Payload, apply_mask, build_frame, take_messages
    from ._queues import FrameQueue, MessageQueue
else:
    try:
        if os.environ.get("ANYWS_NO_EXTENSION"):
            raise ImportError
        from ._speedups import FrameQueue, MessageQueue, Payload, apply_mask, build_frame, take_messages
    except ImportError:
        from ._pure import Payload, apply_mask, build_frame, take_messages
        from ._queues import FrameQueue, MessageQueue

speedups_in_use: bool = not Payload.__module__.endswith("._pure")
"""Whether the compiled extension is in use; without it everything works, in pure Python."""
