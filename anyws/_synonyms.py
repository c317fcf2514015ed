"""What other libraries call the options and methods of anyws, so that error messages can name ours.

The names are those of websockets, wsproto's users, trio-websocket, aiohttp, websocket-client, httpx-ws, uvicorn,
Tornado, ws and curl.
"""

from __future__ import annotations

from collections.abc import Container

__all__ = ["METHODS", "advice_for", "option_for"]

# Our options, in order of preference: a client does not have all those of a server, and the other way round.
_OPTIONS: dict[str, tuple[str, ...]] = {
    "additional_headers": ("headers",),
    "allow_redirects": ("max_redirects",),
    "allowed_origins": ("origins",),
    "api_key": ("auth",),
    "authorization": ("auth",),
    "ca_certs": ("ssl_context",),
    "cafile": ("ssl_context",),
    "cert": ("ssl_context",),
    "certfile": ("ssl_context",),
    "close_grace": ("close_timeout",),
    "compress": ("compression",),
    "connect_timeout": ("open_timeout",),
    "cookie": ("cookies",),
    "cookie_jar": ("cookies",),
    "credentials": ("auth",),
    "extra_headers": ("headers",),
    "follow_redirects": ("max_redirects",),
    "grace": ("stop_grace",),
    "graceful_timeout": ("stop_grace",),
    "handshake_timeout": ("open_timeout",),
    "header": ("headers",),
    "heartbeat": ("ping_interval",),
    "http_proxy": ("proxy",),
    "keepalive_interval": ("ping_interval",),
    "keepalive_ping_interval_seconds": ("ping_interval",),
    "keepalive_ping_timeout_seconds": ("ping_timeout",),
    "keepalive_timeout": ("ping_timeout",),
    "keyfile": ("ssl_context",),
    "limit_concurrency": ("max_connections",),
    "local_addr": ("local_host",),
    "max_clients": ("max_connections",),
    "max_connection_age": ("max_lifetime",),
    "max_connection_idle": ("idle_timeout",),
    "max_message_size_bytes": ("max_message_size",),
    "max_msg_size": ("max_message_size",),
    "max_payload": ("max_message_size",),
    "max_queue": ("receive_buffer",),
    "max_size": ("max_message_size",),
    "message_queue_size": ("receive_buffer",),
    "on_connect": ("on_request",),
    "opening_handshake_timeout": ("open_timeout",),
    "origin": ("origins",),
    "origins": ("origin",),
    "password": ("auth",),
    "per_message_deflate": ("compression",),
    "permessage_deflate": ("compression",),
    "process_request": ("on_request",),
    "process_response": ("headers",),
    "protocols": ("subprotocols",),
    "proxies": ("proxy",),
    "queue_size": ("receive_buffer",),
    "ratelimit": ("rate_limit",),
    "read_bufsize": ("receive_buffer",),
    "read_limit": ("receive_buffer",),
    "request_headers": ("headers",),
    "response_headers": ("headers",),
    "select_subprotocol": ("subprotocols",),
    "server_name": ("server_hostname",),
    "sock": ("stream", "listeners"),
    "socket": ("stream", "listeners"),
    "source_address": ("local_host",),
    "ssl": ("ssl_context",),
    "ssl_certfile": ("ssl_context",),
    "ssl_keyfile": ("ssl_context",),
    "sslopt": ("ssl_context",),
    "subprotocol": ("subprotocols",),
    "timeout": ("open_timeout",),
    "timeout_graceful_shutdown": ("stop_grace",),
    "tls": ("ssl_context",),
    "tls_context": ("ssl_context",),
    "token": ("auth",),
    "transport": ("stream",),
    "uds": ("path",),
    "unix": ("path",),
    "unix_socket": ("path",),
    "user": ("auth",),
    "user_agent_header": ("user_agent",),
    "verify": ("ssl_context",),
    "verify_ssl": ("ssl_context",),
    "websocket_ping_interval": ("ping_interval",),
    "websocket_ping_timeout": ("ping_timeout",),
    "write_limit": ("send_buffer",),
    "ws_max_queue": ("receive_buffer",),
    "ws_max_size": ("max_message_size",),
    "ws_per_message_deflate": ("compression",),
    "ws_ping_interval": ("ping_interval",),
    "ws_ping_timeout": ("ping_timeout",),
}

_RECONNECTING = "to reconnect, use anyws.reconnecting(), which has the option on_disconnect"
_UNIX_URI = "connect to 'ws+unix:/the/socket:/resource'"

# What to do instead, where no option of the function corresponds.
_ADVICE: dict[str, str] = {
    "autoclose": "a Close is always answered",
    "autoping": "Pings are always answered",
    "create_protocol": "wrap the connection in an object of your own",
    "handler_nursery": "start the server in your nursery: `await nursery.start(anyws.serve, ...)`",
    "logger": "configure the loggers 'anyws.client' and 'anyws.server'",
    "loop": "it is the event loop that is running",
    "max_retries": _RECONNECTING,
    "on_close": "it is what follows the loop `async for message in websocket`",
    "on_disconnect": _RECONNECTING,
    "on_error": "exceptions are raised",
    "on_message": "receive messages with `async for message in websocket`",
    "on_open": "it is the first line of the block or the handler",
    "path": _UNIX_URI,
    "process_exception": _RECONNECTING,
    "reconnect": _RECONNECTING,
    "retries": _RECONNECTING,
    "retry": _RECONNECTING,
    "reuse_address": "it is always set",
    "server_header": "pass headers={'Server': ...}",
    "uds": _UNIX_URI,
    "unix": _UNIX_URI,
    "unix_socket": _UNIX_URI,
    "workers": "run `anyws serve --workers N`, or start processes with reuse_port=True",
}
# The same for a function that has on_disconnect.
_OF_RECONNECTING = {name: "on_disconnect" for name, advice in _ADVICE.items() if advice is _RECONNECTING}

METHODS: dict[str, str] = {
    "client": "remote_address",
    "close": "aclose()",
    "closed": "state",
    "get_message": "receive()",
    "headers": "request.headers",
    "is_closed": "state",
    "iter_bytes": "receive_bytes(), or async for",
    "iter_text": "receive_text(), or async for",
    "local": "local_address",
    "open": "state",
    "path": "request.path",
    "query_params": "request.query",
    "recv": "receive()",
    "recv_streaming": "receive_stream()",
    "receive_json": "json.loads(await websocket.receive_text())",
    "receive_str": "receive_text()",
    "remote": "remote_address",
    "request_headers": "request.headers",
    "response_headers": "response.headers",
    "send_bytes": "send()",
    "send_json": "send(json.dumps(...))",
    "send_message": "send()",
    "send_str": "send()",
    "send_text": "send()",
    "write_message": "send()",
}
"""What other libraries call the methods and attributes of a connection, and ours."""


def option_for(name: str, known: Container[str]) -> str | None:
    """Return our option for a name in another library, out of the known ones; None if there is none."""
    candidates = (*_OPTIONS.get(name, ()), *([_OF_RECONNECTING[name]] if name in _OF_RECONNECTING else ()))
    return next((option for option in candidates if option in known), None)


def advice_for(name: str) -> str | None:
    """Return what to do instead of passing an option that only other libraries have; None if we do not know."""
    return _ADVICE.get(name)
