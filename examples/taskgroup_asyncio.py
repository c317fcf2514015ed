"""An asyncio program that does not use AnyIO directly: ``python examples/taskgroup_asyncio.py``."""

import asyncio

import anyws


async def shout(websocket: anyws.WebSocket) -> None:
    async for message in websocket:
        assert isinstance(message, str)
        await websocket.send(message.upper())


async def talk(port: int, *words: str) -> None:
    async with asyncio.timeout(10), anyws.connect(f"ws://127.0.0.1:{port}/") as websocket:
        for word in words:
            await websocket.send(word)
            print(await websocket.receive())
    print("closed", websocket.close_code)


async def main() -> None:
    async with anyws.open_server(shout, "127.0.0.1", 0) as server:
        port = server.addresses[0][1]
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(talk(port, "hello", "from", "asyncio"))
            tasks.create_task(talk(port, "and", "hello", "again"))


if __name__ == "__main__":
    asyncio.run(main())
