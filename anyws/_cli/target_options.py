"""The options of all commands that connect to a server."""

from __future__ import annotations

import argparse

from .arguments import cookie, count, headers, positive_seconds, seconds, size, user

__all__ = ["add_target"]


def add_target(parser: argparse.ArgumentParser) -> None:
    """Add the URI and the options of the connection."""
    parser.add_argument(
        "uri",
        metavar="URI",
        help="ws://, wss://, http://, https:// or ws+unix:/the/socket:/resource; localhost:8765 and :8765 are short "
        "for ws://localhost:8765",
    )
    _add_handshake(parser)
    _add_network(parser)
    limits = parser.add_argument_group("limits")
    limits.add_argument(
        "--max-size", type=size, metavar="BYTES", help="maximum message size, 0 for unlimited; default: 1M"
    )
    limits.add_argument(
        "--ping-interval",
        type=seconds,
        metavar="SECONDS",
        help="send a Ping after this many seconds of silence, 0 for never; default: 20",
    )


def _add_handshake(parser: argparse.ArgumentParser) -> None:
    handshake = parser.add_argument_group("opening handshake")
    handshake.add_argument(
        "-H",
        "--header",
        action="extend",
        default=[],
        type=headers,
        metavar="'NAME: VALUE'",
        help="request header, or @FILE for a file with one header per line; may be repeated",
    )
    handshake.add_argument(
        "-u",
        "--user",
        type=user,
        metavar="USER[:PASSWORD]",
        help="credentials for Basic authentication; without a password, you are asked for it",
    )
    handshake.add_argument(
        "--cookie", action="append", type=cookie, metavar="NAME=VALUE", help="cookie to send; may be repeated"
    )
    handshake.add_argument(
        "-s",
        "--subprotocol",
        action="append",
        default=[],
        metavar="NAME",
        help="subprotocol to offer; may be repeated",
    )
    handshake.add_argument("-o", "--origin", help="value of the Origin header, as sent by browsers")
    handshake.add_argument("--compress", action="store_true", help="offer compression (permessage-deflate)")
    handshake.add_argument("-L", "--location", action="store_true", help="follow redirects, at most 10")
    handshake.add_argument(
        "--max-redirects", type=count, metavar="N", help="follow at most this many redirects; implies -L"
    )


def _add_network(parser: argparse.ArgumentParser) -> None:
    network = parser.add_argument_group("network and TLS")
    network.add_argument("-x", "--proxy", metavar="URI", help="proxy to connect through; 'none' to connect directly")
    network.add_argument(
        "--connect-timeout",
        type=positive_seconds,
        default=10,
        metavar="SECONDS",
        help="time limit for connecting, including TLS and the opening handshake; default: 10",
    )
    network.add_argument("--cacert", metavar="FILE", help="CA certificates to trust (PEM), instead of the system's")
    network.add_argument("-k", "--insecure", action="store_true", help="do not verify the server's certificate")
    network.add_argument("--cert", metavar="FILE", help="client certificate (PEM)")
    network.add_argument("--key", metavar="FILE", help="private key (PEM); default: in the --cert file")
