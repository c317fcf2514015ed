"""The command ``anyws serve``."""

from __future__ import annotations

import argparse
import functools
import logging
import os
import socket
import ssl
import sys
from collections.abc import Generator
from contextlib import aclosing, contextmanager, nullcontext
from pathlib import Path
from typing import Any
from urllib.parse import quote

import anyio

import anyws
from anyws._server.handlers import Handler
from anyws._server.options import AcceptOptions
from anyws.protocol.hosts import join_host_port

from .arguments import count, port, size
from .backends import add_backend, is_missing, run
from .certificates import certificate_files
from .exit_status import CommandError, ExitStatus
from .files import file_problem
from .handler_options import add_handler, check_handler_options, choose_handler
from .handlers import OpenHandler
from .notes import note
from .printing import print_line
from .stopping import Stop, stop_signals
from .watching import source_changes
from .workers import Workers, announce, stop_orphaned

__all__ = ["add_arguments"]

_EXIT_AFTER = 5  # seconds before the process is terminated after a second signal

DESCRIPTION = """\
Run a WebSocket server: an echo server, a broadcast server, a chat over topics,
or your own handler. The URI is printed to stdout once the server is listening.

SIGINT (Ctrl-C), SIGTERM and SIGHUP shut the server down gracefully: connections
are closed with 1001, and their handlers have 3 seconds to finish. A second
signal cancels the handlers immediately, and the process is terminated if it has
not exited 5 seconds later.

With --workers, several processes listen on the same port, and the system
distributes the connections among them. They share no memory, so a broadcast
reaches only the clients of the same process; topics over an engine reach all.
A worker that crashes is restarted after half a second; the delay doubles with
each crash, up to 30 seconds."""

