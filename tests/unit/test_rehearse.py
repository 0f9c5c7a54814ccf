"""Rehearsals before there is a lab: the command line, ISOs of this machine, what ends a boot."""

import hashlib
import json
import re
from types import SimpleNamespace

import pytest

from lab import LabError
from lab.client import FIRMWARE
from lab.rehearsal_source import isos_of, pillar_of, wrong_sums
from lab.rehearse import (
    _ends,
    _first,
    arguments,
    chosen_personas,
    fit,
    loaders_of,
    prepared,
    rehearse,
)

TEXTS = {"failed": "could not be loaded", "missing": "Not ready yet", "refused": "Wrong user"}


def people(*words):
    return [one.name for one in chosen_personas(arguments(words))]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ([], ["bios", "efi-aarch64", "efi-loongarch64", "efi-riscv64", "efi-x86_64"]),
        (["--firmware", "bios"], ["bios"]),
        (["--firmware", "bios,efi-i386"], ["bios", "efi-i386"]),
        (["--firmware", "bios", "--firmware", "efi-x86_64"], ["bios", "efi-x86_64"]),
        (["--persona", "network-*"], ["network-first-bios", "network-first"]),
        (["--persona", "network-*", "--firmware", "bios"], ["network-first-bios"]),
    ],
)
def test_personas_of_the_command_line(words, found):
    assert sorted(people(*words)) == sorted(found)


def test_all_personas():
    assert len(people("--persona", "all")) >= 12


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--persona", "hyperv"], "No persona 'hyperv'; there are aarch64-board, bios,"),
        (["--firmware", "uefi"], f"No firmware 'uefi'; there are {', '.join(FIRMWARE)}."),
    ],
)
def test_names_that_are_not_there(words, said):
    with pytest.raises(LabError, match=re.escape(said)):
        people(*words)


PILLAR = """
netboot:
  images:
    ALT Server 11.1:
      url: http://192.0.2.7/alt-server-11.1-x86_64.iso
      checksum: {sha256: SHA}
      variants: [livecd]
  hosts: {pc1: {mac: '52:54:00:aa:00:01'}}
""".replace("SHA", "a" * 64)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--image", "nothing*"], "No image 'nothing*' in the pillar; there are ALT Server 11.1."),
        (["--method", "nfs"], "No method 'nfs' in the pillar; there are http."),
        (["--host", "pc9"], "No host 'pc9' in the pillar; there are pc1."),
        (["--firmware", "efi-i386"], "There is nothing to boot."),
    ],
)
def test_pillar_without_what_is_asked_for(tmp_path, words, said):
    path = tmp_path / "theirs.sls"
    path.write_text(PILLAR)
    with pytest.raises(LabError, match=re.escape(said)):
        rehearse(["--pillar", str(path), "--out", str(tmp_path / "out"), *words])
    assert not (tmp_path / "out" / "results.json").exists()


def test_persona_of_the_user_is_plain_if_it_says_so(tmp_path):
    (tmp_path / "room7.yaml").write_text("{title: Room 7, firmware: bios, plain: true}")
    assert "room7" in people("--personas", str(tmp_path))


def test_pillar_without_jinja_is_read_as_it_is(tmp_path):
    path = tmp_path / "theirs.sls"
    path.write_text("netboot: {interface: eth0}")
    assert pillar_of(path, "netboot1") == ({"netboot": {"interface": "eth0"}}, [])


@pytest.mark.parametrize("text", ["netboot: {a: 1", "netboot: {}\nnetboot: {}", "{% if x %}"])
def test_slips_are_reported_before_salt_is_asked(tmp_path, text):
    path = tmp_path / "theirs.sls"
    path.write_text(text)
    pillar, (slip,) = pillar_of(path, "netboot1")
    assert pillar == {}
    assert slip.startswith(f"{path}, line ")


def test_pillar_that_is_not_there(tmp_path):
    with pytest.raises(LabError, match="none.sls does not exist; --pillar takes a file or"):
        pillar_of(tmp_path / "none.sls", "netboot1")
    assert "has no top.sls" in pillar_of(tmp_path, "netboot1")[1][0]


