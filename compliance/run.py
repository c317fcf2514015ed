"""One run: anyws in one role on one backend, with the testsuite as its peer."""

from __future__ import annotations

import json
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import anyio

from .echo import Backend
from .install import clean_environment, interpreter
from .processes import port_of, running
from .report import Report
from .tiers import Tier

__all__ = ["ROLES", "Role", "Run"]

Role = Literal["server", "client"]
ROLES: tuple[Role, ...] = get_args(Role)

_ROOT = Path(__file__).parent.parent
# wstest itself would listen on all interfaces, and cannot report the port that it chose. This is Python 2.7.
_WSTEST = """
from autobahntestsuite import wstest

listen = wstest.fuzzing.listenWS

def listen_on_loopback(factory, context):
    print("listening on port %d" % listen(factory, context, interface="127.0.0.1").getHost().port)

wstest.fuzzing.listenWS = listen_on_loopback
wstest.run()
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run of the testsuite.

    Attributes:
        role: the role of anyws.
        backend: the backend that anyws runs on.
        tier: the cases to run.
        suite: the folder of the testsuite's virtualenv.
        reports: the folder of all reports; each run creates its own subfolder.
    """

    role: Role
    backend: Backend
    tier: Tier
    suite: Path
    reports: Path

    @property
    def name(self) -> str:
        """A description of the run."""
        return f"{self.role} on {self.backend}"

    @property
    def folder(self) -> Path:
        """The folder with the logs and the report (``index.html``) of this run."""
        return self.reports / f"{self.role}-{self.backend}"

    async def run(self) -> tuple[str, list[str]]:
        """Run the cases. Return the counts, and a line for each problem."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        try:
            with anyio.fail_after(self.tier.time_limit):
                await (self._test_server() if self.role == "server" else self._test_client())
            report = Report(self.folder, self._agent, self.tier.count)
        except TimeoutError:
            return "no report", [f"timed out after {self.tier.time_limit:g} s in case {self._last_case()}"]
        except (OSError, RuntimeError) as exc:
            return "no report", [str(exc)]
        return report.summary, report.problems + self._unexpected_log_lines()

    async def _test_server(self) -> None:
        server = [sys.executable, "-m", "compliance.echo_server", "--backend", self.backend]
        async with running(server, self._log("anyws"), cwd=_ROOT) as process:
            port = await port_of(process, self._log("anyws"))
            servers = [{"agent": self._agent, "url": f"ws://127.0.0.1:{port}"}]
            wstest = self._wstest("fuzzingclient", {"servers": servers})
            async with running(wstest, self._log("wstest"), cwd=self.folder, env=clean_environment()) as fuzzer:
                await fuzzer.wait()
            if process.returncode is not None:
                raise RuntimeError(f"the server exited; see {self._log('anyws')}")

    async def _test_client(self) -> None:
        wstest = self._wstest("fuzzingserver", {"url": "ws://127.0.0.1:0"})
        async with running(wstest, self._log("wstest"), cwd=self.folder, env=clean_environment()) as fuzzer:
            port = await port_of(fuzzer, self._log("wstest"))
            client = [sys.executable, "-m", "compliance.echo_client", "--backend", self.backend]
            client += [f"ws://127.0.0.1:{port}", self._agent]
            async with running(client, self._log("anyws"), cwd=_ROOT) as process:
                if await process.wait() != 0:
                    raise RuntimeError(f"the client failed at case {self._last_case()}; see {self._log('anyws')}")

    def _wstest(self, mode: str, peer: dict[str, Any]) -> list[str | Path]:
        specification = self.folder / f"{mode}.json"
        specification.write_text(json.dumps(peer | {"outdir": str(self.folder), "cases": self.tier.patterns}))
        # -u 0: no web server.
        return [interpreter(self.suite), "-c", _WSTEST, "-m", mode, "-s", specification, "-u", "0"]

    @property
    def _agent(self) -> str:
        return f"anyws-{self.backend}"

    def _log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def _last_case(self) -> str:
        log = self._log("wstest")
        text = log.read_text(errors="replace") if log.exists() else ""
        cases = re.findall(r"^Running test case ID (\S+)", text, re.MULTILINE)
        return cases[-1] if cases else "none"

    def _unexpected_log_lines(self) -> list[str]:
        """Return the log lines of the program under test other than its port: warnings, errors, tracebacks."""
        lines = self._log("anyws").read_text(errors="replace").splitlines()
        return [f"log: {line}" for line in lines if not line.startswith("listening on port ")]
