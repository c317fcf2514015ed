"""How to pass options, and the errors for invalid ones."""

from __future__ import annotations

import inspect
import typing
from typing import Any

import pytest

import anyws
from anyws.callbacks._options import ClientConnectKeywords, ServerKeywords
from tests.callbacks.peers import plain_client, plain_server


async def client(options: dict[str, Any]) -> None:
    async with anyws.client_connect({"secure": False, "socket_options": {"port": 9}, **options}):
        pytest.fail("wrong options")


async def server(options: dict[str, Any]) -> None:
    async with anyws.server({"secure": False, "listener_options": {"host": "127.0.0.1"}, **options}):
        pytest.fail("wrong options")


# -- a mapping, keywords, or both --------------------------------------------------------------------------------------


async def test_a_mapping_and_keywords_and_both() -> None:
    async with plain_server(sub_protocol="chat") as listening:
        host, port = listening.addresses[0]
        target = {"host": host, "port": port}
        mapping = {"secure": False, "socket_options": target, "sub_protocol": "chat"}
        async with (
            anyws.client_connect(mapping) as one,
            anyws.client_connect(secure=False, socket_options=target, sub_protocol="chat") as two,
            anyws.client_connect({"secure": False, "socket_options": target}, sub_protocol="chat") as three,
        ):
            assert [socket.subprotocol for socket in (one, two, three)] == ["chat"] * 3
        assert mapping == {"secure": False, "socket_options": target, "sub_protocol": "chat"}


async def test_an_option_given_twice() -> None:
    with pytest.raises(TypeError, match=r"client_connect\(\): option secure was given twice"):
        async with anyws.client_connect({"secure": True}, secure=False):
            pytest.fail("given twice")
    with pytest.raises(TypeError, match=r"server\(\): option secure was given twice"):
        async with anyws.server({"secure": True}, secure=False):
            pytest.fail("given twice")


@pytest.mark.parametrize("options", [5, "host", ["secure"], [("secure", False)]])
async def test_options_must_be_a_mapping(options: Any) -> None:
    for function in (anyws.client_connect, anyws.server):
        with pytest.raises(TypeError, match="mapping"):
            async with function(options):
                pytest.fail("no mapping")


# -- unknown names -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "name", "nearest"),
    [
        ({"callback_opened": print}, "callback_opened", "callback_open"),
        ({"callbackOpen": print}, "callbackOpen", "callback_open"),
        ({"proxy-authorization": "x"}, "proxy-authorization", "proxy_authorization"),
        ({"subProtocol": "x"}, "subProtocol", "sub_protocol"),
        ({"max_mesage_size": 1}, "max_mesage_size", "max_message_size"),
        ({"callback_connect": print}, "callback_connect", "callback_open"),
        ({"socket_options": {"port": 9, "hots": "x"}}, "hots", "host"),
        ({"socket_options": {"port": 9, "rejectUnauthorized": False}}, "rejectUnauthorized", "reject_unauthorized"),
        ({"socket_options": {"port": 9, "localAddress": "x"}}, "localAddress", "local_address"),
    ],
)
async def test_an_unknown_option_of_the_client(options: dict[str, Any], name: str, nearest: str) -> None:
    with pytest.raises(TypeError) as caught:
        await client(options)
    where = "socket_options of client_connect()" if "socket_options" in options else "client_connect()"
    start, _, hint = str(caught.value).partition("; did you mean ")
    assert start == f"{where} has no option {name}"
    assert nearest in hint.rstrip("?").split(" or ")


@pytest.mark.parametrize(
    ("options", "where", "name", "nearest"),
    [
        ({"callback_listen": print}, "server()", "callback_listen", "callback_listener"),
        ({"messageHandler": print}, "server()", "messageHandler", "message_handler"),
        ({"listener_options": {"prot": 1}}, "listener_options of server()", "prot", "port"),
        ({"listener_options": {"ipv6Only": True}}, "listener_options of server()", "ipv6Only", "ipv6_only"),
        ({"server_options": {"requestCert": True}}, "server_options of server()", "requestCert", "request_cert"),
        ({"server_options": {"certs": ""}}, "server_options of server()", "certs", "cert"),
    ],
)
async def test_an_unknown_option_of_the_server(options: dict[str, Any], where: str, name: str, nearest: str) -> None:
    with pytest.raises(TypeError) as caught:
        await server(options)
    start, _, hint = str(caught.value).partition("; did you mean ")
    assert start == f"{where} has no option {name}"
    assert nearest in hint.rstrip("?").split(" or ")


async def test_an_unknown_option_without_a_similar_name() -> None:
    with pytest.raises(
        TypeError, match=r"has no option zzz; known options: backlog, exclusive, host, ipv6_only, path, po"
    ):
        await server({"listener_options": {"zzz": 1}})


