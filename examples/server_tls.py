"""The "Server TLS example" of the node:websocket proposal: ``python server_tls.py [HOST] [PORT] [--cert FILE]``.

Without ``--cert`` it generates a certificate, which needs the package ``trustme``.
"""

import argparse
from pathlib import Path

import anyio

import anyws

parser = argparse.ArgumentParser(description="The server with TLS of the node:websocket proposal; Ctrl-C stops it.")
parser.add_argument("host", nargs="?", default="127.0.0.1")
parser.add_argument("port", nargs="?", type=int, default=8765)
parser.add_argument("--ca", type=Path, help="CA certificate (PEM) for client certificates")
parser.add_argument("--cert", type=Path, help="certificate (PEM); default: generated for this run")
parser.add_argument("--key", type=Path, help="private key of the certificate (PEM)")
parser.add_argument("--backend", choices=["asyncio", "trio"], default="asyncio")
arguments = parser.parse_args()

ca_certificate: Path | bytes | None
domain_certificate: Path | bytes
domain_key: Path | bytes | None
if arguments.cert is not None:
    ca_certificate, domain_certificate, domain_key = arguments.ca, arguments.cert, arguments.key
else:
    import trustme

    authority = trustme.CA()
    issued = authority.issue_cert(arguments.host)
    ca_certificate = authority.cert_pem.bytes()
    domain_certificate = issued.cert_chain_pems[0].bytes()
    domain_key = issued.private_key_pem.bytes()


def callback_connect(
    header_values: anyws.Headers, socket: anyws.callbacks.Socket, ready: anyws.callbacks.Ready
) -> None:
    print(header_values)
    ready()


def callback_listener(server: anyws.Server) -> None:
    print("server callback_listener", *server.addresses[0][:2], flush=True)


def callback_open(err: Exception | None, socket: anyws.callbacks.Socket | None) -> None:
    print("server callback_open")


def message_handler(message: str | bytes) -> None:
    print("message received at server")
    print(message, flush=True)


options = {
    "callback_connect": callback_connect,
    "callback_listener": callback_listener,
    "callback_open": callback_open,
    "message_handler": message_handler,
    "listener_options": {
        "host": arguments.host,
        "port": arguments.port,
    },
    "secure": True,
    "server_options": {
        "ca": ca_certificate,
        "cert": domain_certificate,
        "key": domain_key,
    },
    # Not in the proposal. Its clients don't mask their frames; without this option they are rejected with 1002, as
    # RFC 6455, section 5.1, requires.
    "accept_unmasked": True,
}


async def main() -> None:
    async with anyws.server(options):
        await anyio.sleep_forever()


if __name__ == "__main__":
    try:
        anyio.run(main, backend=arguments.backend)
    except* KeyboardInterrupt:
        pass