EPILOG = """\
examples:
  anyws serve                         echo server on ws://127.0.0.1:8765/
  anyws serve --port 0                choose a free port, and print the URI
  anyws serve --broadcast --host ::   broadcast server on all addresses
  anyws serve --path /tmp/echo.sock   listen on a unix socket (ws+unix:)
  anyws serve --self-signed           TLS with a temporary certificate (wss:)
  anyws serve --cert cert.pem --key key.pem
  anyws serve --origin http://localhost:5173   accept pages of a dev server

  # chat.py contains: async def handler(websocket): ...
  anyws serve chat:handler
  anyws serve --reload chat:handler   restart when a source file changes
  anyws serve --workers 4 --log-level info --log-file serve.log chat:handler

  # a chat, with a topic for each path, in 4 processes
  anyws serve topic --workers 4 --engine redis://localhost

exit status:
  0  shut down gracefully by a signal
  1  cannot listen, cannot reach the engine, stopped by a second signal, or a
     worker did not stop in time
  2  invalid command line"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.description, parser.epilog = DESCRIPTION, EPILOG
    add_handler(parser)
    where = parser.add_argument_group("listening address")
    where.add_argument("--host", help="host name or address to listen on; default: 127.0.0.1")
    where.add_argument("--port", type=port, help="TCP port, 0 for a free one; default: 8765")
    where.add_argument("--path", metavar="SOCKET", help="listen on a unix socket instead of --host and --port")
    _add_connections(parser)
    tls = parser.add_argument_group("TLS")
    tls.add_argument("--cert", metavar="FILE", help="certificate chain (PEM); enables TLS")
    tls.add_argument("--key", metavar="FILE", help="private key (PEM); default: in the --cert file")
    tls.add_argument(
        "--self-signed",
        action="store_true",
        help="enable TLS with a temporary certificate, and print the file of its CA; requires the extra demo",
    )
    processes = parser.add_argument_group("processes")
    processes.add_argument("--workers", type=count, metavar="N", help="number of worker processes sharing the port")
    processes.add_argument(
        "--reuse-port", action="store_true", help="let other processes listen on the same port; implied by --workers"
    )
    processes.add_argument("--reload", action="store_true", help="restart when a Python file changes")
    processes.add_argument(
        "--reload-dir",
        action="append",
        type=Path,
        metavar="DIRECTORY",
        help="directory that --reload watches; may be repeated; default: the working directory",
    )
    logs = parser.add_argument_group("logging")
    logs.add_argument(
        "--log-level",
        choices=("debug", "info", "warning", "error"),
        help="debug logs every connection, info only failed ones; default: warning",
    )
    logs.add_argument("--log-file", metavar="FILE", help="append the log to a file instead of stderr")
    parser.add_argument("--worker-pipe", type=int, help=argparse.SUPPRESS)  # from the parent, see `workers`
    add_backend(parser)
    parser.set_defaults(run=functools.partial(_run, parser))


def _add_connections(parser: argparse.ArgumentParser) -> None:
    connections = parser.add_argument_group("connections")
    connections.add_argument(
        "--origin",
        action="append",
        help="accept pages from this origin, such as http://localhost:5173; may be repeated; '*' for any; default: "
        "only pages from the same host and port",
    )
    connections.add_argument(
        "-s",
        "--subprotocol",
        action="append",
        metavar="NAME",
        help="subprotocol to accept, in order of preference; may be repeated",
    )
    connections.add_argument("--compress", action="store_true", help="accept compression (permessage-deflate)")
    connections.add_argument(
        "--max-size", type=size, metavar="BYTES", help="maximum message size, 0 for unlimited; default: 1M"
    )
    connections.add_argument(
        "--max-connections",
        type=count,
        metavar="N",
        help="maximum number of open connections of each process; default: no limit",
    )


def _run(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
    if is_missing(arguments.backend, *(["trustme"] if arguments.self_signed else [])):
        return ExitStatus.USAGE
    _check(parser, arguments)
    _set_up_logs(arguments)
    with _self_signed(arguments) if arguments.self_signed else nullcontext():
        if arguments.worker_pipe is None and (arguments.workers is not None or arguments.reload):
            return run(arguments.backend, functools.partial(_supervise, arguments))
        try:
            open_handler = choose_handler(arguments)
        except ValueError as exc:
            parser.error(f"argument MODULE:HANDLER: {exc}")
        options = _options(arguments)
        return run(arguments.backend, functools.partial(_serve, open_handler, options, arguments.worker_pipe))


def _check(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    if arguments.path is None:
        arguments.host = "127.0.0.1" if arguments.host is None else arguments.host
        arguments.port = 8765 if arguments.port is None else arguments.port
    elif arguments.host is not None or arguments.port is not None:
        parser.error("argument --path: not allowed with arguments --host and --port")
    if arguments.key is not None and arguments.cert is None:
        parser.error("argument --key: requires --cert")
    if arguments.cert is not None and arguments.self_signed:
        parser.error("argument --self-signed: not allowed with argument --cert")
    check_handler_options(parser, arguments)
    try:
        AcceptOptions(origins=arguments.origin)
    except ValueError as exc:
        parser.error(f"argument --origin: {exc}")
    try:
        AcceptOptions(subprotocols=arguments.subprotocol or ())
    except ValueError as exc:
        parser.error(f"argument -s/--subprotocol: {exc}")
    if arguments.reuse_port and not hasattr(socket, "SO_REUSEPORT"):
        parser.error("argument --reuse-port: not supported on this system")
    if arguments.reload_dir is not None and not arguments.reload:
        parser.error("argument --reload-dir: requires --reload")
    if (arguments.workers or 1) > 1 and arguments.path is not None:
        parser.error("argument --workers: not allowed with argument --path")
    if (arguments.workers or arguments.reload) and os.name != "posix":
        parser.error("arguments --workers and --reload: not supported on this system")


def _set_up_logs(arguments: argparse.Namespace) -> None:
    if arguments.log_level is None and arguments.log_file is None:
        return
    level = (arguments.log_level or ("debug" if arguments.verbose else "warning")).upper()
    try:
        logging.basicConfig(
            format="%(asctime)s %(process)d %(levelname)s %(name)s: %(message)s",
            level=level,
            filename=arguments.log_file,
            force=True,
        )
    except OSError as exc:
        raise CommandError(ExitStatus.FAILED, f"cannot log to {arguments.log_file}: {file_problem(exc)}") from exc
    logging.getLogger("anyws").setLevel(level)
    logging.getLogger("watchfiles").setLevel(logging.WARNING)


@contextmanager
def _self_signed(arguments: argparse.Namespace) -> Generator[None, None, None]:
    hosts = dict.fromkeys(("localhost", "127.0.0.1", "::1", socket.gethostname(), arguments.host or "localhost"))
    with certificate_files(*hosts) as folder:
        arguments.cert, arguments.key = str(folder / "cert.pem"), str(folder / "key.pem")
        note(f"anyws: using a temporary certificate; to trust it, run clients with --cacert {folder / 'ca.pem'}")
        yield


def _options(arguments: argparse.Namespace) -> dict[str, Any]:
    try:
        context = None if arguments.cert is None else _tls_context(arguments.cert, arguments.key)
    except OSError as exc:  # ssl.SSLError is one
        files = arguments.cert if arguments.key is None else f"{arguments.cert} with {arguments.key}"
        raise CommandError(ExitStatus.FAILED, f"cannot use the certificate {files}: {file_problem(exc)}") from exc
    options: dict[str, Any] = {
        "ssl_context": context,
        "origins": arguments.origin,
        "subprotocols": arguments.subprotocol or (),
        "compression": arguments.compress,
        "max_connections": arguments.max_connections,
    }
    if arguments.max_size is not None:
        options["max_message_size"] = arguments.max_size or None
    if arguments.path is not None:
        return {**options, "path": arguments.path}
    return {**options, "host": arguments.host, "port": arguments.port, "reuse_port": arguments.reuse_port}


def _tls_context(cert: str, key: str | None) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.set_alpn_protocols(["http/1.1"])
    context.load_cert_chain(cert, key)
    return context


async def _serve(open_handler: OpenHandler, options: dict[str, Any], worker_pipe: int | None) -> int:
    async with stop_signals(exit_after=_EXIT_AFTER) as stop:
        try:
            async with open_handler() as handler:
                return await _listen(handler, options, worker_pipe, stop)
        except anyws.EngineUnavailable as exc:
            note(f"anyws: cannot open topics: {exc}")
            return ExitStatus.FAILED
    return ExitStatus.FAILED  # the second signal came before the server had stopped


async def _listen(handler: Handler, options: dict[str, Any], worker_pipe: int | None, stop: Stop) -> int:
    try:
        async with anyws.open_server(handler, **options) as server, anyio.create_task_group() as tasks:
            uris = [_uri(address, secure=options["ssl_context"] is not None) for address in server.addresses]
            if worker_pipe is None:
                print_line("\n".join(uris))
            else:
                announce(worker_pipe, "\n".join(uris))
                tasks.start_soon(stop_orphaned, stop)
            await stop.wait()
            tasks.cancel_scope.cancel()
    except OSError as exc:
        note(f"anyws: cannot listen: {_with_path(exc.strerror or str(exc), options)}")
        return ExitStatus.FAILED
    return ExitStatus.OK


async def _supervise(arguments: argparse.Namespace) -> int:
    async with stop_signals(exit_after=_EXIT_AFTER) as stop:
        with _reserved_port(arguments):
            workers = Workers(functools.partial(_worker_command, arguments), arguments.workers or 1)
            if not arguments.reload:
                return await workers.run(stop, print_line)
            async with aclosing(source_changes(arguments.reload_dir or [Path()])) as changes:
                return await workers.run(stop, print_line, changes)
    return ExitStatus.FAILED


@contextmanager
def _reserved_port(arguments: argparse.Namespace) -> Generator[None, None, None]:
    """Check that the port is free, or choose a free one and reserve it for the workers for the duration of a block."""
    if arguments.path is not None:
        yield
        return
    chooses_port = arguments.port == 0
    shares_port = arguments.reuse_port
    arguments.reuse_port = shares_port or chooses_port or (arguments.workers or 1) > 1
    try:
        family, _, _, _, address = socket.getaddrinfo(
            arguments.host or None, arguments.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, socket.SOCK_STREAM) as reservation:
            reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, True)
            reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, chooses_port or shares_port)
            if family == socket.AF_INET6:
                reservation.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, True)
            reservation.bind(address)  # without listening
            arguments.port = reservation.getsockname()[1]
            if not chooses_port:
                reservation.close()
            yield
    except OSError as exc:
        where = f"{arguments.host or 'all addresses'} port {arguments.port}"
        raise CommandError(ExitStatus.FAILED, f"cannot listen: {exc.strerror or exc}: {where}") from exc


def _worker_command(arguments: argparse.Namespace, pipe: int) -> list[str]:
    command = [sys.executable, "-m", "anyws", "serve", "--worker-pipe", str(pipe), "--backend", arguments.backend]
    for name in (
        *("host", "port", "path", "cert", "key", "engine"),
        *("max_size", "max_connections", "log_level", "log_file"),
    ):
        value = getattr(arguments, name)
        if value is not None:
            command += [f"--{name.replace('_', '-')}={value}"]
    command += [f"--origin={origin}" for origin in arguments.origin or ()]
    command += [f"--subprotocol={name}" for name in arguments.subprotocol or ()]
    for name in ("echo", "broadcast", "factory", "resume", "compress", "reuse_port", "verbose"):
        if getattr(arguments, name):
            command.append(f"--{name.replace('_', '-')}")
    return command if arguments.handler is None else [*command, "--", arguments.handler]


def _with_path(problem: str, options: dict[str, Any]) -> str:
    path = options.get("path")
    return problem if path is None or path in problem else f"{problem}: {path}"


def _uri(address: Any, *, secure: bool) -> str:
    scheme = "wss" if secure else "ws"
    if not isinstance(address, tuple):
        return f"{scheme}+unix:{quote(address)}"
    return f"{scheme}://{join_host_port(*address[:2])}/"
