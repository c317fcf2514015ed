"""Programs that use the compiled types in every wrong way; none may crash the interpreter."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.twins import compiled_twin

__all__ = ["needs_the_extension", "run_hostile"]

needs_the_extension = pytest.mark.skipif(compiled_twin() is None, reason="the extension is not built")

FIRST = """
import codecs, contextvars, copy, gc, pickle, socket, sys, time, warnings, weakref
from contextlib import contextmanager
from anyws.protocol.speedups import FrameQueue, MessageQueue, Payload
from anyws._connection.pumps.signals import Signal
from anyws._connection.plain_path import PlainPath

class Loop:
    def call_soon(self, callback, *arguments, context):
        self.called = callback, arguments, context

class Anything:
    def _do_nothing(self, *arguments):
        pass
    flush = resume_reading = fail_internally = on_readable = feed = feed_decrypted = feed_large = _do_nothing
    reading_ended = reading_failed = write_rest = writing_failed = decrypt = encrypt_piece = _do_nothing
    is_quiet = True
    async def receive(self): pass
    async def send(self, *arguments): pass
    next = receive

def open_all():
    ours, peer = socket.socketpair()
    ours.setblocking(False)
    return (*queues(), ours, peer)

def queues():
    inbox, outbox = MessageQueue(False, 1 << 20), FrameQueue(None)
    inbox.budget = outbox.budget = 64
    return inbox, outbox

LOOP, LINK, PUMP = Loop(), Anything(), Anything()
INBOX, OUTBOX = queues()

@contextmanager
def raises(*kinds):
    try:
        yield
    except kinds:
        return
    raise AssertionError("nothing was raised")

def main():
"""


def run_hostile(program: str) -> None:
    """Run the lines of a function in an interpreter of their own; each must end without an error or a warning."""
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", f"{FIRST}{program}\nmain()\ngc.collect()"],
        env={"PYTHONMALLOC": "debug", **os.environ, "ANYWS_NO_EXTENSION": ""},
        capture_output=True,
        check=False,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
