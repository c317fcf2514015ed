"""The files for nginx, systemd, Docker and Kubernetes: judged by the tools of others, and their programs run."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import anyio
import pytest

import anyws
from tests.cli.commands import LIMIT, ROOT, Process, start, start_anyws
from tests.harness import free_port, listens
from tests.topics.servers import RedisServer, find_program

DEPLOY = ROOT / "examples" / "deploy"
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")

posix_only = pytest.mark.skipif(os.name != "posix", reason="stopped by SIGTERM")


def ask(port: int, path: str, method: str = "GET") -> tuple[int, str]:
    """Return the status and the body of an answer over plain HTTP."""
    connection = HTTPConnection("127.0.0.1", port, timeout=LIMIT)
    try:
        connection.request(method, path)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


# -- nginx -------------------------------------------------------------------------------------------------------------


@contextmanager
def nginx(directory: Path, *replacements: tuple[str, str]) -> Iterator[int]:
    """Run nginx with the example's configuration, in which texts are replaced; give the port."""
    if NGINX is None:
        pytest.skip("nginx is not installed")
    port = free_port()
    text = (ROOT / "examples" / "behind_nginx" / "nginx.conf").read_text()
    for old, new in [("listen 8080", f"listen 127.0.0.1:{port}"), *replacements]:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    temporary = "".join(
        f"{kind}_temp_path {directory};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (directory / "site.conf").write_text(text)
    main = directory / "nginx.conf"
    main.write_text(
        f"daemon off; master_process off; pid {directory}/nginx.pid; error_log stderr;\n"
        f"events {{ }} http {{ access_log off; {temporary} include site.conf; }}\n"
    )
    with start([NGINX, "-p", directory, "-e", "stderr", "-c", main], stderr=subprocess.STDOUT) as process:
        if not listens(port, process.poll, LIMIT):
            raise AssertionError(f"it does not listen: {process.finish()}")
        yield port
        status, out, _ = process.stop(signal.SIGTERM)
        assert status == 0, out


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """FastAPI under uvicorn, anyws beside it, and nginx before both; the port of nginx."""
    pytest.importorskip("fastapi")
    pytest.importorskip("uvicorn")
    monkeypatch.setenv("WEBSOCKET_PORT", "0")
    monkeypatch.setenv("HOSTS", "app.example")
    application = ["--app-dir", ROOT / "examples" / "behind_nginx", "app:app"]
    command = [sys.executable, "-m", "uvicorn", *application, "--port", 0, "--ws", "none", "--no-use-colors"]
    with start(command, stderr=subprocess.STDOUT) as process:
        websocket_port = process.expect_line("WebSocket on port").split()[-1]
        http_port = process.expect_line("running on http://127.0.0.1:").split("127.0.0.1:")[1].split()[0]
        upstreams = [("127.0.0.1:8765", f"127.0.0.1:{websocket_port}"), ("127.0.0.1:8000", f"127.0.0.1:{http_port}")]
        with nginx(tmp_path, *upstreams) as port:
            yield port
        status, out, _ = process.stop(signal.SIGTERM)
    assert status in (0, -signal.SIGTERM), out  # uvicorn may end by the signal that it has caught
    assert "Application shutdown complete" in out
    assert "Traceback" not in out


@posix_only
async def test_fastapi_and_anyws_behind_nginx(site: int) -> None:
    async def connect(stack: AsyncExitStack, **options: Any) -> anyws.WebSocket:
        stream = await anyio.connect_tcp("127.0.0.1", site)
        uri = f"ws://app.example:{site}/ws"
        return await stack.enter_async_context(anyws.connect(uri, stream=stream, **options))

    async def http(path: str, method: str = "GET") -> tuple[int, str]:
        return await anyio.to_thread.run_sync(ask, site, path, method)

    async with AsyncExitStack() as stack:
        page = await connect(stack, origin=f"http://app.example:{site}")
        program = await connect(stack)
        await page.send("hello")
        assert await page.receive() == "you said hello"
        await program.ping()

        assert await http("/announcements/dinner", "POST") == (200, '{"told":2}')
        assert [await page.receive(), await program.receive()] == ["dinner"] * 2
        status, body = await http("/openapi.json")
        assert status == 200
        assert json.loads(body)["info"]["title"] == "FastAPI"
        assert (await http("/ws"))[0] == 426  # of anyws
        assert (await http("/wsx"))[0] == 404  # of FastAPI

        with pytest.raises(anyws.HandshakeRefused) as refused:
            await connect(stack, origin="http://evil.example")
        assert refused.value.status == 403
    assert page.close_code == 1000


@posix_only
async def test_processes_that_share_topics_behind_nginx(tmp_path: Path) -> None:
    program = find_program("redis-server")
    if program is None:
        pytest.skip("redis-server is not installed")
    (upstream,) = re.findall(r"^```nginx\n(.*?)^```$", (ROOT / "docs" / "scaling.md").read_text(), re.DOTALL | re.M)
    engine = RedisServer(program, tmp_path / "redis")
    engine.start()
    command = ["serve", "topic", "--resume", "--port", 0, "--engine", engine.url]
    try:
        with start_anyws(*command) as one, start_anyws(*command, "--backend", "trio") as other:
            for number, process in enumerate((one, other), 1):
                host = process.expect_line("ws://").removeprefix("ws://").rstrip("/")
                assert upstream.count(f"10.0.0.{number}:8765") == 1
                upstream = upstream.replace(f"10.0.0.{number}:8765", host)
            replacements = [("map $http_upgrade", f"{upstream}map $http_upgrade"), ("127.0.0.1:8765", "chat")]
            with nginx(tmp_path, *replacements) as port:
                uri = f"ws://127.0.0.1:{port}/ws"
                async with anyws.connect(uri) as first, anyws.connect(uri) as second:
                    for websocket in (first, second):
                        await websocket.send('{"since": null}')
                        assert json.loads(await websocket.receive())["state"] == []
                    counted = engine.command("PUBSUB", "NUMSUB", "anyws:{ws}:channel:0", whole=True)
                    assert "\r\n:2\r\n" in counted  # least_conn: each process has a connection
                    await first.send("hello")
                    heard = [json.loads(await websocket.receive()) for websocket in (first, second)]
                    assert [message["data"] for message in heard] == ["hello", "hello"]

                    assert one.stop(signal.SIGTERM) == (0, "", "")
                    async with anyio.create_task_group() as tasks:  # one of them has been told

                        async def wait(websocket: anyws.WebSocket) -> None:
                            await websocket.wait_closed()
                            tasks.cancel_scope.cancel()

                        tasks.start_soon(wait, first)
                        tasks.start_soon(wait, second)
                    (left,) = [websocket for websocket in (first, second) if websocket.close_code is None]
                    await left.send("missed")
                    assert json.loads(await left.receive())["data"] == "missed"
                    async with anyws.connect(uri) as back:  # nginx goes on to the process that is left
                        await back.send(json.dumps({"since": heard[0]["position"]}))
                        assert json.loads(await back.receive())["data"] == "missed"
            assert other.stop(signal.SIGTERM) == (0, "", "")
    finally:
        engine.kill()


# -- systemd -----------------------------------------------------------------------------------------------------------


def test_units_are_as_systemd_wants_them(tmp_path: Path) -> None:
    if (systemd_analyze := shutil.which("systemd-analyze")) is None:
        pytest.skip("systemd-analyze is not installed")
    for name in ("echo.socket", "echo.service"):
        text = (DEPLOY / name).read_text()
        if name == "echo.service":
            assert text.count("/opt/echo/bin/python") == 1
            text = text.replace("/opt/echo/bin/python", sys.executable)  # which must exist
        (tmp_path / name).write_text(text)
    units = [tmp_path / "echo.service", tmp_path / "echo.socket"]
    done = subprocess.run(
        [systemd_analyze, "verify", "--man=no", "--recursive-errors=no", *units],
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    about_ours = [line for line in done.stderr.splitlines() if "echo." in line]
    assert (done.returncode, about_ours) == (0, [])


def test_the_service_has_time_to_stop() -> None:
    text = (DEPLOY / "echo.service").read_text()
    stop = re.search(r"^TimeoutStopSec=(\d+)$", text, re.MULTILINE)
    assert stop is not None
    assert int(stop[1]) > 3  # the grace of open_server()
    program = Path(text.split("ExecStart=", 1)[1].split()[1])
    assert (ROOT / "examples" / program.name).exists()


# -- Docker ------------------------------------------------------------------------------------------------------------


def instructions() -> list[tuple[str, str]]:
    """Return the instructions of the Dockerfile."""
    text = re.sub(r"^#.*\n", "", (DEPLOY / "Dockerfile").read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    return [(name, rest.strip()) for name, rest in (line.split(maxsplit=1) for line in text.splitlines() if line)]


def only(name: str) -> str:
    (rest,) = [rest for found, rest in instructions() if found == name]
    return rest


def test_hadolint_has_nothing_to_say() -> None:
    hadolint = shutil.which("hadolint", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    if hadolint is None:
        pytest.skip("hadolint is not installed")
    command = [hadolint, "--no-color", str(DEPLOY / "Dockerfile")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_what_is_copied_into_the_image_exists() -> None:
    sources = [source for name, rest in instructions() if name == "COPY" for source in rest.split()[:-1]]
    assert len(sources) == 6
    for source in sources:
        assert (ROOT / source).exists(), source


def test_the_image_does_not_run_as_root() -> None:
    assert only("USER").split(":")[0] not in ("0", "root")


# -- the server of both ------------------------------------------------------------------------------------------------


@contextmanager
def deployed(arguments: Sequence[str], backend: str) -> Iterator[tuple[Process, int, int]]:
    """Run the entry point of the image; give the process, and its two ports."""
    python, program = json.loads(only("ENTRYPOINT"))
    assert (python, Path(program).name) == ("python", "server.py")
    host, *options = arguments
    options += ["--health-port", "0", "--backend", backend]
    with start([sys.executable, "-W", "error", DEPLOY / "server.py", host, 0, *options]) as process:
        words = process.expect_line("listening on").split()
        yield process, int(words[2]), int(words[4])


@posix_only
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_the_health_check_of_the_image(backend: str) -> None:
    python, *command = json.loads(only("HEALTHCHECK").split("CMD", 1)[1])
    assert python == "python"
    with deployed(json.loads(only("CMD")), backend) as (process, _, health_port):
        here = [word.replace(":8766/", f":{health_port}/") for word in command]
        assert here != command
        assert subprocess.run([sys.executable, *here], timeout=LIMIT, check=False).returncode == 0
        assert ask(health_port, "/elsewhere")[0] == 404
        assert process.stop(signal.SIGTERM)[0] == 0
    done = subprocess.run([sys.executable, *here], timeout=LIMIT, check=False, stderr=subprocess.DEVNULL)
    assert done.returncode == 1  # all else but 0 is reserved


# -- Kubernetes --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def manifests() -> list[dict[str, Any]]:
    yaml = pytest.importorskip("yaml")
    documents: list[dict[str, Any]] = list(yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text()))
    return documents


def test_manifests_fit_the_schemas_of_kubernetes(manifests: list[dict[str, Any]]) -> None:
    kubernetes_validate = pytest.importorskip("kubernetes_validate")
    for document in manifests:
        kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)
    wrong = {**manifests[0], "spec": {**manifests[0]["spec"], "replica": 2}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, kubernetes_validate.latest_version(), strict=True)


@posix_only
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_pod_lives_and_ends(manifests: list[dict[str, Any]], backend: str) -> None:
    pod = manifests[0]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    probes = {name: container[f"{name}Probe"]["httpGet"] for name in ("readiness", "liveness")}
    names = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert [str(port) for port in names.values()] == only("EXPOSE").split()
    (grace,) = [int(found[1]) for word in container["args"] if (found := re.fullmatch(r"--grace=(\d+)", word))]
    assert container["lifecycle"]["preStop"]["sleep"]["seconds"] + grace < pod["terminationGracePeriodSeconds"]

    async def live(process: Process, ports: dict[str, int]) -> None:
        with anyio.fail_after(LIMIT):
            async with anyws.connect(f"ws://127.0.0.1:{ports['websocket']}/") as websocket:
                await websocket.send("hello")
                assert await websocket.receive() == "hello"
                process.send_signal(signal.SIGTERM)
                with pytest.raises(anyws.ConnectionClosedOK) as raised:
                    await websocket.receive()
                assert raised.value.code == 1001

    with deployed(container["args"], backend) as (process, websocket_port, health_port):
        ports = {"websocket": websocket_port, "health": health_port}
        assert set(ports) == set(names)
        for probe in probes.values():
            assert ask(ports[probe["port"]], probe["path"]) == (200, "ok\n")
        began = time.monotonic()
        anyio.run(live, process, ports, backend=backend)
        assert process.finish()[0] == 0
        assert time.monotonic() - began < grace  # nobody keeps it
