"""The "Client Net Socket example" of the node:websocket proposal: ``python examples/client_net.py [HOST] [PORT]``."""

import argparse

import anyio

import anyws

parser = argparse.ArgumentParser(description="The client without TLS of the node:websocket proposal; Ctrl-C stops it.")
parser.add_argument("host", nargs="?", default="127.0.0.1")
parser.add_argument("port", nargs="?", type=int, default=8765)
parser.add_argument("--backend", choices=["asyncio", "trio"], default="asyncio")
arguments = parser.parse_args()


def callback_open(err: Exception | None, socket: anyws.callbacks.Socket | None) -> None:
    print("client callback_open", flush=True)
    if socket is not None:
        socket.message_send("hello from client")


def message_handler(message: str | bytes) -> None:
    print("message received at client")
    print(message, flush=True)


options = {
    "authentication": "auth-string",
    "callback_open": callback_open,
    "masking": False,
    "id": "id-string",
    "message_handler": message_handler,
    "proxy_authorization": "proxy-auth",
    "sub_protocol": "sub-proto",
    "type": "type-string",
    "secure": False,
    "socket_options": {
        "host": arguments.host,
        "port": arguments.port,
    },
}


async def main() -> None:
    async with anyws.client_connect(options) as socket:
        await socket.wait_closed()
    print("client closed", socket.close_code, socket.close_reason)


if __name__ == "__main__":
    try:
        anyio.run(main, backend=arguments.backend)
    except* KeyboardInterrupt:
        pass
