"""No Python code can crash the compiled plain path: it raises or behaves like its pure twin."""

from __future__ import annotations

import pytest

from tests.hostile import needs_the_extension, run_hostile

PROGRAMS = {
    "path-with-wrong-types": """
        for arguments in ((), (1, 2, 3, 4), (INBOX, OUTBOX, None), (OUTBOX, INBOX, None, 1), (INBOX, OUTBOX, 1, "x")):
            with raises(TypeError):
                PlainPath(*arguments)
        with raises(TypeError):
            PlainPath.__new__(PlainPath)
        path = PlainPath(INBOX, OUTBOX, LINK, 64)
        for arguments in ((), (1, 2, 3, 4, 5), (1, 2, 3, 4, 5, "x"), (1, 2, 3, 4, 5, 1 << 80)):
            with raises(TypeError, OverflowError):
                path.attach(*arguments)
        with raises(TypeError):
            path.deliver()
        warnings.simplefilter("ignore")
        with raises(TypeError):
            type(path.receive().__await__())()
        warnings.simplefilter("default")
    """,
    "path-without-anything": """
        path = PlainPath(INBOX, OUTBOX, None, 64)
        path.on_readable()
        path.detach()
        for call in (path.receive(), path.next(), path.deliver(None), path.send("x"), path.send(5)):
            OUTBOX.is_flush_due = False
            try:
                call.send(None)
            except (RuntimeError, AttributeError):
                continue
            raise AssertionError
        with raises(AttributeError):
            OUTBOX.budget, OUTBOX.is_flush_due = 5, False
            path.send_now("x")
        for value in (5, None, object()):
            path.receiver = path.sender = value
            for call in (path.receive(), path.send(5)):
                with raises(AttributeError):
                    call.send(None)
                with raises(RuntimeError):
                    call.send(None)
        del path.receiver, path.sender
        with raises(RuntimeError):
            path.receive().send(None)
    """,
    "path-with-things-of-the-wrong-kind": """
        for pump, keepalive, now, signal, records in (
            (None, None, None, None, None),
            (object(), object(), time.monotonic, Signal(LOOP), None),
            (5, PUMP, lambda: 5, Signal(5), object()),
            (PUMP, PUMP, 5, "signal", PUMP),
        ):
            inbox, outbox, ours, peer = open_all()
            path = PlainPath(inbox, outbox, LINK, 64)
            path.attach(pump, keepalive, now, signal, records, ours.fileno())
            for data in (b"\\x81\\x01x", b"\\x89\\x00", b""):
                peer.send(data) if data else peer.close()
                path.on_readable()
            try:
                path.send("x").send(None)
            except (StopIteration, AttributeError, TypeError):
                pass
            ours.close()
    """,
    "path-with-a-queue-without-init": """
        class Queue(FrameQueue):
            def __init__(self): pass
        for queue in (Queue(), FrameQueue.__new__(FrameQueue)):
            inbox, _, ours, peer = open_all()
            path = PlainPath(inbox, queue, LINK, 64)
            path.attach(PUMP, PUMP, time.monotonic, Signal(LOOP), None, ours.fileno())
            queue.is_open = queue.is_plain = queue.is_direct = True
            queue.limit = queue.budget = 100
            with raises(RuntimeError):
                path.send_now("x")
            queue.is_direct = False
            with raises(RuntimeError):
                path.send_now("x")
            ours.close(), peer.close()
    """,
    "path-with-a-key-that-changes-everything": """
        class Key:
            def __call__(self):
                path.detach()
                outbox.__init__(Key())
                gc.collect()
                return b"1234"
        inbox, outbox, ours, peer = open_all()
        path = PlainPath(inbox, outbox, LINK, 64)
        for _ in range(20):
            outbox.__init__(Key())
            outbox.is_direct, outbox.budget = True, 9
            path.attach(PUMP, PUMP, time.monotonic, Signal(LOOP), None, ours.fileno())
            assert path.send_now("x" * 9)
        ours.close(), peer.close()
    """,
    "path-with-a-wrong-extension": """
        path = PlainPath(INBOX, OUTBOX, LINK, 64)
        for arguments in ((), (1, 2), (0x40, None, print), (0x81, print, print), ("x", print, print), (1 << 80, 1, 1)):
            with raises(TypeError, ValueError, OverflowError):
                path.use_extension(*arguments)
        for decode, encode in ((5, 5), (lambda: 5, None), (lambda *_: 5, lambda: 5), (lambda *_: Exception, print)):
            inbox, outbox, ours, peer = open_all()
            path = PlainPath(inbox, outbox, LINK, 64)
            path.use_extension(0x40, decode, encode)
            path.attach(PUMP, PUMP, time.monotonic, Signal(LOOP), None, ours.fileno())
            outbox.is_plain, outbox.is_direct = False, True
            peer.send(b"\\xc1\\x01x")
            path.on_readable()
            try:
                path.send_now("x")
            except TypeError:
                pass
            ours.close(), peer.close()
    """,
    "path-with-an-extension-that-changes-everything": """
        def change(*arguments):
            path.use_extension(0, None, None)
            path.use_extension(0x40, Changing(), Changing())
            path.detach()
            inbox.clear(), outbox.clear()
            outbox.__init__(None)
            gc.collect()
            for each in (path.on_readable, lambda: inbox.put_frames(b"\\x81\\x01x" * 99), lambda: outbox.put(b"y")):
                each()
        class Changing:
            def __call__(self, *arguments):
                change()
                return "message"
            def __del__(self):
                if len(outbox.take()) < 5:
                    path.on_readable()
        for direct in (True, False):
            inbox, outbox, ours, peer = open_all()
            path = PlainPath(inbox, outbox, LINK, 64)
            for _ in range(20):
                path.use_extension(0x40, Changing(), Changing())
                path.attach(PUMP, PUMP, time.monotonic, Signal(LOOP), None, ours.fileno())
                outbox.is_plain, outbox.is_direct, outbox.budget = False, direct, 9
                peer.send(b"\\xc1\\x01x" * 5)
                path.on_readable()
                path.attach(PUMP, PUMP, time.monotonic, Signal(LOOP), None, ours.fileno())
                outbox.is_plain, outbox.is_direct, outbox.budget = False, direct, 9
                path.send_now("x")
            path.use_extension(0, None, None)
            ours.close(), peer.close()
    """,
    "path-with-a-layer-that-detaches-it": """
        class Records:
            def decrypt(self, data):
                self.path.detach()
                return data
            encrypt_piece = decrypt
            @property
            def is_quiet(self):
                self.path.detach()
                return True
        class Clock:
            def __call__(self):
                self.path.detach()
                return 5
        for name in ("on_readable", "send_now"):
            for records in (Records(), None):
                inbox, outbox, ours, peer = open_all()
                path = PlainPath(inbox, outbox, LINK, 64)
                clock = Clock()
                clock.path = path
                if records is not None:
                    records.path = path
                path.attach(PUMP, PUMP, clock, Signal(LOOP), records, ours.fileno())
                clock = records = None
                peer.send(b"\\x81\\x01x")
                path.on_readable() if name == "on_readable" else path.send_now("x")
                ours.close(), peer.close()
    """,
    "path-with-owners-that-use-it-when-they-go": """
        class Owner:
            def __del__(self):
                path.on_readable()
                outbox.budget = 5
                path.send_now("x")
                path.attach(PUMP, PUMP, time.monotonic, Signal(LOOP), None, ours.fileno())
                path.on_readable()
            def __call__(self):
                return 5
        inbox, outbox, ours, peer = open_all()
        outbox.is_direct = True
        path = PlainPath(inbox, outbox, LINK, 64)
        for place in range(5):
            for again in ("detach", "attach"):
                arguments = [PUMP, PUMP, time.monotonic, Signal(LOOP), None]
                arguments[place] = Owner()
                peer.send(b"\\x81\\x01x" * 5)
                path.attach(*arguments, ours.fileno())
                arguments = None
                if again == "detach":
                    path.detach()
                path.attach(PUMP, PUMP, time.monotonic, Signal(LOOP), None, ours.fileno())
        path.detach()
        ours.close(), peer.close()
    """,
    "path-with-a-function-that-resumes-its-call": """
        def function(message):
            for name, arguments in (("send", (None,)), ("throw", (ValueError(),)), ("close", ())):
                with raises(ValueError):
                    getattr(call, name)(*arguments)
            return "over"
        path = PlainPath(INBOX, OUTBOX, LINK, 64)
        INBOX.budget = 5
        INBOX.put("x")
        call = path.deliver(function)
        try:
            call.send(None)
        except StopIteration as stop:
            assert stop.value == "over"
    """,
    "path-with-a-function-that-runs-the-task": """
        class Outcome:
            def __del__(self):
                try:
                    call.send(None)
                except (StopIteration, RuntimeError, ValueError):
                    pass
        def function(message):
            signal.set_now()
            path.on_readable()
            try:
                call.send(None)
            except (StopIteration, RuntimeError, ValueError):
                pass
            return Outcome()
        def step(signal):
            try:
                call.send(None)
            except (StopIteration, RuntimeError, ValueError):
                pass
        inbox, outbox, ours, peer = open_all()
        path = PlainPath(inbox, outbox, LINK, 64)
        path.receiver = PUMP
        signal = Signal(LOOP)
        path.attach(PUMP, PUMP, time.monotonic, signal, None, ours.fileno())
        inbox.budget = 64
        for _ in range(9):
            call = path.deliver(function)
            inbox.is_receiving = False
            try:
                call.send(None)
            except StopIteration:
                continue
            signal.add_done_callback(step, context=contextvars.copy_context())
            peer.send(b"\\x81\\x01x" * 9)
            path.on_readable()
        call.close()
        ours.close(), peer.close()
    """,
    "path-with-a-receiver-that-never-waits": """
        class Receiver:
            async def receive(self):
                return "x"
        path = PlainPath(INBOX, OUTBOX, LINK, 64)
        path.receiver = Receiver()
        with raises(RecursionError):
            path.deliver(lambda message: None).send(None)
    """,
    "path-in-a-row-of-owners": """
        path = LINK
        for number in range(500_000):
            path = PlainPath(INBOX, OUTBOX, path, 64)
        del path
        path = PlainPath(INBOX, OUTBOX, LINK, 64)
        call = None
        for number in range(500_000):
            call = path.send(call)
        warnings.simplefilter("ignore")
        del call
    """,
    "path-when-garbage-is-collected": """
        warnings.simplefilter("ignore")
        class Owner:
            def __del__(self):
                kept.append(self)
        kept = []
        def make():
            inbox, outbox, ours, peer = open_all()
            owner = Owner()
            owner.sockets = ours, peer
            owner.path = path = PlainPath(inbox, outbox, owner, 64)
            path.receiver = path.sender = owner
            path.attach(owner, owner, owner, Signal(owner), owner, ours.fileno())
            owner.calls = path.receive(), path.deliver(owner), path.send(owner)
            owner.calls[0].send(None)
        make()
        gc.collect()
        assert len(kept) == 1
        for owner in kept:
            for call in (owner.path.on_readable, lambda: owner.path.send_now("x"), owner.path.detach,
                         *(each.__next__ for each in owner.calls), owner.path.receive().__next__):
                try:
                    call()
                except (RuntimeError, TypeError, AttributeError, StopIteration):
                    pass
            owner.sockets[0].close(), owner.sockets[1].close()
    """,
    "path-and-a-weak-callback-after-it": """
        def make():
            inbox, outbox, ours, peer = open_all()
            class Holder: pass
            holder = Holder()
            path = holder.path = PlainPath(inbox, outbox, holder, 64)
            path.attach(holder, holder, holder, Signal(LOOP), None, ours.fileno())
            call = holder.call = path.receive()
            call.send(None)
            sockets.extend((ours, peer))
            def late(reference):
                for each in (path.on_readable, lambda: path.send_now("x"), path.detach, call.__next__, call.close):
                    try:
                        each()
                    except (RuntimeError, TypeError, AttributeError, StopIteration, ValueError):
                        pass
            return weakref.ref(holder, late)
        sockets = []
        seen = make()
        gc.collect()
        for each in sockets:
            each.close()
    """,
    "path-and-warnings-that-are-errors": """
        warnings.simplefilter("error")
        seen = []
        sys.unraisablehook = lambda raised: seen.append(raised.exc_type)
        path = PlainPath(INBOX, OUTBOX, LINK, 64)
        for call in (path.receive, path.next, lambda: path.send("x"), lambda: path.deliver(print)):
            call()
        assert seen == [RuntimeWarning] * 4
    """,
    "path-and-a-warning-that-starts-the-call": """
        def show(*arguments, **keywords):
            for each in gc.get_objects():
                if type(each).__name__ == "Call":
                    kept.append(each)
                    try:
                        each.send(None)
                    except (RuntimeError, StopIteration, AttributeError):
                        pass
        kept = []
        warnings.simplefilter("always")
        warnings.showwarning = show
        path = PlainPath(INBOX, OUTBOX, LINK, 64)
        path.attach(PUMP, PUMP, time.monotonic, Signal(LOOP), None, -1)
        for call in (path.receive, lambda: path.deliver(print), lambda: path.send("x")):
            call()
        kept.clear()
        gc.collect()
    """,
    "path-and-what-is-thrown": """
        path = PlainPath(INBOX, OUTBOX, LINK, 64)
        path.attach(PUMP, PUMP, time.monotonic, Signal(LOOP), None, -1)
        for begun in (False, True):
            for arguments in ((), (5,), (None,), (ValueError, 1, 2, 3), (ValueError, "x"), (ValueError("x"), None, 5)):
                call = path.receive()
                if begun:
                    call.send(None)
                with raises(TypeError, ValueError):
                    call.throw(*arguments)
                call.close()
                INBOX.is_receiving = False
    """,
}


@needs_the_extension
@pytest.mark.parametrize("name", PROGRAMS)
def test_no_program_crashes(name: str) -> None:
    run_hostile(PROGRAMS[name])
