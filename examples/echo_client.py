"""A client for an echo server: ``python examples/echo_client.py [URI] [--backend trio]``."""

import argparse

import anyio

import anyws


async def main(uri: str) -> None:
    async with anyws.connect(uri) as websocket:
        await websocket.send("hello")
        print(await websocket.receive())
        await websocket.send(b"\x00\x01\x02")
        print(await websocket.receive())
        print(f"latency: {await websocket.ping():.6f} s")
    print("closed", websocket.close_code)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A client for an echo server, such as echo_server.py.")
    parser.add_argument("uri", nargs="?", default="ws://127.0.0.1:8765/")
    parser.add_argument("--backend", choices=["asyncio", "trio"], default="asyncio")
    arguments = parser.parse_args()
    anyio.run(main, arguments.uri, backend=arguments.backend)
