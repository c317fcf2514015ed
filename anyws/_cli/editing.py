"""A terminal with line editing, history, completion and colours, using prompt_toolkit from the extra "cli".

How this works: prompt_toolkit supports only asyncio, so it runs in a thread with its own event loop. Lines are received
from it through an AnyIO stream. Output is queued and printed above the line that is being edited.
"""

from __future__ import annotations

import contextvars
import io
import logging
import math
import sys
import threading
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext, redirect_stderr
from pathlib import Path

import anyio
from anyio.from_thread import run_sync
from anyio.lowlevel import EventLoopToken, current_token
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from prompt_toolkit import PromptSession
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.completion import CompleteEvent, Completer, Completion, PathCompleter
from prompt_toolkit.document import Document
from prompt_toolkit.formatted_text import FormattedText, StyleAndTextTuples
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.renderer import print_formatted_text
from prompt_toolkit.styles import Style
from pygments.lexers import get_lexer_by_name
from pygments.token import Comment, Keyword, Name, Number, String, is_token_subtype

from .commands import COMMANDS
from .formatting import Formatter
from .notes import escape

__all__ = ["EditingScreen", "editing_screen"]

_STYLE = Style.from_dict(
    {
        "sent": "ansigreen",
        "received": "ansicyan",
        "note": "ansibrightblack",
        "time": "ansibrightblack",
        "name": "ansiblue",
        "string": "ansigreen",
        "number": "ansimagenta",
        "constant": "ansiyellow",
        "bottom-toolbar": "noreverse ansibrightblack",
    }
)
_JSON_STYLES = [
    (Name.Tag, "class:name"),
    (String, "class:string"),
    (Number, "class:number"),
    (Keyword, "class:constant"),
    (Comment, ""),
]
_MAX_QUEUED = 65536  # characters waiting to be printed before show() waits


class EditingScreen:
    """A `Screen` with line editing."""

    def __init__(
        self, formatter: Formatter, history: Path | None, status: str, on_interrupt: Callable[[], None]
    ) -> None:
        """Create a screen.

        Args:
            formatter: how to show messages.
            history: the history file; None for no history.
            status: the text shown below the line being edited.
            on_interrupt: called in the event loop when the user types Ctrl-C.
        """
        self._formatter = formatter
        self._status = status
        self._latency = ""
        self._on_interrupt = on_interrupt
        typed, lines = anyio.create_memory_object_stream[str](math.inf)
        self._typed: MemoryObjectSendStream[str] = typed
        self.lines: MemoryObjectReceiveStream[str] = lines
        self._lock = threading.Lock()
        self._queued: list[StyleAndTextTuples] = []
        self._queued_size = 0
        self._is_printing = False
        self._is_finishing = False
        self._drained = anyio.Event()
        self._ended = anyio.Event()
        self._token: EventLoopToken | None = None
        self._context: contextvars.Context | None = None  # in which prompt_toolkit finds its application
        old_lines: History = InMemoryHistory() if history is None else FileHistory(str(history))
        self._session: PromptSession[str] = PromptSession(
            [("class:sent", "> ")],
            history=old_lines,
            completer=_Commands(),
            complete_while_typing=False,
            bottom_toolbar=self._toolbar,
            style=_STYLE,
            erase_when_done=True,
        )
        self._session.default_buffer.accept_handler = self._accept

    async def start(self) -> None:
        """Start line editing."""
        self._token = current_token()
        threading.Thread(target=self._run_prompt, name="terminal", daemon=True).start()

    def prompt(self) -> None:
        """See `Screen`; the prompt is always shown."""

    async def show(self, message: str | bytes) -> None:
        """See `Screen`."""
        text = self._formatter.for_terminal(message).replace("\n", "\n  ").expandtabs()
        shown = _coloured(text) if self._formatter.is_shown_as_json(message) else [("", text)]
        self._print([("class:time", self._formatter.time_prefix()), ("class:received", "< "), *shown])
        await self._drain()

    def note(self, text: str) -> None:
        """See `Screen`."""
        self._print([("class:note", escape(text))])

    def latency(self, seconds: float) -> None:
        """See `Screen`; the latency is shown below the line being edited."""
        self._latency = f"  latency {seconds * 1000:.1f} ms"
        self._session.app.invalidate()

    async def finish(self) -> None:
        """See `Screen`."""
        self._typed.close()
        self._is_finishing = True
        self._call_in_thread(self._exit)
        with anyio.move_on_after(3, shield=True):
            await self._ended.wait()

    # -- in the event loop of the program ------------------------------------------------------------------------------

    def _print(self, fragments: StyleAndTextTuples) -> None:
        with self._lock:
            self._queued.append([*fragments, ("", "\n")])
            self._queued_size += sum(len(fragment[1]) for fragment in fragments)
        self._call_in_thread(self._start_printing)
        if self._ended.is_set():
            self._print_all()

    async def _drain(self) -> None:
        await anyio.lowlevel.checkpoint()
        while self._queued_size > _MAX_QUEUED and not self._ended.is_set():
            self._drained = anyio.Event()
            await self._drained.wait()

    def _call_in_thread(self, function: Callable[[], None]) -> None:
        loop = self._session.app.loop
        if loop is not None and self._context is not None and not self._ended.is_set():
            try:
                loop.call_soon_threadsafe(function, context=self._context)
            except RuntimeError:  # its event loop is just closing, and _thread_ended() prints the rest
                return

    def _put_line(self, line: str) -> None:
        try:
            self._typed.send_nowait(line)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):  # the connection has ended
            return

    def _thread_ended(self) -> None:
        self._typed.close()
        self._print_all()
        self._ended.set()
        self._drained.set()

    # -- in the thread of the terminal ---------------------------------------------------------------------------------

    def _run_prompt(self) -> None:
        try:
            self._session.prompt(pre_run=self._on_start, handle_sigint=False)
        except EOFError:  # Ctrl-D, or the terminal was closed
            pass
        except KeyboardInterrupt:
            self._call_in_loop(self._on_interrupt)
        finally:
            self._call_in_loop(self._thread_ended)

    def _on_start(self) -> None:
        self._context = contextvars.copy_context()
        if self._is_finishing:
            self._exit()
        self._start_printing()

    def _accept(self, buffer: Buffer) -> bool:
        line = buffer.text
        self._print([("class:time", self._formatter.time_prefix()), ("class:sent", "> "), ("", escape(line))])
        self._call_in_loop(self._put_line, line)
        return False  # start the next line empty

    def _exit(self) -> None:
        app = self._session.app
        if app.is_running and not app.is_done:
            app.exit(exception=EOFError)

    def _start_printing(self) -> None:
        if not self._is_printing and self._session.app.is_running:
            self._is_printing = True
            self._session.app.create_background_task(self._print_above())

    async def _print_above(self) -> None:
        # prompt_toolkit's run_in_terminal() would let the terminal echo what is typed in the meantime.
        app = self._session.app
        try:
            while self._queued:
                await app.renderer.wait_for_cpr_responses()  # the position of the line being edited
                app.renderer.erase()
                self._print_all()
                app.renderer.request_absolute_cursor_position()
                app.invalidate()
                self._call_in_loop(self._notify_drained)
        finally:
            self._is_printing = False

    def _notify_drained(self) -> None:
        self._drained.set()

    def _call_in_loop(self, function: Callable[..., None], *arguments: object) -> None:
        assert self._token is not None
        try:
            run_sync(function, *arguments, token=self._token)
        except RuntimeError:  # the program's event loop has already ended
            return

    # -- in either -----------------------------------------------------------------------------------------------------

    def _print_all(self) -> None:
        with self._lock:
            fragments = [fragment for line in self._queued for fragment in line]
            self._queued = []
            self._queued_size = 0
            if fragments:
                print_formatted_text(self._session.app.output, FormattedText(fragments), _STYLE)

    def _toolbar(self) -> str:
        return f"{self._status}{self._latency}  /help  Ctrl-D closes"