# -- wrong types and values --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"callback_open": "print"}, "option callback_open must be a callable or None, not str ('print')"),
        ({"message_handler": 5}, "option message_handler must be a callable or None, not int (5)"),
        ({"masking": "yes"}, "option masking must be bool, not str ('yes')"),
        ({"secure": 1}, "option secure must be bool, not int (1)"),
        ({"sub_protocol": 5}, "option sub_protocol must be str or Sequence[str] or None, not int (5)"),
        ({"sub_protocol": b"chat"}, "not bytes (b'chat')"),
        ({"authentication": b"x"}, "option authentication must be str or None, not bytes"),
        ({"id": 7}, "option id must be str or None, not int (7)"),
        ({"type": 7}, "option type must be str or None, not int (7)"),
        ({"proxy_authorization": 7}, "option proxy_authorization must be str or None, not int"),
        ({"extensions": 5}, "option extensions must be str or Sequence[anyws.Extension], not int (5)"),
        ({"socket_options": "localhost"}, "option socket_options must be Mapping[str, Any], not str"),
        ({"socket_options": {"port": "80"}}, "option port must be int or None, not str ('80')"),
        ({"socket_options": {"port": True}}, "option port must be int or None, not bool (True)"),
        ({"socket_options": {"port": 9, "timeout": "1"}}, "option timeout must be float or None, not str ('1')"),
        ({"socket_options": {"port": 9, "ca": 5}}, "option ca must be str or bytes or os.PathLike"),
        ({"socket_options": {"port": 9, "no_delay": None}}, "option no_delay must be bool, not NoneType (None)"),
        (
            {"socket_options": {"port": 9, "alpn_protocols": "h2"}},
            "option alpn_protocols must be Sequence[str] or None",
        ),
        (
            {"socket_options": {"port": 9, "check_server_identity": 1}},
            "option check_server_identity must be a callable",
        ),
        ({"socket_options": {"port": 9, "ssl_context": "x"}}, "option ssl_context must be SSLContext or None, not str"),
    ],
)
async def test_a_wrong_type_in_the_client_s_options(options: dict[str, Any], expected: str) -> None:
    with pytest.raises(TypeError) as caught:
        await client(options)
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"callback_connect": "x"}, "option callback_connect must be a callable or None, not str ('x')"),
        ({"callback_listener": 1}, "option callback_listener must be a callable or None, not int (1)"),
        ({"accept_unmasked": 0}, "option accept_unmasked must be bool, not int (0)"),
        ({"listener_options": []}, "option listener_options must be Mapping[str, Any], not list ([])"),
        ({"listener_options": {"port": 1.5}}, "option port must be int, not float (1.5)"),
        ({"listener_options": {"host": 5}}, "option host must be str or None, not int (5)"),
        ({"server_options": {"sni_callback": "x"}}, "option sni_callback must be a callable or None, not str ('x')"),
        ({"server_options": {"request_cert": "yes"}}, "option request_cert must be bool, not str ('yes')"),
        (
            {"server_options": {"handshake_timeout": "5"}},
            "option handshake_timeout must be float or None, not str ('5')",
        ),
    ],
)
async def test_a_wrong_type_in_the_server_s_options(options: dict[str, Any], expected: str) -> None:
    with pytest.raises(TypeError) as caught:
        await server(options)
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"server_options": {"handshake_timeout": 0}}, "handshake_timeout"),
        ({"listener_options": {"backlog": 0}}, "backlog"),
        ({"open_timeout": -1}, "open_timeout"),
        ({"sub_protocol": "a", "subprotocols": ["b"]}, "sub_protocol and subprotocols are the same option"),
    ],
)
async def test_a_value_out_of_range(options: dict[str, Any], expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        await server(options)


async def test_sub_protocol_and_subprotocols_of_the_client() -> None:
    with pytest.raises(ValueError, match="sub_protocol and subprotocols are the same option"):
        await client({"sub_protocol": "a", "subprotocols": ["b"]})
    async with plain_server(subprotocols=["b"]) as listening, plain_client(listening, subprotocols=["b"]) as socket:
        assert socket.subprotocol == "b"


async def test_a_hook_with_too_many_arguments_is_rejected_immediately() -> None:
    def hook(one: str, two: str, three: str, four: str) -> None:
        pass

    for name in ("callback_open", "message_handler"):
        with pytest.raises(TypeError, match=rf"{name} requires 4 arguments \(one, two, three, four\)"):
            await client({name: hook})
    for name in ("callback_connect", "callback_listener", "callback_open", "message_handler"):
        with pytest.raises(TypeError, match=rf"{name} requires 4 arguments \(one, two, three, four\)"):
            await server({name: hook})


# -- what editors and type checkers see --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "options", "keywords"),
    [
        (anyws.client_connect, anyws.callbacks.ClientConnectOptions, ClientConnectKeywords),
        (anyws.server, anyws.callbacks.SocketServerOptions, ServerKeywords),
    ],
)
def test_options_keywords_and_signature_are_the_same(function: Any, options: type, keywords: type) -> None:
    fields = set(inspect.signature(options).parameters)
    assert set(typing.get_type_hints(keywords)) == fields
    assert set(inspect.signature(function).parameters) == fields | {"options"}
