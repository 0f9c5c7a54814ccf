"""Real applies on three releases of Debian, each with another Python, and another Salt.

Debian 11 and 12 apply a checkout of their own, without a master: salt-ssh of the Salt in
requirements.lock sends libraries along that want a newer Python than Debian 11's.
"""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from lab import Lab
from lab.iso import make_iso
from lab.roots import salt_program
from lab.salt import LIBRARIES, OtherSaltCall, SaltSsh
from tests.checkout import FreshCheckout
from tests.integration.test_apply import get

PACKAGES = ["dnsmasq-base", "ipxe", "nginx", "samba", "vsftpd"]
OWN = "/opt/netboot"  # where the machine has its checkout
# The release, None: this machine's, as everywhere else; its Python; the Salt on it, None: salt-ssh.
RELEASES = {
    "debian11": ("bullseye", "3.9", "3006.28"),
    "debian12": (None, "3.11", "3007.15"),
    "debian13": ("trixie", "3.13", None),
}

# Prints the SHA-256 of a file on a TFTP server (RFC 1350, RFC 2348).
TFTP = r"""
import hashlib, socket, struct, sys
digest = hashlib.sha256()
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
    sock.settimeout(5)
    wanted = sys.argv[2].encode()
    sock.sendto(b"\0\1" + wanted + b"\0octet\0blksize\x001428\0", (sys.argv[1], 69))
    block = 0
    while True:
        packet, sender = sock.recvfrom(2000)
        kind, number = struct.unpack("!HH", packet[:4])
        if kind == 3 and number == (block + 1) % 65536:
            digest.update(packet[4:])
            block = number
        elif kind != 6:
            sys.exit(f"TFTP: {packet[:80]}")
        sock.sendto(struct.pack("!HH", 4, block), sender)
        if kind == 3 and len(packet) < 1432:
            break
print(digest.hexdigest())
"""


@pytest.fixture(
    scope="module",
    params=[
        pytest.param("debian11", marks=pytest.mark.long),
        "debian12",
        pytest.param("debian13", marks=pytest.mark.long),
    ],
)
def other(request, tmp_path_factory):
    """A server of that release; all methods that need no kernel of its own."""
    release, python, salt_version = RELEASES[request.param]
    iso = make_iso(tmp_path_factory.mktemp("iso"))
    with Lab(logs=tmp_path_factory.mktemp("logs")) as lab:
        web = lab.web(iso.path.parent)
        image = {"url": f"{web.url}/{iso.path.name}", "checksum": {"sha256": iso.sha256}}
        pillar = {"images": {"ALT p11": image}, "methods": ["http", "cifs", "ftp"]}
        pillar["schedule"] = {"hours": 24}
        packages = [*PACKAGES, *LIBRARIES]
        if salt_version:
            program = salt_program(salt_version)
            server = lab.server("netboot1", packages=packages, binds=[program], release=release)
            base = Path(f"{server.files}{OWN}")
            base.mkdir()
            FreshCheckout(base)
            salt = OtherSaltCall(server, program, f"{OWN}/netboot-alt", {"netboot": pillar})
        else:
            server = lab.server("netboot1", packages=packages, release=release)
            salt = SaltSsh(lab, [server], {"netboot": pillar})
        yield SimpleNamespace(
            lab=lab,
            server=server,
            iso=iso,
            salt=salt,
            pillar=pillar,
            python=python,
            salt_version=salt_version,
        )


def test_it_has_the_python_and_the_salt_that_are_meant(other):
    assert f"Python {other.python}." in other.server.run(["python3", "--version"]).stdout
    version = other.salt.call(other.server, "test.version")
    assert other.salt_version in (version, None)


def test_mistyped_key_is_named(other):
    other.salt.write_pillar({"netboot": {**other.pillar, "imags": {}}})
    wrong = other.salt.apply(other.server)
    other.salt.write_pillar({"netboot": other.pillar})
    assert list(wrong.states) == ["netboot-config-valid"]
    assert (
        "netboot:imags: unknown key, did you mean images?"
        in wrong.failed["netboot-config-valid"]["comment"]
    )
    assert wrong.status != 0


def test_foretold(other):
    foretold = other.salt.apply(other.server, "test=True")
    assert (foretold.status, foretold.failed) == (0, {})
    assert "netboot-image-alt_p11-fetched" in foretold.changed


def test_applied(other):
    applied = other.salt.apply(other.server)
    assert applied.failed == {}
    assert applied.status == 0
    for service in ("netboot-dnsmasq", "nginx", "smbd", "netboot-vsftpd"):
        assert other.server.run(["systemctl", "is-active", service]).stdout == "active\n"
    entries = other.salt.call(other.server, "netboot.entries")
    assert {entry["method"] for entry in entries} == {"http", "cifs", "ftp"}
    schedule = other.salt.call(other.server, "netboot.status")["schedule"]
    if other.salt_version:
        assert (schedule["by"], bool(schedule["next"]), schedule["failed"]) == (
            "timer",
            True,
            False,
        )
    else:
        assert schedule is None, "not over salt-ssh"


def tftp(other, path):
    argv = [sys.executable, "-c", TFTP, other.server.address, path]
    return other.lab.run(argv, capture_output=True).stdout.strip()


def test_clients_get_the_bytes_of_the_iso(other):
    kernel = f"netboot/x86_64/alt_p11{other.iso.kernel}"
    assert get(other, f"/dist/{other.iso.path.name}")[2] == other.iso.sha256
    assert get(other, f"/tftp/{kernel}")[2] == other.iso.kernel_sha256
    assert tftp(other, kernel) == other.iso.kernel_sha256


def test_status_page_is_made_by_the_python_that_is_there(other):
    other.server.run(["systemctl", "start", "netboot-status"])
    made = other.server.run(["cat", "/var/lib/netboot-status/www/status.json"]).stdout
    assert [image["state"] for image in json.loads(made)["images"]] == ["ready"]
    assert {one["state"] for one in json.loads(made)["services"]} == {"active"}
    assert get(other, "/netboot/page.css")[0] == "200"


def test_doctor_finds_nothing(other):
    """Besides what is said of an image whose first stage asks for its address late."""
    found = other.salt.call(other.server, "netboot.doctor")
    assert [one["key"] for one in found] == ["network.spanning_tree"], found


def test_second_apply_changes_nothing(other):
    again = other.salt.apply(other.server)
    assert (again.status, again.failed, again.changed) == (0, {}, {})


def test_clean(other):
    cleaned = other.salt.apply(other.server, "netboot.clean")
    assert cleaned.failed == {}
    assert other.salt.apply(other.server, "netboot.clean").changed == {}