class _Notes(io.TextIOBase):
    """A stream that shows its lines as notes, so that log output does not disturb the line being edited."""

    def __init__(self, screen: EditingScreen) -> None:
        self._screen = screen
        self._rest = ""

    def write(self, text: str) -> int:
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self._screen.note(line)
        return len(text)


@contextmanager
def _stderr_to(screen: EditingScreen) -> Generator[None, None, None]:
    notes = _Notes(screen)
    handlers = [
        handler
        for handler in logging.getLogger().handlers
        if isinstance(handler, logging.StreamHandler) and handler.stream is sys.stderr
    ]
    for handler in handlers:
        handler.setStream(notes)
    try:
        with redirect_stderr(notes):
            yield
    finally:
        for handler in handlers:
            handler.setStream(sys.stderr)


@asynccontextmanager
async def editing_screen(
    formatter: Formatter, history: Path | None, status: str, on_interrupt: Callable[[], None]
) -> AsyncGenerator[EditingScreen, None]:
    """Run an `EditingScreen` for the duration of a block."""
    screen = EditingScreen(formatter, history, status, on_interrupt)
    await screen.start()
    try:
        with _stderr_to(screen) if sys.stderr is not None and sys.stderr.isatty() else nullcontext():
            yield screen
    finally:
        await screen.finish()


class _Commands(Completer):
    """Completes commands, and the path of ``/file``."""

    def __init__(self) -> None:
        self._paths = PathCompleter(expanduser=True)

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterator[Completion]:
        """Yield completions of the text before the cursor."""
        text = document.text_before_cursor
        name, space, path = text.partition(" ")
        if name == "/file" and space:
            yield from self._paths.get_completions(Document(path), complete_event)
        elif text.startswith("/") and not space:
            yield from (
                Completion(command, start_position=-len(text)) for command in COMMANDS if command.startswith(text)
            )


def _coloured(text: str) -> StyleAndTextTuples:
    """Return JSON with colours."""
    return [
        (next((style for of, style in _JSON_STYLES if is_token_subtype(token, of)), ""), value)
        for token, value in get_lexer_by_name("json", ensurenl=False, stripnl=False).get_tokens(text)
    ]
