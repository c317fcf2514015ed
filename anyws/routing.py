"""Which handler serves which path: `Router`, on the rules of werkzeug; needs the extra ``routing``."""

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
    raise ImportError("anyws.routing needs werkzeug: pip install 'anyio-websocket[routing]'") from _missing

__all__ = ["Route", "RouteHandler", "Router"]

RouteHandler = Callable[..., Awaitable[object]]
"""Gets the `anyws.WebSocket`, and each parameter of its rule as a keyword."""

H = TypeVar("H", bound=RouteHandler)

_PARAMETER = re.compile(r"<[^>]*>")
_PORT = re.compile(r":[0-9]*$")
# A segment that would lead out of a folder; a backslash separates segments on Windows.
_DOT_SEGMENT = re.compile(r"(?:^|[/\\])\.\.?(?:$|[/\\])")


@dataclass(frozen=True, slots=True)
class Route:
    """What a request was found to be for; in ``request.state["route"]``.

    Attributes:
        rule: the rule, as it was given to `Router.route`.
        handler: the handler of this rule.
        parameters: the parameters of the rule, converted to their types.
    """

    rule: str
    handler: RouteHandler
    parameters: Mapping[str, Any]


# The two kinds of endpoints; as keys of werkzeug's maps each is only itself.
@dataclass(frozen=True, slots=True, eq=False)
class _Served:
    handler: RouteHandler


@dataclass(frozen=True, slots=True, eq=False)
class _Redirected:
    status: int


# Those of werkzeug take the digits of every script.
class _Integer(IntegerConverter):
    regex = r"[0-9]+"


class _Float(FloatConverter):
    regex = r"[0-9]+\.[0-9]+"


class Router:
    """Gives each connection to the handler of its path: ``await anyws.serve(router, "127.0.0.1", 8765)``.

    A path without a handler is answered 404 in the opening handshake, after the hooks of ``on_request`` have been
    called. A slash at the end of a path may be there or not: nobody is redirected for it, for browsers do not follow
    redirects to a WebSocket. The path is ``request.path``, which hooks see as well. One with a segment ``.`` or ``..``,
    or that is not UTF-8, has no handler.

    With `anyws.accept`, use both of its sides: ``on_request=router.on_request``, and ``await router(websocket)``.

    Args:
        converters: types of parameters of your own, besides werkzeug's ``string``, ``int``, ``float``, ``path``,
            ``any`` and ``uuid``. A number has ASCII digits.
    """

    def __init__(self, *, converters: Mapping[str, type[BaseConverter]] | None = None) -> None:
        converters = {"int": _Integer, "float": _Float, **(converters or {})}
        # Rules of a host and rules of any host cannot stand in one map of werkzeug.
        self._of_hosts = Map(host_matching=True, strict_slashes=False, merge_slashes=False, converters=converters)
        self._of_any_host = Map(strict_slashes=False, merge_slashes=False, converters=converters)
        self._targets = Map(converters=converters)

    def route(self, rule: str, *, host: str | None = None) -> Callable[[H], H]:
        """Return a decorator that gives connections to the handler below it.

        Args:
            rule: a path with parameters, such as ``/rooms/<int:room>``, in the syntax of ``werkzeug.routing.Rule``.
            host: the name in lower case, without a port, that the client must have asked for in ``Host``; it may have
                parameters as well, such as ``<tenant>.example.com``. None: any, where no rule of the very host has the
                path.

        Raises:
            TypeError: the handler does not take the parameters.
            ValueError: the rule cannot be read, or does not begin with a slash; or the host could never match.
            LookupError: a parameter is of an unknown type.
        """

        def decorate(handler: H) -> H:
            added = self._add(rule, host, _Served(handler))
            try:
                inspect.signature(handler).bind(None, **dict.fromkeys(added.arguments))
            except TypeError as exc:
                raise TypeError(f"the handler of {rule} does not take its parameters: {exc}") from exc
            return handler

        return decorate

    def redirect(self, rule: str, to: str, *, host: str | None = None, status: int = 308) -> None:
        """Answer a path with a redirect to another path of the same host; the query goes along.

        Browsers do not follow redirects to a WebSocket; other clients may (RFC 6455, 4.1).

        Args:
            rule: see `route`.
            to: the path to go to, with parameters of ``rule``.
            host: see `route`.
            status: 308 for good, 307 for now.

        Raises:
            ValueError: a rule cannot be read, or ``to`` has a parameter that ``rule`` has not.
            LookupError: a parameter is of an unknown type.
        """
        redirected = _Redirected(status)
        target = Rule(to, endpoint=redirected, build_only=True)
        self._targets.add(target)
        added = self._add(rule, host, redirected)
        if unknown := target.arguments - added.arguments:
            raise ValueError(f"{to} has parameters that {rule} has not: {', '.join(sorted(unknown))}")

    def on_request(self, request: Request) -> Response | None:
        """Find the handler of a request, or answer 404 or a redirect. `anyws.serve` calls it by itself."""
        found = self._find(request)
        if found is None:
            return Response(404, body="there is nothing at this path\n")
        rule, parameters = found
        if isinstance(rule.endpoint, _Redirected):
            return self._redirect(rule.endpoint, parameters, request.query)
        request.state["route"] = Route(rule.rule, rule.endpoint.handler, parameters)
        return None

    async def __call__(self, websocket: WebSocket) -> None:
        """Serve a connection whose handler `on_request` has found."""
        route: Route | None = websocket.request.state.get("route")
        if route is None:
            raise LookupError("the request was not routed: give the router's on_request to accept() as well")
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
        if not path.startswith("/") or path.startswith("//"):  # werkzeug would take it for one slash
            return None
        if "\ufffd" in path or _DOT_SEGMENT.search(path):
            return None
        found = self._match(self._of_hosts, request.host, path)
        return found or self._match(self._of_any_host, "any", path)

    def _match(self, rules: Map, host: str, path: str) -> tuple[Rule, Mapping[str, Any]] | None:
        try:
            return rules.bind(host, url_scheme="ws").match(path, return_rule=True)
        except (HTTPException, ValueError):  # a number may have more digits than Python converts
            return None

    def _redirect(self, redirected: _Redirected, parameters: Mapping[str, Any], query: str) -> Response:
        # A path of the same host: by which scheme, name and port the client knows us, only a proxy may know.
        path = self._targets.bind("any").build(redirected, parameters, append_unknown=False)
        location = f"{path}?{query}" if query else path
        return Response(redirected.status, {"Location": location}, f"this is at {location}\n")
