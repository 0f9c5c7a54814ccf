"""
Sum files: all usual forms are read, and what cannot be read is named.
"""

import re
import time

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
"""
ONE = "1f" * 32
FORMS = {
    "coreutils": f"{ONE}  a.iso",
    "coreutils, binary": f"{ONE} *a.iso",
    "coreutils, escaped": f"\\{ONE}  C:\\\\iso\\\\a.iso",
    "one space": f"{ONE} a.iso",
    "a tab": f"{ONE}\ta.iso",
    "upper case, spaces around": f"  {ONE.upper()}  a.iso  ",
    "BSD": f"SHA256 (a.iso) = {ONE}",
    "openssl": f"SHA256(a.iso)= {ONE}",
    "openssl 3": f"SHA2-256(iso/a.iso)= {ONE}",
    "name first": f"a.iso  {ONE}",
    "name and colon": f"a.iso: {ONE}",
    "path": f"{ONE}  /srv/iso/a.iso",
    "path of Windows": f"{ONE} *D:\\iso\\a.iso",
    "the name without a path counts": f"{'0' * 64}  old/a.iso\n{ONE}  ./a.iso",
    "another algorithm too": f"MD5 (a.iso) = {'0' * 32}\nSHA256 (a.iso) = {ONE}",
    "signed": f"-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\n{ONE}  a.iso\n-----BEGIN",
    "comment": f"# a.iso is the newest\n{ONE}  a.iso",
    "CR": f"{'0' * 64}  b.iso\r{ONE}  a.iso\r",
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_form_of_a_sum_file(form):
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"):
        for line_end in ("\n", "\r\n", ""):
            text = form.replace("\n", line_end or "\n") + line_end
            assert iso_sums.find(text.encode(encoding), "sha256", "a.iso") == ONE, encoding
    assert iso_sums.find(form.encode(), "sha256", "c.iso") is None


def test_sum_file_in_another_encoding():
    text = f"{'0' * 64}  \u0438\u0441\u043e/b.iso\n{ONE}  \u0438\u0441\u043e/a.iso\n"
    for encoding in ("koi8-r", "cp1251", "utf-8"):
        assert iso_sums.find(text.encode(encoding), "sha256", "a.iso") == ONE


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"#\n{'d' * 63}  a.iso", "line 2 names a.iso, but is not a 64-digit sha256 digest and"),
        (f"SHA3-256 (a.iso) = {ONE}", "line 1 names a.iso, but"),
        (f"a.iso: {' '.join(['1F1F'] * 16)}", "line 1 names a.iso, but"),
        (f"{'0' * 64}  a.iso\n{ONE} *./a.iso", "it has 2 different digests of a.iso"),
        (f"{'0' * 64}  x/a.iso\n{ONE}  y/a.iso", "it has 2 different digests of a.iso"),
    ],
)
def test_sum_file_that_cannot_be_read(bad, text, said):
    bad.files["/SHA256SUM"] = text.encode()
    with pytest.raises(CommandExecutionError, match=re.escape(f"/SHA256SUM: {said}")):
        iso_sums.expected([f"{bad.url}/a.iso"], 60)


@pytest.mark.parametrize("line", [" ", "(", "=", f"{ONE} ", "a.iso ", ") = "])
def test_hostile_sum_file_is_read_at_once(line):
    begun = time.monotonic()
    assert iso_sums.find((line * (1 << 20))[: 1 << 20].encode(), "sha256", "b.iso") is None
    assert time.monotonic() - begun < 10  # where a pattern tries all ways, it takes minutes


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


def test_sum_file_of_an_address_with_a_query(bad):
    bad.files["/ALT%20Linux/SHA256SUM?token=5"] = f"{ONE}  a b.iso\n".encode()
    found = iso_sums.expected([f"{bad.url}/ALT Linux/a%20b.iso?token=5"], 60)
    assert found["checksum"] == {"sha256": ONE}


def test_sum_file_that_has_the_name_on_this_server(bad):
    bad.files["/SHA256SUM"] = f"{ONE}  mine.iso\n".encode()
    found = iso_sums.expected([f"{bad.url}/download"], 60, file="mine.iso")
    assert found["checksum"] == {"sha256": ONE}


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