@pytest.fixture
def iso(tmp_path):
    path = tmp_path / "isos" / "alt-server-11.1-x86_64.iso"
    path.parent.mkdir()
    path.write_bytes(b"ISO")
    (tmp_path / "web").mkdir()
    return path


@pytest.mark.parametrize("scheme", ["http", "file"])
def test_iso_of_this_machine_is_served_as_it_is(tmp_path, iso, scheme):
    url = iso.as_uri() if scheme == "file" else f"http://192.0.2.7/{iso.name}"
    pillar = {"images": {"ALT": {"url": url, "checksum": {"sha256": "a" * 64}}}}
    isos = isos_of(pillar, tmp_path / "web", None if scheme == "file" else iso.parent)
    assert (isos["ALT"].made, isos["ALT"].how) == (None, str(iso))
    assert isos["ALT"].path.read_bytes() == b"ISO"
    (wrong,) = wrong_sums(pillar, isos)
    digest = hashlib.sha256(b"ISO").hexdigest()
    assert wrong.startswith("netboot:images:ALT:checksum:sha256: is not that of")
    assert wrong.endswith(digest)
    pillar["images"]["ALT"]["checksum"]["sha256"] = digest.upper()
    assert wrong_sums(pillar, isos) == []


def test_iso_with_a_sum_file_gets_its_own_checksum(tmp_path, iso):
    pillar = {"images": {"ALT": {"url": iso.as_uri(), "sums": True}}}
    isos = isos_of(pillar, tmp_path / "web")
    image = fit(pillar, isos, {}, "198.18.0", "http://198.18.0.1:8000").pillar["images"]["ALT"]
    assert image["url"] == f"http://198.18.0.1:8000/{iso.name}"
    assert image["checksum"] == {"sha256": hashlib.sha256(b"ISO").hexdigest()}


def test_boot_loaders_beside_the_isos(tmp_path, iso):
    (iso.parent / "ipxe.efi").write_bytes(b"iPXE")
    pillar = {
        "firmware": {"efi-x86_64": {"url": "http://192.0.2.7/ipxe.efi"}},
        "secure_boot": {"efi-x86_64": {"shim": {"url": "http://192.0.2.7/shim.efi"}}},
    }
    found = loaders_of(pillar, tmp_path / "web", iso.parent)
    assert found == {"firmware.efi-x86_64": ("ipxe.efi", None)}
    assert (tmp_path / "web" / "ipxe.efi").read_bytes() == b"iPXE"


def test_mistakes_in_what_is_left_out(tmp_path, capsys):
    """Its files are not here, so the lab never sees them."""
    shim = {"url": "http://192.0.2.7/shim.efi", "checksum": {"sha256": "0" * 64}}
    pillar = tmp_path / "netboot.sls"
    pillar.write_text(json.dumps({"netboot": {"secure_boot": {"efi-x86_64": {"shim": shim}}}}))
    with pytest.raises(SystemExit):
        prepared(SimpleNamespace(pillar=pillar, minion="netboot1"), tmp_path)
    assert "netboot:secure_boot:efi-x86_64:ipxe:url: is missing" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("serial", "what"),
    [
        ("x NETBOOT-ALT-MARKER digest=1\n", "marker"),
        ("NETBOOT-ALT-REFUSED no stage\n", "marker"),
        ("[ 1.0] Kernel panic - not syncing: no init\n", "panic"),
        ("This could not be loaded from 192.0.2.1.", "failed"),
        ("NETBOOT-ALT-LOCAL-DISK", "disk"),
        ("Not ready yet ... could not be loaded", "missing"),
    ],
)
def test_what_ends_a_boot(serial, what):
    client = SimpleNamespace(wait_for=lambda pattern, timeout: re.search(pattern, serial))
    found, said = _first(client, _ends(TEXTS), 1)
    assert found == what
    assert said[0] in serial


def test_silence_is_reported_with_the_last_line(tmp_path):
    log = tmp_path / "serial.log"
    log.write_text("Loading\nthe last line\n")

    def wait_for(pattern, timeout):
        raise LabError("client0 was not there after 1 s")

    client = SimpleNamespace(wait_for=wait_for, serial_log=log)
    with pytest.raises(LabError, match="said nothing for 1 s; .*: the last line"):
        _first(client, _ends(TEXTS), 1)
