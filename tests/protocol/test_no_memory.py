"""When memory runs out at any point, an operation succeeds, or raises without any effect; it never crashes."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys

import pytest

from anyws.protocol import speedups_in_use

needs_failing_allocator = pytest.mark.skipif(
    importlib.util.find_spec("_testcapi") is None, reason="this Python has no allocator that fails (_testcapi)"
)

# `everywhere` makes a state, does something to it, and checks what then holds; `done` is what was returned, or FAILED.
FIRST = """
import contextvars, gc, os, sys
import _testcapi
from anyws.protocol import Connection, PerMessageDeflate, Role, State
from anyws.protocol.speedups import FrameQueue, MessageQueue, Payload, apply_mask, build_frame, take_messages
from anyws._connection.pumps.signals import Signal
from anyws._connection.plain_path import PlainPath

KEY = b"\\x37\\xfa\\x21\\x3d"
MESSAGES = ["a" * 100, b"b" * 1000, "\\u20ac" * 50, b"", "", "xy", "\\xe9" * 99] * 3
FRAMES = b"".join(build_frame(0x81 + isinstance(each, bytes), each, KEY) for each in MESSAGES)
FAILED = object()

def once(make, act, check, first, last):
    state = make()
    done = FAILED
    _testcapi.set_nomemory(first, last)
    try:
        done = act(state)
    except MemoryError:
        pass
    finally:
        _testcapi.remove_mem_hooks()
    check(state, done)
    return done is not FAILED

# So many allocations fail in a row. With `ENDLESS` none succeeds any more: CPython itself may then hang in Python code.
ENDLESS = 1 << 30

def everywhere(make, act, check, widths=(1, 3, 20)):
    gc.disable()
    for width in widths:
        point = succeeded = 0
        while succeeded < 50:
            succeeded = succeeded + 1 if once(make, act, check, point, point + width) else 0
            point += 1
        assert point > 50

def all_of(queue):
    return [queue.take() for _ in range(len(queue))]
"""

CASES = {
    "functions": """
for call, expected in (
    (lambda _: apply_mask(bytearray(1000), KEY), KEY * 250),
    (lambda _: build_frame(0x82, bytes(4), KEY), b"\\x82\\x84" + 2 * KEY),
    (lambda _: build_frame(0x81, "\\u20ac" * 200, b""), b"\\x81\\x7e\\x02\\x58" + b"\\xe2\\x82\\xac" * 200),
):
    def check(_, done):
        assert done is FAILED or done == expected
    everywhere(lambda: None, call, check, (1, ENDLESS))
""",
    "take_messages": """
def check(messages, done):
    assert messages == MESSAGES[:len(messages)]
    if done is not FAILED:
        position, _ = done
        rest = []
        assert take_messages(FRAMES, position, True, 1 << 20, 1 << 20, rest)[0] == len(FRAMES)
        assert messages + rest == MESSAGES
everywhere(list, lambda messages: take_messages(FRAMES, 0, True, 1 << 20, 1 << 20, messages), check, (1, ENDLESS))

# Once an extension has seen a message, the message is there or memory runs out for the connection.
TRANSFORMED = b"".join(build_frame(0xC1 + isinstance(each, bytes), each, KEY) for each in MESSAGES)
class Extension:
    def __init__(self):
        self.seen, self.messages = 0, []
    def decode(self, opcode, payload):
        message = payload.decode() if opcode == 1 else payload
        self.seen += 1
        return message
def check(extension, done):
    assert extension.messages == MESSAGES[:len(extension.messages)]
    assert extension.seen - len(extension.messages) <= (done is FAILED)
everywhere(Extension, lambda extension: take_messages(TRANSFORMED, 0, True, 1 << 20, 1 << 20, extension.messages, 0x40,
                                                      extension.decode), check, (1, 3, 20))
""",
    "put_frames": """
