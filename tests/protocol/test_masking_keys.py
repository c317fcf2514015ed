"""Masking keys: fresh and unpredictable (RFC 6455, sections 5.3 and 10.3)."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from itertools import count

import pytest

from anyws.protocol import masking


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The requested sizes, from a source that never returns the same 4 bytes twice."""
    sizes: list[int] = []
    numbers = count()

    def urandom(size: int) -> bytes:
        sizes.append(size)
        return b"".join(next(numbers).to_bytes(4, "big") for _ in range(size // 4))

    monkeypatch.setattr(os, "urandom", urandom)
    monkeypatch.setattr(masking, "_keys", [])
    return sizes


def test_each_key_is_used_once_and_keys_are_generated_in_batches(drawn: list[int]) -> None:
    keys = [masking.new_masking_key() for _ in range(1024 * 3)]
    assert drawn == [4096] * 3
    assert {len(key) for key in keys} == {4}
    assert len(set(keys)) == len(keys)


def test_threads_share_no_key(drawn: list[int]) -> None:
    keys: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: keys.extend([masking.new_masking_key() for _ in range(3000)])) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(keys) == len(set(keys)) == 12_000


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_child_process_generates_its_own_keys() -> None:
    code = """
import os
from anyws.protocol.masking import new_masking_key
new_masking_key()
reader, writer = os.pipe()
child = os.fork()
if child == 0:
    os.write(writer, b"".join(new_masking_key() for _ in range(1000)))
    os._exit(0)
os.waitpid(child, 0)
theirs = os.read(reader, 4000)
ours = b"".join(new_masking_key() for _ in range(1000))
print(len(theirs), ours == theirs)
"""
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout
    assert output == "4000 False\n"
