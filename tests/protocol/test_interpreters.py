"""The compiled twin in several interpreters in parallel, each with its own GIL since Python 3.12 (PEP 684)."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.twins import compiled_twin

COMPILED = compiled_twin()

# The twin is loaded from its file, for not all that anyws imports can be imported in such an interpreter. Neither can
# asyncio everywhere: in CPython 3.12.1 it corrupts memory. So a signal finds another module by that name.
USE = """
import contextvars, gc, importlib.machinery, importlib.util, sys, types

asyncio = sys.modules["asyncio"] = types.ModuleType("asyncio")
asyncio.CancelledError = type("CancelledError", (BaseException,), {})
loader = importlib.machinery.ExtensionFileLoader("_speedups", PATH)
twin = importlib.util.module_from_spec(importlib.util.spec_from_file_location("_speedups", PATH, loader=loader))
loader.exec_module(twin)

class Loop:
    last_heard = 0
    def call_soon(self, *arguments, context):
        pass
    def now(self):
        return 5.0

KEY = b"1234"
for _ in range(300):
    inbox = twin.MessageQueue(True, 1000)
    inbox.put_frames(twin.build_frame(0x81, "abc", KEY) * 20)
    assert [inbox.take() for _ in range(len(inbox))] == ["abc"] * 20
    frames = twin.FrameQueue(lambda: KEY)
    frames.put_frame(0x82, bytes(20_000))
    assert len(frames.take()[0]) == 20_008
    payload = twin.Payload()
    payload.extend(b"abc", 0, 3, b"", 10)
    with payload.get_buffer(3, 0) as room:
        room[:] = b"def"
    payload.buffer_updated(3, b"")
    assert payload.take() == b"abcdef"
    signal = twin.Signal(Loop())
    signal.add_done_callback(print, context=contextvars.copy_context())
    assert signal.cancel("why")
    try:
        signal.result()
    except asyncio.CancelledError:
        pass
    else:
        raise AssertionError
    path, delivered = twin.PlainPath(inbox, frames, None, 64), []
    path.attach(loop := Loop(), loop, loop.now, signal, None, -1)
    inbox.budget = 9
    inbox.put("abc")
    call = path.deliver(delivered.append)
    assert next(call) is signal and delivered == ["abc"]
    call.close()
gc.collect()
"""
MAIN = """
import sys, threading
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters

def work():
    for _ in range(2):
        each = interpreters.create()
        failure = interpreters.run_string(each, f"PATH = {sys.argv[1]!r}\\n{sys.argv[2]}")  # before 3.13 it raises
        interpreters.destroy(each)
        assert failure is None, failure

threads = [threading.Thread(target=work) for _ in range(4)]
failures = []
threading.excepthook = failures.append
for thread in threads:
    thread.start()
    if sys.version_info < (3, 12):  # does not support several interpreters in parallel
        thread.join()
for thread in threads:
    thread.join()
sys.exit(str(failures) if failures else 0)
"""


@pytest.mark.skipif(COMPILED is None, reason="the extension is not built")
def test_each_interpreter_has_its_own_twin() -> None:
    assert COMPILED is not None
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", MAIN, str(COMPILED.__file__), USE],
        capture_output=True,
        check=False,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
