"""A well-behaved client in a storm: ``python -m soak.well_behaved_client PORT`` prints latencies when stdin ends."""

from __future__ import annotations

import json
import select
import socket
import statistics
import sys
import time

from anyws.protocol import Opcode, serialize_frame

from .client import REQUEST

_PAUSE = 0.02  # seconds between two messages


def main(port: int) -> None:
    """Exchange messages until stdin ends. Exit with an error after a wrong echo, or if the connection is lost."""
    latencies: list[float] = []
    with socket.create_connection(("127.0.0.1", port)) as connection, connection.makefile("rb") as stream:
        connection.sendall(REQUEST)
        while stream.readline() != b"\r\n":
            pass
        print("open", flush=True)
        while not select.select([sys.stdin], [], [], _PAUSE)[0]:
            message = b"%d messages before" % len(latencies)
            begin = time.perf_counter()
            connection.sendall(serialize_frame(Opcode.BINARY, message, masking_key=b"\x37\xfa\x21\x3d"))
            if stream.read(2 + len(message)) != serialize_frame(Opcode.BINARY, message):
                raise SystemExit("the server did not serve the well-behaved client")
            latencies.append((time.perf_counter() - begin) * 1000)
    cuts = statistics.quantiles(latencies, n=100)
    print(json.dumps({"messages": len(latencies), "median": cuts[49], "p99": cuts[98], "most": max(latencies)}))


if __name__ == "__main__":
    main(int(sys.argv[1]))
