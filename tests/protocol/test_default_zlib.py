"""The module that compresses by default, and what its levels mean."""

from __future__ import annotations

import subprocess
import sys
import zlib
from typing import Any

import pytest

from anyws.protocol import PerMessageDeflate, Role, default_zlib
from anyws.protocol.default_zlib import is_zlib_ng, zlib_ng_level
from anyws.protocol.deflate import PRESETS, DeflateCodec
from benchmarks.load import json_messages
from tests.conformance.deflating import codec_of

WITHOUT_ZLIB_NG = "import sys; sys.modules['zlib_ng'] = None; "


def printed(code: str) -> str:
    """Return what a fresh interpreter prints."""
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip()


def size_of(codec: DeflateCodec, messages: list[str]) -> int:
    """Return the size of the messages when sent one after another."""
    return sum(len(codec.encode(each.encode(), first=True, fin=True, compress=True)[0]) for each in messages)


def test_zlib_ng_is_the_default_if_it_is_installed() -> None:
    expected = pytest.importorskip("zlib_ng.zlib_ng")
    assert default_zlib() is expected
    assert is_zlib_ng(default_zlib())
    assert not is_zlib_ng(zlib)


def test_zlib_is_the_default_otherwise() -> None:
    code = WITHOUT_ZLIB_NG + "import anyws.protocol; print(anyws.protocol.default_zlib().__name__)"
    assert printed(code) == "zlib"


def test_it_is_imported_for_the_first_connection_that_compresses() -> None:
    pytest.importorskip("zlib_ng")
    before = "import sys, anyws; loaded = lambda: print('zlib_ng' in sys.modules); "
    after = "deflate = anyws.PerMessageDeflate(); loaded(); deflate.accept(deflate.offers()[0]); loaded()"
    assert printed(before + after).split() == ["False", "True"]


def test_little_memory_means_zlib() -> None:
    """A compressor of zlib-ng uses more than these levels allow."""
    assert [PerMessageDeflate(mem_level=level).library.__name__ for level in (1, 2, 3)] == ["zlib"] * 3
    assert all(PerMessageDeflate(mem_level=level).library is default_zlib() for level in range(4, 10))
    assert PRESETS["memory"].library.__name__ == "zlib"
    assert PerMessageDeflate(mem_level=9, zlib=zlib).library is zlib


@pytest.mark.parametrize("preset", ["default", "ratio", "speed"])
def test_both_modules_compress_a_preset_about_equally(preset: Any) -> None:
    """The level of zlib-ng is chosen so that messages grow by at most a twentieth."""
    zlib_ng: Any = pytest.importorskip("zlib_ng.zlib_ng")
    settings = PRESETS[preset]
    arguments = {
        name: getattr(settings, name) for name in ("server_max_window_bits", "client_max_window_bits", "mem_level")
    }
    messages = json_messages(50, 1024)
    agreed = {name: bits for name, bits in arguments.items() if name != "mem_level" and bits}
    sizes = {}
    for name, level, module in (
        ("zlib", settings.level, zlib),
        ("zlib-ng", zlib_ng_level(settings.level), zlib_ng),
        ("default", settings.level, None),
    ):
        deflate = PerMessageDeflate(**arguments, level=level, zlib=module)
        sizes[name] = size_of(codec_of(Role.SERVER, deflate, **agreed), messages)
    assert sizes["zlib-ng"] <= sizes["zlib"] * 1.05
    assert sizes["default"] == sizes["zlib-ng"]


def test_each_level_has_its_equivalent() -> None:
    levels = [zlib_ng_level(level) for level in range(10)]
    assert levels == sorted(levels)
    assert zlib_ng_level(-1) == zlib_ng_level(6)  # zlib's default
    assert set(levels) <= set(range(10))
