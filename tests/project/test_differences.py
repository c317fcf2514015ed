"""On the bytes on which the leading libraries differ, anyws does what is right: see docs/differences.md."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import anyio
import pytest

import anyws
from compliance.differences.case import REQUEST, ROLES, Case, Outcomes
from compliance.differences.cases import CASES, cases_for
from compliance.differences.frames import CLOSE, TEXT, Frame, close
from compliance.differences.script import listening, run_case
from compliance.differences.table import find_wrong, tables
from compliance.differences.transcript import Transcript

ROOT = Path(__file__).parents[2]
COMPRESSION = anyws.PerMessageDeflate()
IDLE_TIMEOUT = 20  # seconds; no right outcome is a silence
UNMASKED = next(case for case in CASES if case.name == "unmasked from a client, masked from a server")


async def echo(websocket: anyws.WebSocket) -> None:
    try:
        async for message in websocket:
            await websocket.send(message)
    except anyws.ConnectionClosed:
        pass


async def test_our_server_does_what_is_right():
    outcomes: Outcomes = {}
    async with anyws.open_server(echo, "127.0.0.1", compression=COMPRESSION) as server:
        for case in cases_for("server"):
            stream = await anyio.connect_tcp(*server.addresses[0])
            outcomes["server", case.name] = await run_case(stream, case, "server", idle_timeout=IDLE_TIMEOUT)
    assert find_wrong(CASES, outcomes) == []


async def test_our_client_does_what_is_right():
    async def connect(uri: str) -> None:
        try:
            async with anyws.connect(uri, compression=COMPRESSION) as websocket:
                await echo(websocket)
        except anyws.HandshakeError:
            pass

    outcomes: Outcomes = {}
    async with listening() as (listener, uri):
        for case in cases_for("client"):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(connect, uri)
                stream = await listener.accept()
                outcomes["client", case.name] = await run_case(stream, case, "client", idle_timeout=IDLE_TIMEOUT)
    assert find_wrong(CASES, outcomes) == []


async def test_a_lax_server_is_told_from_a_strict_one():
    async with anyws.open_server(echo, "127.0.0.1", accept_unmasked=True) as server:
        stream = await anyio.connect_tcp(*server.addresses[0])
        outcomes: Outcomes = {
            ("server", UNMASKED.name): await run_case(stream, UNMASKED, "server", idle_timeout=IDLE_TIMEOUT)
        }
    assert find_wrong(CASES, outcomes) == [f"server: {UNMASKED.name}: accepts, expected 1002"]


SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
AGREED = b"Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=10\r\n"
PROBE = Frame(opcode=TEXT, payload=b"probe")
HELLO = Frame(opcode=TEXT, payload=b"hello")


@pytest.mark.parametrize(
    ("fields", "head", "frames", "outcome"),
    [
        ({}, b"HTTP/1.1 400 Bad Request\r\n", [], "400"),
        ({"header": "Allow"}, b"HTTP/1.1 405 No\r\nallow: GET\r\n", [], "405"),
        ({"header": "Allow"}, b"HTTP/1.1 405 No\r\n", [], "405 without the header"),
        ({"shows_agreement": True}, SWITCHED, [], "declines"),
        ({"shows_agreement": True}, SWITCHED + AGREED, [], "agrees"),
        ({"shows_agreement": True, "offer": "a; server_max_window_bits=10"}, SWITCHED + AGREED, [], "agrees: 10"),
        ({}, SWITCHED, [close(1002)], "1002"),
        ({}, SWITCHED, [Frame(opcode=CLOSE)], "no code"),
        ({"is_unfinished": True}, SWITCHED, [close(1007)], "1007 at once"),
        ({"close": 3000}, SWITCHED, [close(3000)], "accepts"),
        ({"close": 3000}, SWITCHED, [close(1002)], "1002"),
        ({"close": 3000}, SWITCHED, [close(3000), HELLO], "writes after Close"),
        ({"messages": (b"hello",)}, SWITCHED, [HELLO, PROBE], "accepts"),
        ({"messages": (b"hello",)}, SWITCHED, [PROBE], "silently dropped"),
        ({"messages": (b"hello",)}, SWITCHED, [Frame(opcode=TEXT), PROBE], "silently empty"),
        ({"messages": (b"other",)}, SWITCHED, [HELLO, PROBE], "silently wrong"),
        ({}, SWITCHED, [HELLO], "silently wrong"),
        ({"messages": (b"hello",)}, SWITCHED, [HELLO], "waits"),
        ({}, REQUEST.removesuffix(b"\r\n"), [PROBE], "accepts"),
    ],
)
def test_the_word_for_what_came_back(fields, head, frames, outcome):
    transcript = Transcript(Case(name="", section="", rule="", right="", **fields))
    for byte in head + b"\r\n" + b"".join(frame.serialize(from_client=False) for frame in frames):
        transcript.receive_data(bytes([byte]))
    assert transcript.outcome == outcome


def test_the_end_of_tcp_without_an_answer_is_no_silence():
    transcript = Transcript(UNMASKED)
    assert transcript.outcome == "waits"
    transcript.is_ended = True
    assert transcript.outcome == "closes TCP"


def test_the_tables_have_a_row_where_somebody_differs():
    three = Case(name="three", section="RFC 0, 1", rule="must", right="1002", allowed=("1009",))
    one, two = (replace(three, name=name, roles=("server",)) for name in ("one", "two"))
    columns: dict[str, Outcomes] = {
        "lax": {("server", "one"): "1009", ("server", "two"): "1002", ("server", "three"): "1002"},
        "wrong": {("server", "one"): "accepts", ("server", "two"): "1002", ("server", "three"): "1002"},
    }
    for title, word in [("lax", "1009"), ("wrong", "1002")]:
        columns[title]["client", "three"] = word
    assert tables([one, two, three], columns).splitlines() == [
        "| Sent to a server | lax | wrong | The rule |",
        "|---|---|---|---|",
        "| one | *1009* | accepts | must (RFC 0, 1) |",
        "",
        "Handled correctly by all: two.",
        "",
        "| Sent to a client | lax | wrong | The rule |",
        "|---|---|---|---|",
        "",
        "| Sent to either | lax | wrong | The rule |",
        "|---|---|---|---|",
        "| three | **1002** (server), *1009* (client) | **1002** | must (RFC 0, 1) |",
    ]


def test_the_documentation_has_each_case():
    page = " ".join((ROOT / "docs" / "differences.md").read_text().split())
    assert [case.name for case in CASES if case.name not in page] == []


def test_each_case_has_a_name_of_its_own():
    names = [(role, case.name) for role in ROLES for case in cases_for(role)]
    assert len({*names}) == len(names)
