"""The "Server Net example" of the node:websocket proposal: ``python examples/server_net.py [HOST] [PORT]``."""

import argparse

import anyio

import anyws

parser = argparse.ArgumentParser(description="The server without TLS of the node:websocket proposal; Ctrl-C stops it.")
parser.add_argument("host", nargs="?", default="127.0.0.1")
parser.add_argument("port", nargs="?", type=int, default=8765)
parser.add_argument("--backend", choices=["asyncio", "trio"], default="asyncio")
arguments = parser.parse_args()


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
    "secure": False,
    "server_options": {},
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
