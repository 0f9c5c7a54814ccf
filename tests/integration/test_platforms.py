"""Real applies on other releases of Debian, whose packages come from this machine's own mirror."""

from types import SimpleNamespace

import pytest

from lab import Lab
from lab.iso import make_iso
from lab.salt import SaltSsh
from tests.integration.test_apply import get

PACKAGES = ["dnsmasq-base", "ipxe", "nginx", "samba", "vsftpd"]
# Not Debian 11: tornado and urllib3, which salt-ssh of 3008 sends along, want more than Python 3.9.
RELEASES = {"trixie": "3.13"}


@pytest.fixture(scope="module", params=RELEASES)
def other(request, tmp_path_factory):
    """A server of that release; all methods that need no kernel of its own."""
    iso = make_iso(tmp_path_factory.mktemp("iso"))
    with Lab(logs=tmp_path_factory.mktemp("logs")) as lab:
        server = lab.server("netboot1", packages=PACKAGES, release=request.param)
        web = lab.web(iso.path.parent)
        image = {"url": f"{web.url}/{iso.path.name}", "checksum": {"sha256": iso.sha256}}
        pillar = {"images": {"ALT p11": image}, "methods": ["http", "cifs", "ftp"]}
        salt = SaltSsh(lab, [server], {"netboot": pillar})
        yield SimpleNamespace(
            lab=lab, server=server, iso=iso, salt=salt, python=RELEASES[request.param]
        )


def test_it_has_the_python_that_is_meant(other):
    assert f"Python {other.python}." in other.server.run(["python3", "--version"]).stdout


def test_foretold(other):
    foretold = other.salt.apply(other.server, "test=True")
    assert (foretold.status, foretold.failed) == (0, {})


def test_applied(other):
    applied = other.salt.apply(other.server)
    assert applied.failed == {}
    assert applied.status == 0
    for service in ("netboot-dnsmasq", "nginx", "smbd", "netboot-vsftpd"):
        assert other.server.run(["systemctl", "is-active", service]).stdout == "active\n"
    assert get(other, f"/dist/{other.iso.path.name}")[2] == other.iso.sha256
    entries = other.salt.call(other.server, "netboot.entries")
    assert {entry["method"] for entry in entries} == {"http", "cifs", "ftp"}


def test_second_apply_changes_nothing(other):
    again = other.salt.apply(other.server)
    assert (again.failed, again.changed) == ({}, {})


def test_clean(other):
    cleaned = other.salt.apply(other.server, "netboot.clean")
    assert cleaned.failed == {}
    assert other.salt.apply(other.server, "netboot.clean").changed == {}
