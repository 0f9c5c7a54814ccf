"""
Sum files: all usual forms are read, and what cannot be read is named.
"""

import pytest
from salt.exceptions import CommandExecutionError

import iso_sources
import iso_sums

from .sources import BadFtp, BadWeb, serving


@pytest.fixture
def bad():
    with serving(BadWeb()) as server:
        yield server


@pytest.fixture
def ftp():
    with serving(BadFtp()) as server:
        yield server


LINES = f"""{"a" * 64}  a.iso
{"B" * 64} *b.iso
{"c" * 64}  ./c.iso\r
{"d" * 63}  short.iso
{"e" * 64}  with space.iso
a.iso  {"f" * 64}
"""


def test_sum_file():
    assert iso_sums.parse(LINES, 64) == {
        "a.iso": "a" * 64,
        "b.iso": "b" * 64,
        "c.iso": "c" * 64,
        "with space.iso": "e" * 64,
    }


def test_strongest_sum_file_that_names_the_iso(bad):
    bad.files["/MD5SUM"] = b"0" * 32 + b"  a.iso\n"
    bad.files["/SHA512SUM"] = b"1" * 128 + b"  b.iso\n"
    found = iso_sums.expected([f"{bad.url}/a.iso"], 60)
    assert found["checksum"] == {"md5": "0" * 32}
    found = iso_sums.expected([f"{bad.url}/gone/b.iso", f"{bad.url}/b.iso"], 60)
    assert found["checksum"] == {"sha512": "1" * 128}
    assert found["url"] == f"{bad.url}/SHA512SUM"


def test_sum_file_over_ftp_and_from_a_folder(ftp, tmp_path):
    ftp.files["p11/SHA256SUM"] = (tmp_path / "SHA256SUM").write_text(LINES) and LINES.encode()
    for folder in (f"{ftp.url}/p11", f"file://{tmp_path}"):
        found = iso_sums.expected([f"{folder}/a.iso"], 60)
        assert found["checksum"] == {"sha256": "a" * 64}
        assert iso_sums.expected([f"{folder}/a.iso"], 60, found) == found


def test_sum_file_that_stalls(bad, monkeypatch):
    monkeypatch.setattr(iso_sources, "_TEXT_PAUSES_S", ())
    bad.files["/SHA512SUM"] = LINES.encode()
    bad.always = {"stall": 10}
    with pytest.raises(CommandExecutionError, match="timed out|in 1 s"):
        iso_sums.expected([f"{bad.url}/a.iso"], 1)


def test_page_instead_of_a_sum_file(bad):
    bad.files["/SHA512SUM"] = b""
    bad.always = {"html": True}
    with pytest.raises(CommandExecutionError, match="SHA512SUM: the server sent text/html"):
        iso_sums.expected([f"{bad.url}/a.iso"], 60)