def check(queue, done):
    if done is FAILED:
        messages = all_of(queue)
        assert messages == MESSAGES[:len(messages)]
    else:
        assert queue.put_frames(FRAMES[done:]) == len(FRAMES) - done
        assert all_of(queue) == MESSAGES
    assert (queue.size, len(queue)) == (0, 0)
everywhere(lambda: MessageQueue(True, 1 << 20), lambda queue: queue.put_frames(FRAMES), check, (1, ENDLESS))
""",
    "messages": """
def make():
    queue = MessageQueue(True, 1 << 20)
    for message in MESSAGES[:8]:
        queue.put(message)
    queue.budget = 9
    return queue
def check(queue, done):
    assert queue.size == sum(sys.getsizeof(message) for message in MESSAGES[:len(queue)])
    assert all_of(queue) == MESSAGES[:8 if done is FAILED else 9]
everywhere(make, lambda queue: queue.put(MESSAGES[8]), check, (1, ENDLESS))
""",
    "frames": """
for key in (None, lambda: KEY):
    for first, payload in ((0x81, "abc"), (0x81, "\\u20ac" * 99), (0x82, b"abc"), (0x82, bytes(20_000))):
        frame = build_frame(first, payload, b"" if key is None else KEY)
        for put in (lambda queue: queue.put_frame(first, payload), lambda queue: queue.put(frame),
                    lambda queue: queue.put_message(payload)):
            def make():
                queue = FrameQueue(key)
                for number in range(8):
                    queue.put(b"%d" % number)
                queue.budget = 1
                return queue
            def check(queue, done):
                added = b"" if done in (FAILED, False) else frame
                assert (queue.budget, queue.size) == (0 if done is True else 1, 8 + len(added))
                assert b"".join(queue.take()) == b"01234567" + added
            everywhere(make, put, check, (1, ENDLESS))
""",
    "frames-are-taken": """
def make():
    queue = FrameQueue(None)
    for number in range(4):
        queue.put(b"%d" % number)
        queue.put_frame(0x82, PAYLOAD)
    queue.put(b"last")
    return queue
PAYLOAD = bytes(15_000)
PAYLOAD += PAYLOAD
EXPECTED = b"".join(frame for frame in make().take())
def check(queue, done):
    taken = b"".join(queue.take() if done is FAILED else done)
    assert taken == EXPECTED
    assert b"last" in b"".join(queue.take()) and queue.size == 0
PAYLOAD = PAYLOAD[:16384]
EXPECTED = b"".join(frame for frame in make().take())
everywhere(make, lambda queue: queue.take(), check, (1, ENDLESS))
""",
    "payload": """
DATA = os.urandom(5000)
def make():
    payload = Payload()
    payload.extend(DATA, 0, 1000, b"", 0)
    return payload
def check(payload, done):
    added = 0 if done is FAILED else 4000
    try:
        assert len(payload) in (0, 1000 + added)
        assert payload.take() == DATA[:1000 + added]
    except MemoryError as exc:
        assert done is FAILED and "a part of the payload was lost" in str(exc)
everywhere(make, lambda payload: payload.extend(DATA, 1000, 5000, b"", 0), check, (1, ENDLESS))

def check(payload, done):
    try:
        assert (payload.take() if done is FAILED else done) == DATA[:1000]
        payload.extend(DATA, 0, 5, b"", 0)
        assert payload.take() == DATA[:5]
    except MemoryError as exc:
        assert done is FAILED and "a part of the payload was lost" in str(exc)
def make_with_room():
    payload = make()
    payload.get_buffer(100_000, 100_000).release()
    return payload
everywhere(make_with_room, lambda payload: payload.take(), check, (1, ENDLESS))

def check(payload, done):
    if done is not FAILED:
        done[:] = DATA
        done.release()
        payload.buffer_updated(5000, b"")
    try:
        assert payload.take() == DATA[:1000] + (b"" if done is FAILED else DATA)
    except MemoryError as exc:
        assert done is FAILED and "a part of the payload was lost" in str(exc)
