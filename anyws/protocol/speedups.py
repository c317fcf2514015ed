"""Selects the compiled implementation of the inner loops if it is available, and otherwise the one in pure Python.

Set the environment variable ``ANYWS_NO_EXTENSION`` to any non-empty value to use pure Python: when set during the
build, the extension is not compiled; when set during import, it is not used.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

__all__ = [
    "FrameQueue",
    "MessageQueue",
    "Payload",
    "apply_mask",
    "build_frame",
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
"""Whether the compiled extension is in use. Without it, everything works in pure Python."""
