"""The options of ``anyws serve`` that say what serves a connection."""

from __future__ import annotations

import argparse
import functools

from .handlers import Broadcast, OpenHandler, echo, load_factory, load_handler, opening
from .topic import engine_url, open_topic_chat

__all__ = ["add_handler", "check_handler_options", "choose_handler"]


def add_handler(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that name the handler."""
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--echo", action="store_true", help="send each message back (the default)")
    what.add_argument("--broadcast", action="store_true", help="send each message to all other clients")
    what.add_argument(
        "handler",
        nargs="?",
        metavar="MODULE:HANDLER",
        help="an async callable that receives each WebSocket; or 'topic' for a chat over topics",
    )
    parser.add_argument(
        "--factory",
        action="store_true",
        help="MODULE:HANDLER is a function that returns an async context manager, whose value is the handler",
    )
    topics = parser.add_argument_group("anyws serve topic")
    topics.add_argument(
        "--engine",
        metavar="URL",
        help="Redis or Valkey server that all processes share, such as redis://localhost; @FILE reads the URL from a "
        "file; default: this process only",
    )
    topics.add_argument(
        "--resume",
        action="store_true",
        help='keep a history, and send JSON with positions; clients first send {"since": POSITION}, or null',
    )


def check_handler_options(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    """Exit with an error if the arguments contradict each other."""
    is_topic = arguments.handler == "topic"
    if arguments.factory and (is_topic or arguments.handler is None):
        parser.error("argument --factory: requires MODULE:HANDLER")
    for name in ("engine", "resume"):
        if getattr(arguments, name) and not is_topic:
            hint = "; your own handler opens its topics itself, see --factory" if arguments.handler else ""
            parser.error(f"argument --{name}: requires 'anyws serve topic'{hint}")
    if is_topic and arguments.engine is None and (arguments.workers or 1) > 1:
        parser.error("argument --workers: workers share topics over a server: add --engine redis://HOST")
    if arguments.engine is not None:
        try:
            engine_url(arguments.engine)
        except ValueError as exc:
            parser.error(f"argument --engine: {exc}")


def choose_handler(arguments: argparse.Namespace) -> OpenHandler:
    """Return the handler that the arguments name.

    Raises:
        ValueError: it does not exist; the message says why.
    """
    if arguments.handler == "topic":
        url = None if arguments.engine is None else engine_url(arguments.engine)
        return functools.partial(open_topic_chat, url, resumes=arguments.resume)
    if arguments.handler is not None:
        return load_factory(arguments.handler) if arguments.factory else opening(load_handler(arguments.handler))
    return opening(Broadcast() if arguments.broadcast else echo)
