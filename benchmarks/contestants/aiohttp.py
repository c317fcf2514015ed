"""aiohttp: ``WebSocketResponse``. Servers can only enable or disable compression, which is on by default."""

from __future__ import annotations

import asyncio

from aiohttp import WSMsgType, web

from .arguments import Arguments, announce, run_on_asyncio


async def main(arguments: Arguments) -> None:
    """Serve on a free port of 127.0.0.1."""
    everybody: set[web.WebSocketResponse] = set()

    async def echo(request: web.Request) -> web.WebSocketResponse:
        websocket = web.WebSocketResponse(
            compress=arguments.compression == "default",
            max_msg_size=4 * 1024 * 1024 if arguments.max_size is None else arguments.max_size,  # its default
        )
        await websocket.prepare(request)
        everybody.add(websocket)
        async for message in websocket:
            for each in tuple(everybody) if arguments.broadcast else (websocket,):
                if message.type is WSMsgType.TEXT:
                    await each.send_str(message.data)
                elif message.type is WSMsgType.BINARY:
                    await each.send_bytes(message.data)
        everybody.discard(websocket)
        return websocket

    application = web.Application()
    application.router.add_get("/", echo)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=arguments.ssl_context).start()
    announce(runner.addresses[0][1])
    await asyncio.Event().wait()


if __name__ == "__main__":
    run_on_asyncio(main, Arguments.parse(loops=("asyncio", "uvloop"), compressions=("default",)))