everywhere(make, lambda payload: payload.get_buffer(5000, 0), check, (1, ENDLESS))
""",
    "signal": """
class Loop:
    called = ()
    def call_soon(self, callback, *arguments, context):
        self.called = callback, arguments, context
def make():
    signal = Signal(Loop())
    signal.add_done_callback(print, context=contextvars.copy_context())
    return signal
def check(signal, done):
    assert signal.done() is (done is not FAILED)
    assert bool(signal.get_loop().called) is signal.done()
    signal.result()
everywhere(make, lambda signal: signal.set(), check, (1, ENDLESS))

def check(signal, done):
    assert signal.done() is (done is not FAILED)
    assert bool(signal.get_loop().called) is signal.done()
    try:
        signal.result()
    except BaseException as exc:
        assert (type(exc).__name__, exc.args, done) == ("CancelledError", ("why",), True)
    else:
        assert done is FAILED
everywhere(make, lambda signal: signal.cancel("why"), check, (1, ENDLESS))

loop = Loop()
def check(_, done):
    assert done is FAILED or done.get_loop() is loop
everywhere(lambda: None, lambda _: Signal(loop), check, (1, ENDLESS))
""",
    "path": """
import socket
LARGE = [b"x" * 20_000, b"y" * 30_000]
class Rig:
    def __init__(self, first=b"", delivers=False, key=None, records=None):
        self.ours, self.peer = socket.socketpair()
        self.ours.setblocking(False)
        self.inbox, self.outbox = MessageQueue(True, 1 << 20), FrameQueue(key)
        self.inbox.budget = self.outbox.budget = 64
        self.outbox.is_direct = True
        self.path = PlainPath(self.inbox, self.outbox, self, 64)
        self.path.receiver = self.path.sender = self
        self.signal = Signal(self)
        self.fed, self.delivered, self.failed, self.rest, self.is_waiting = [], [], [], b"", False
        self.path.attach(self, self, self.now, self.signal, records, self.ours.fileno())
        if first:
            self.peer.sendall(first)
        self.call = self.path.deliver(self.deliver) if delivers else self.path.receive()
        self.step()
    def step(self, signal=None):
        try:
            self.call.send(None)
        except StopIteration as stop:
            self.delivered.append(stop.value)
        except MemoryError as exc:
            self.failed.append(exc)
        else:
            self.signal._asyncio_future_blocking = False
            self.signal.add_done_callback(self.step, context=CONTEXT)
    def call_soon(self, *arguments, context): pass
    def deliver(self, message):
        self.delivered.append(message)
    def now(self): return 5.0
    def feed(self, data): self.fed.append(data)
    def feed_large(self, header, payload): self.fed.append((header, payload))
    def fail_internally(self, exc):
        self.failed.append(exc)
    writing_failed = reading_failed = fail_internally
    def flush(self): pass
    def write_rest(self, header, payload, written, error): self.rest = (header + payload)[written:]
    def close(self):
        self.call.close()
        self.path.detach()
        self.ours.close(), self.peer.close()
CONTEXT = contextvars.copy_context()

# Reading: each message is received, is still there, or the connection has failed.
for expected in (MESSAGES[:3], LARGE, ["a", LARGE[1]]):
    for delivers in (False, True):
        def make():
            return Rig(b"".join(build_frame(0x81 + isinstance(each, bytes), each, KEY) for each in expected), delivers)
        def check(rig, done):
            seen = rig.delivered + all_of(rig.inbox)
            if not rig.failed and not rig.has_raised:
                assert seen == expected[:len(seen)], (seen, rig.fed)
                missing = []
                data = b"".join(each for each in rig.fed if isinstance(each, bytes))
                take_messages(data, 0, True, 1 << 20, 1 << 20, missing)
                assert seen + missing == expected
            rig.close()
        def act(rig):
            rig.has_raised = True
            rig.path.on_readable()
            rig.has_raised = False
            if rig.failed or rig.fed:  # memory ran out, and Python does the rest
                raise MemoryError
        everywhere(make, act, check, (1, 3, 20))

