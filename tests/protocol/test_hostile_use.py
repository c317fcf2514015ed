"""No Python code can crash the compiled types: they raise or behave like the pure twins."""

from __future__ import annotations

import pytest

from tests.hostile import needs_the_extension, run_hostile

# Each program ends on its own. In pure Python most of them do too; the others access what only C code has.
PROGRAMS = {
    "payload-room-after-extend": """
        payload = Payload()
        payload.get_buffer(1 << 20, 0).release()
        payload.extend(bytes(1 << 20), 0, 1 << 20, b"", 0)
        with memoryview(payload) as view:
            assert len(view) == 0
        with raises(ValueError):
            payload.buffer_updated(1, b"")
        assert payload.take() == bytes(1 << 20)
    """,
    "payload-room-after-take": """
        payload = Payload()
        payload.get_buffer(1 << 20, 0).release()
        payload.take()
        with memoryview(payload) as view:
            assert len(view) == 0
    """,
    "payload-room-after-get-buffer": """
        payload = Payload()
        payload.get_buffer(1 << 20, 0).release()
        payload.get_buffer(1, 0).release()
        with raises(ValueError):
            payload.buffer_updated(2, b"")
        payload.buffer_updated(1, b"")
        assert len(payload.take()) == 1
    """,
    "payload-view-that-outlives": """
        payload = Payload()
        view = payload.get_buffer(1 << 20, 0)
        del payload
        gc.collect()
        view[:] = b"A" * len(view)
        del view
    """,
    "payload-view-while-it-grows": """
        payload = Payload()
        view, other = payload.get_buffer(10, 0), memoryview(payload)
        view.release()
        with raises(BufferError):
            payload.extend(bytes(1 << 20), 0, 1 << 20, b"", 0)
        other[:] = b"A" * 10
        other.release()
        payload.buffer_updated(10, b"")
        assert payload.take() == b"A" * 10
    """,
    "payload-changed-by-an-index": """
        payload = Payload()
        class Index:
            def __index__(self):
                payload.get_buffer(1 << 20, 0).release()
                payload.take()
                return 1 << 20
        payload.get_buffer(1 << 20, 0).release()
        with raises(ValueError):
            payload.buffer_updated(Index(), b"1234")
        payload.extend(bytes(1 << 20), 0, Index(), b"1234", Index())
        payload.get_buffer(Index(), Index()).release()
    """,
    "messages-without-init": """
        with raises(TypeError):
            queue = MessageQueue.__new__(MessageQueue)
            queue.put_frames(b"")
    """,
    "messages-that-clear-the-queue": """
        queue = MessageQueue(None, 100)
        class Message(bytes):
            def __del__(self):
                queue.clear()
                queue.put(b"again")
                queue.put_frames(b"\\x81\\x01a" * 50)
                len(queue) and queue.take()
        class Text(str):
            __del__ = Message.__del__
        for number in range(20):
            queue.put(Message(b"x" * number))
            queue.put(Text("x" * number))
        queue.clear()
        while queue:
            queue.take()
    """,
    "messages-that-go-with-the-queue": """
        class Message(bytes):
            def __del__(self):
                gc.collect()
        queue = MessageQueue(None, 100)
        for number in range(20):
            queue.put(Message(number))
        queue.take()
        del queue
    """,
    "messages-and-an-error-handler": """
        queue = MessageQueue(None, 100)
        def handler(exc):
            queue.put("more")
            len(queue) and queue.take()
            queue.clear()
            raise exc
        codecs.register_error("strict", handler)
        try:
            for number in range(9):
                queue.put_frames(b"\\x81\\x01a" * number + b"\\x81\\x01\\xff")
        finally:
            codecs.register_error("strict", codecs.strict_errors)
        queue.clear()
        assert (queue.size, len(queue)) == (0, 0)
    """,
    "frames-without-init": """
        class Queue(FrameQueue):
            def __init__(self): pass
        for queue in (Queue(), FrameQueue.__new__(FrameQueue)):
            for call in (lambda: queue.put_frame(0x81, b"x"), lambda: queue.put_frame(0x81, bytes(1 << 16)),
                         lambda: queue.new_masking_key):
                with raises(RuntimeError, AttributeError):
                    call()
            for call in (lambda: queue.put_message("x"), lambda: queue.put_prepared(b"x"), lambda: queue.put(b"x"),
                         queue.take, queue.clear):
                try:
                    call()
                except (RuntimeError, AttributeError):
                    pass
    """,
    "frames-with-init-twice": """
        queue = FrameQueue(None)
        queue.put(bytes(100))
        queue.__init__(lambda: b"1234")
        assert (queue.size, queue.take()) == (0, [])
        assert queue.put_prepared(b"x") is False
    """,
    "frames-that-clear-the-queue": """
        queue = FrameQueue(None)
        class Frame(bytes):
            def __del__(self):
                queue.clear()
                queue.put(b"again")
                queue.clear()
                queue.take()
        for name in ("take", "clear"):
            for size in range(20):
                queue.put(Frame(b"x" * size))
                queue.put_prepared(Frame(b"x" * size))
                queue.put_frame(0x82, Frame(1 << 16))
            getattr(queue, name)()
    """,
    "frames-and-a-key-that-changes-the-queue": """
        class Key:
            def __call__(self):
                queue.__init__(Key())
                queue.put(b"x" * 100)
                queue.take()
                gc.collect()
                return b"1234"
        queue = FrameQueue(Key())
        queue.budget = 100
        for number in range(20):
            queue.put_frame(0x81, "x" * number)
            queue.put_message("x")
    """,
    "frames-and-a-payload-that-changes-the-queue": """
        class Payload(bytes):
            def __len__(self):
                queue.__init__(lambda: b"1234")
                queue.clear()
                return self.length
            def __buffer__(self, flags):
                queue.clear()
                return memoryview(bytes(5))
        queue = FrameQueue(None)
        for length in (0, 5, 1 << 16, -1):
            payload = Payload(b"x" * 10)
            payload.length = length
            try:
                queue.put_frame(0x82, payload)
            except ValueError:
                pass
            queue.take()
    """,
    "frames-in-a-row-of-owners": """
        queue = None
        for number in range(500_000):
            queue = FrameQueue(queue)
        del queue
    """,
    "frames-when-garbage-is-collected": """
        class Queue(FrameQueue):
            def __del__(self):
                kept.append(self)
        kept = []
        def make():
            queue = Queue(lambda: cell[0])
            cell = [queue]
            queue.put(b"x")
        make()
        gc.collect()
        for queue in kept:
            queue.take()
            try:
                queue.put_frame(0x81, "x")
            except (RuntimeError, TypeError):
                pass
    """,
    "signal-without-init": """
        with raises(TypeError, AttributeError):
            Signal.__new__(Signal).get_loop()
    """,
    "signal-with-init-again": """
        signal = Signal(LOOP)
        try:
            signal.__init__(1, 2)
        except TypeError:
            pass
        assert signal.get_loop() is LOOP
    """,
    "signal-with-callbacks-that-come-back": """
        class Callback:
            def __call__(self, signal):
                signal.add_done_callback(Callback(), context=contextvars.copy_context())
            def __del__(self):
                signal.add_done_callback(print, context=contextvars.copy_context())
                signal.done()
                signal.cancel()
        signal = Signal(LOOP)
        for _ in range(5):
            signal.add_done_callback(Callback(), context=contextvars.copy_context())
            signal.set_now()
            signal.add_done_callback(Callback(), context=contextvars.copy_context())
            signal.set()
            signal.cancel("why")
    """,
    "signal-without-a-loop": """
        for loop in (None, 5, object()):
            signal = Signal(loop)
            signal.add_done_callback(print, context=contextvars.copy_context())
            for call in (signal.set, signal.cancel):
                with raises(AttributeError):
                    call()
                assert not signal.done()
    """,
    "signal-and-a-callback-that-is-none": """
        signal = Signal(LOOP)
        for call in (lambda: signal.add_done_callback(), lambda: signal.add_done_callback(print)):
            with raises(TypeError):
                call()
        signal.add_done_callback(5, context=contextvars.copy_context())
        with raises(TypeError):
            signal.set_now()
        assert signal.done()
    """,
    "signal-in-its-own-context": """
        signal, context = Signal(LOOP), contextvars.copy_context()
        signal.add_done_callback(print, context=context)
        with raises(RuntimeError):
            context.run(signal.set_now)
        assert not signal.done()
    """,
    "signal-in-a-row-of-owners": """
        signal = LOOP
        for number in range(500_000):
            signal = Signal(signal)
        del signal
    """,
    "signal-when-garbage-is-collected": """
        class Loop:
            def call_soon(self, callback, *arguments, context): pass
            def __del__(self):
                kept.append(self.signal)
        kept = []
        def make():
            loop = Loop()
            loop.signal = Signal(loop)
            loop.signal.add_done_callback(loop, context=contextvars.copy_context())
        make()
        gc.collect()
        for signal in kept:
            for call in (signal.set, signal.cancel, signal.get_loop, signal.set_now):
                try:
                    call()
                except (RuntimeError, TypeError):
                    pass
            signal.add_done_callback(print, context=contextvars.copy_context())
            signal.set()
    """,
    "signal-and-a-weak-callback-after-it": """
        class Loop:
            def call_soon(self, callback, *arguments, context): pass
        class Holder: pass
        def make():
            loop, holder = Loop(), Holder()
            loop.signal, holder.loop, loop.holder = Signal(loop), loop, holder
            loop.signal.add_done_callback(holder, context=contextvars.copy_context())
            def late(reference, signal=loop.signal):
                signal.set()
                signal.cancel()
            return weakref.ref(holder, late)
        seen = make()
        gc.collect()
    """,
    "kinds-that-are-not-made-to-be-copied": """
        path = PlainPath(INBOX, OUTBOX, LINK, 64)
        call = path.receive()
        for each in (Payload(), MessageQueue(None, 1), FrameQueue(None), Signal(LOOP), path, call):
            for copied in (copy.copy, copy.deepcopy, pickle.dumps):
                try:
                    copied(each)
                except (TypeError, AttributeError, pickle.PicklingError):
                    pass
            object.__repr__(each), sys.getsizeof(each), gc.get_referents(each), hash(each), each == each
        call.close()
    """,
}


@needs_the_extension
@pytest.mark.parametrize("name", PROGRAMS)
def test_no_program_crashes(name: str) -> None:
    run_hostile(PROGRAMS[name])
