"""Routing connections to handlers by path: `Router`, built on werkzeug; requires the extra ``routing``."""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from ._connection.websocket import WebSocket
from .protocol.http11 import Request, Response

try:
    from werkzeug.exceptions import HTTPException
    from werkzeug.routing import BaseConverter, FloatConverter, IntegerConverter, Map, Rule
except ImportError as _missing:
    raise ImportError("anyws.routing requires werkzeug: pip install 'anyio-websocket[routing]'") from _missing

__all__ = ["Route", "RouteHandler", "Router"]

RouteHandler = Callable[..., Awaitable[object]]
"""Receives the `anyws.WebSocket`, and each parameter of its rule as a keyword argument."""

H = TypeVar("H", bound=RouteHandler)

_PARAMETER = re.compile(r"<[^>]*>")
_PORT = re.compile(r":[0-9]*$")
# A path segment that could lead out of a directory; on Windows, a backslash separates segments.
_DOT_SEGMENT = re.compile(r"(?:^|[/\\])\.\.?(?:$|[/\\])")


@dataclass(frozen=True, slots=True)
class Route:
    """The route that matches a request; available as ``request.state["route"]``.

    Attributes:
        rule: the rule, as passed to `Router.route`.
        handler: the handler for this rule.
        parameters: the parameters in the path, converted to their types.
    """

    rule: str
    handler: RouteHandler
    parameters: Mapping[str, Any]


# The two kinds of endpoints. They are keys of werkzeug's maps, so each must be equal only to itself.
@dataclass(frozen=True, slots=True, eq=False)
class _Served:
    handler: RouteHandler


@dataclass(frozen=True, slots=True, eq=False)
class _Redirected:
    status: int


# werkzeug's own converters accept digits of every script.
class _Integer(IntegerConverter):
    regex = r"[0-9]+"


class _Float(FloatConverter):
    regex = r"[0-9]+\.[0-9]+"


class Router:
    """Passes each connection to the handler for its path: ``await anyws.serve(router, "127.0.0.1", 8765)``.

    For a path without a handler, the server responds with 404 in the opening handshake, after calling the hooks in
    ``on_request``. A trailing slash makes no difference and causes no redirect, because browsers do not follow
    redirects of WebSocket requests. Rules match ``request.path``. A path with a segment ``.`` or ``..``, or that is not
    valid UTF-8, never matches.

    With `anyws.accept`, pass ``on_request=router.on_request``, and then call ``await router(websocket)``.

    Args:
        converters: your own parameter types, in addition to werkzeug's ``string``, ``int``, ``float``, ``path``,
            ``any`` and ``uuid``. Numbers accept ASCII digits only.
    """

    def __init__(self, *, converters: Mapping[str, type[BaseConverter]] | None = None) -> None:
        converters = {"int": _Integer, "float": _Float, **(converters or {})}
        # werkzeug cannot mix rules with and without a host in one map.
        self._of_hosts = Map(host_matching=True, strict_slashes=False, merge_slashes=False, converters=converters)
        self._of_any_host = Map(strict_slashes=False, merge_slashes=False, converters=converters)
        self._targets = Map(converters=converters)

    def route(self, rule: str, *, host: str | None = None) -> Callable[[H], H]:
        """Return a decorator that registers a handler for a path.

        Args:
            rule: a path with parameters, such as ``/rooms/<int:room>``, in the syntax of ``werkzeug.routing.Rule``.
            host: the host name that ``Host`` must have, in lower case and without a port. It may have parameters as
                well, such as ``<tenant>.example.com``. None: any host, unless a rule for the request's host matches.

        Raises:
            TypeError: the handler does not accept the parameters.
            ValueError: the rule is invalid or does not start with a slash, or the host can never match.
            LookupError: a parameter has an unknown type.
        """

        def decorate(handler: H) -> H:
            added = self._add(rule, host, _Served(handler))
            try:
                inspect.signature(handler).bind(None, **dict.fromkeys(added.arguments))
            except TypeError as exc:
                raise TypeError(f"the handler for {rule} does not accept its parameters: {exc}") from exc
            return handler

        return decorate

    def redirect(self, rule: str, to: str, *, host: str | None = None, status: int = 308) -> None:
        """Redirect a path to another path on the same host, keeping the query.

        Browsers do not follow redirects of WebSocket requests; other clients may (RFC 6455, section 4.1).

        Args:
            rule: see `route`.
            to: the target path, which may use the parameters of ``rule``.
            host: see `route`.
            status: 308 for a permanent redirect, 307 for a temporary one.

        Raises:
            ValueError: a rule is invalid, or ``to`` has a parameter that ``rule`` does not have.
            LookupError: a parameter has an unknown type.
        """
        redirected = _Redirected(status)
        target = Rule(to, endpoint=redirected, build_only=True)
        self._targets.add(target)
        added = self._add(rule, host, redirected)
        if unknown := target.arguments - added.arguments:
            raise ValueError(f"{to} has parameters that {rule} does not have: {', '.join(sorted(unknown))}")

    def on_request(self, request: Request) -> Response | None:
        """Find the handler for a request, or return a 404 or a redirect. `anyws.serve` calls it automatically."""
        found = self._find(request)
        if found is None:
            return Response(404, body="not found\n")
        rule, parameters = found
        if isinstance(rule.endpoint, _Redirected):
            return self._redirect(rule.endpoint, parameters, request.raw_query)
        request.state["route"] = Route(rule.rule, rule.endpoint.handler, parameters)
        return None

    async def __call__(self, websocket: WebSocket) -> None:
        """Serve a connection with the handler that `on_request` has found."""
        route: Route | None = websocket.request.state.get("route")
        if route is None:
            raise LookupError("the request was not routed: pass on_request=router.on_request to accept()")
        await route.handler(websocket, **route.parameters)

    def _add(self, rule: str, host: str | None, endpoint: _Served | _Redirected) -> Rule:
        fixed = _PARAMETER.sub("", host or "")
        if fixed != fixed.lower() or _PORT.search(fixed):
            raise ValueError(f"host {host!r}: expected a name in lower case, without a port")
        added = Rule(rule, host=host, endpoint=endpoint, websocket=True)
        (self._of_any_host if host is None else self._of_hosts).add(added)
        return added

    def _find(self, request: Request) -> tuple[Rule, Mapping[str, Any]] | None:
        path = request.path
        if not path.startswith("/") or path.startswith("//"):  # werkzeug would treat // as one slash
            return None
        if "\ufffd" in path or _DOT_SEGMENT.search(path):
            return None
        found = self._match(self._of_hosts, request.host, path)
        return found or self._match(self._of_any_host, "any", path)

    def _match(self, rules: Map, host: str, path: str) -> tuple[Rule, Mapping[str, Any]] | None:
        try:
            return rules.bind(host, url_scheme="ws").match(path, return_rule=True)
        except (HTTPException, ValueError):  # ValueError: a number has more digits than Python converts
            return None

    def _redirect(self, redirected: _Redirected, parameters: Mapping[str, Any], query: str) -> Response:
        # A path only: behind a proxy, the server does not know which scheme, host and port the client used.
        path = self._targets.bind("any").build(redirected, parameters, append_unknown=False)
        location = f"{path}?{query}" if query else path
        return Response(redirected.status, {"Location": location}, f"redirected to {location}\n")