# Sending: the message is written, or the sender knows that it is not.
for key in (None, lambda: KEY):
    for message in ("text", "\u20ac" * 500, b"x" * 5000):
        frame = build_frame(0x81 + isinstance(message, bytes), message, b"" if key is None else KEY)
        def check(rig, done):
            written = rig.peer.recv(1 << 20) if rig.outbox.sent else b""
            assert written == (b"" if done is FAILED or done is False else frame)
            assert rig.outbox.budget == (64 if done is FAILED else 63)
            rig.close()
        def act(rig):
            bytes(1000)  # a short text needs no memory
            return rig.path.send_now(message)
        everywhere(lambda: Rig(key=key), act, check, (1, 3, ENDLESS))

# An extension: the message is written, or the sender knows that it is not, or it is still queued.
for key in (None, lambda: KEY):
    for message in (b"text", b"x" * 5000, b"y" * 20_000):
        frame = build_frame(0xC2, message, b"" if key is None else KEY)
        def make():
            rig = Rig(key=key)
            rig.outbox.is_plain = False
            rig.path.use_extension(0x40, print, lambda message: rig.outbox.put_frame(0xC2, message))
            return rig
        def check(rig, done):
            written = rig.peer.recv(1 << 20) if rig.outbox.sent else b""
            assert written == (frame if done is True else b"")
            assert rig.outbox.size == 0
            rig.close()
        everywhere(make, lambda rig: rig.path.send_now(message), check, (1, 3))

# Calls.
for name in ("receive", "next", "deliver", "send"):
    def act(rig):
        call = getattr(rig.path, name)(*(["x"] if name == "send" else [rig.deliver] if name == "deliver" else []))
        try:
            call.send(None)
        except StopIteration:
            pass
        call.close()
        return True
    def make():
        rig = Rig()
        rig.call.close()
        rig.inbox.put("message")
        return rig
    def check(rig, done):
        assert not rig.inbox.is_receiving
        rig.close()
    everywhere(make, act, check, (1, 3))

def check(path, done):
    assert done is FAILED or path is not None
INBOX, OUTBOX = MessageQueue(True, 1 << 20), FrameQueue(None)
everywhere(lambda: 1, lambda _: PlainPath(INBOX, OUTBOX, None, 64), check, (1, ENDLESS))
""",
    "connection-receives": """
LARGE = os.urandom(9_000)
def frame(first, payload):
    return build_frame(first, payload, KEY)
for pieces, expected in (
    ([FRAMES[:1498]], MESSAGES[:7]),
    ([FRAMES[:50], FRAMES[50:110], FRAMES[110:1498]], MESSAGES[:7]),
    ([frame(0x01, "\\u20ac" * 99) + frame(0x89, b"ping"), frame(0x80, "\\xe9" * 500)],
     ["\\u20ac" * 99 + "\\xe9" * 500]),
    ([frame(0x02, b"x" * 999) + frame(0x00, b"y" * 999), frame(0x80, b""), FRAMES[:120]],
     [b"x" * 999 + b"y" * 999, "a" * 100]),
    ([frame(0x82, LARGE)[:3000], frame(0x82, LARGE)[3000:6001], frame(0x82, LARGE)[6001:]], [LARGE]),
):
    def make():
        return Connection(Role.SERVER), [0] * len(pieces)
    def act(state):
        connection, results = state
        for number in range(len(pieces)):
            results[number] = connection.receive_data(pieces[number])
        return True
    def check(state, done):
        connection, results = state
        if connection.state is State.OPEN:  # what was not taken can be given again
            for number, piece in enumerate(pieces):
                if results[number] == 0:
                    results[number] = connection.receive_data(piece)
        else:
            assert done is FAILED
            assert connection.receive_data(FRAMES) == [] and connection.close_code == 1006
        events = [event for result in results if result != 0 for event in result]
        messages = [event for event in events if isinstance(event, (str, bytes))]
        assert messages == expected[:len(messages)]
        assert connection.state is State.CLOSED or messages == expected, messages
    everywhere(make, act, check)
