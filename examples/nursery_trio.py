"""A trio program that does not use AnyIO directly: ``python examples/nursery_trio.py``."""

import trio

import anyws


async def shout(websocket: anyws.WebSocket) -> None:
    async for message in websocket:
        assert isinstance(message, str)
        await websocket.send(message.upper())


async def main() -> None:
    async with trio.open_nursery() as nursery:
        server: anyws.Server = await nursery.start(anyws.serve, shout, "127.0.0.1", 0)
        port = server.addresses[0][1]
        with trio.fail_after(10):
            async with anyws.connect(f"ws://127.0.0.1:{port}/") as websocket:
                for word in ["hello", "from", "trio"]:
                    await websocket.send(word)
                    print(await websocket.receive())
        await server.aclose()
    print("closed", websocket.close_code)


if __name__ == "__main__":
    trio.run(main)
