"""An asyncio program that does not use AnyIO directly: ``python examples/taskgroup_asyncio.py``."""

import asyncio

import anyws


async def shout(websocket: anyws.WebSocket) -> None:
    while True:
        await websocket.send((await websocket.receive_text()).upper())


async def talk(uri: str, *words: str) -> None:
    async with asyncio.timeout(10), anyws.connect(uri) as websocket:
        for word in words:
            await websocket.send(word)
            print(await websocket.receive())
    print("closed", websocket.close_code)


async def main() -> None:
    async with anyws.open_server(shout, "127.0.0.1", 0) as server, asyncio.TaskGroup() as tasks:
        tasks.create_task(talk(server.uri, "hello", "from", "asyncio"))
        tasks.create_task(talk(server.uri, "and", "hello", "again"))


if __name__ == "__main__":
    asyncio.run(main())