""",
    "connection-reads-into-messages": """
LARGE = os.urandom(120_000)
FRAME = build_frame(0x82, LARGE, KEY)
VIEW = memoryview(FRAME)
def make():
    connection = Connection(Role.SERVER)
    assert connection.receive_data(FRAME[:70_000]) == []
    return connection
def act(connection):
    with connection.get_buffer() as buffer:
        buffer[:] = VIEW[70_000:]
    return connection.buffer_updated(50_014)
def check(connection, done):
    if done is FAILED and connection.state is State.OPEN:
        done = act(connection)
    if done is FAILED:
        assert connection.receive_data(b"") == [] and connection.get_buffer() is None
        assert connection.close_code == 1006
    else:
        assert done == [LARGE]
assert len(FRAME) == 120_014
everywhere(make, act, check)
""",
    "connection-sends-control-frames": """
from anyws.protocol import Close, Ping, Pong
def make():
    connection = Connection(Role.SERVER)
    connection.send_message("a" * 20)
    connection.send_ping(b"1" * 100)
    connection.receive_data(build_frame(0x89, b"2" * 100, KEY))
    return connection
def rest(connection):
    data = b""
    while more := connection.data_to_send():
        data += more
    assert connection.queued == 0
    return data
def events_of(data):
    return Connection(Role.CLIENT).receive_data(data)
BEFORE = [Ping(b"1" * 100), Pong(b"2" * 100), "a" * 20]

def check(connection, done):
    events = events_of(rest(connection))
    assert events == BEFORE if done is FAILED else events == [BEFORE[0], Ping(b"new"), *BEFORE[1:]]
everywhere(make, lambda connection: connection.send_ping(b"new"), check)

def check(connection, done):
    if connection.state is State.OPEN:
        assert done is FAILED and connection.close_sent is None
        connection.send_close()
    assert events_of(rest(connection)) == BEFORE + [Close(1000, "")]
everywhere(make, lambda connection: connection.send_close(), check)

def check(connection, done):
    assert events_of(b"".join([] if done is FAILED else done) + rest(connection)) == BEFORE
everywhere(make, lambda connection: connection.buffers_to_send(), check)
""",
    "connection-sends": """
TEXT = os.urandom(2000).hex()
DEFLATE = PerMessageDeflate(threshold=0)
OFFER = DEFLATE.offers()[0]
for compressed, size in ((False, 500), (True, None), (True, 500)):
    def make():
        ours, theirs = (), ()
        if compressed:
            answer, server_codec = DEFLATE.accept(OFFER)
            ours, theirs = [server_codec], [DEFLATE.create_codec(answer)]
        return Connection(Role.SERVER, codecs=ours), Connection(Role.CLIENT, codecs=theirs)
    def act(state):
        connection, _ = state
        for _ in range(3):
            connection.send_message(TEXT, fragment_size=size)
        return True
    def check(state, done):
        connection, peer = state
        if connection.state is State.OPEN:
            connection.send_message("after", fragment_size=size)
        received = []
        while data := connection.data_to_send():
            received += peer.receive_data(data)
        assert peer.failure is None, peer.failure
        after = ["after"] if connection.state is State.OPEN else []
        assert received == [TEXT] * (len(received) - len(after)) + after
        assert done is FAILED or received == [TEXT] * 3 + ["after"]
    everywhere(make, act, check)
""",
}


@needs_failing_allocator
@pytest.mark.skipif(not speedups_in_use, reason="pure Python is the business of CPython")
@pytest.mark.parametrize("case", CASES)
def test_nothing_is_half_done(case: str) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", FIRST + CASES[case]],
        env={"PYTHONMALLOC": "debug", **os.environ},
        capture_output=True,
        check=False,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
