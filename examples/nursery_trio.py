"""A trio program that does not use AnyIO directly: ``python examples/nursery_trio.py``."""

import trio

import anyws


async def shout(websocket: anyws.WebSocket) -> None:
    while True:
        await websocket.send((await websocket.receive_text()).upper())


async def main() -> None:
    async with trio.open_nursery() as nursery:
        server: anyws.Server = await nursery.start(anyws.serve, shout, "127.0.0.1", 0)
        with trio.fail_after(10):
            async with anyws.connect(server.uri) as websocket:
                for word in ["hello", "from", "trio"]:
                    await websocket.send(word)
                    print(await websocket.receive())
        await server.aclose()
    print("closed", websocket.close_code)


if __name__ == "__main__":
    trio.run(main)
