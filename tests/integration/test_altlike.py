"""
A machine that looks like ALT p11, and is not: what is applied to it by ALT's names.

Its apt-rpm is a stand-in on the real rpm; its programs are Debian's, as rpm packages with ALT's
paths, users and units. See lab/altlike.
"""

from types import SimpleNamespace

import pytest

from lab import Lab
from lab.altlike.dress import DEBIAN
from lab.iso import make_iso
from lab.salt import CHECKOUT, SaltSsh
from tests.integration.test_apply import get


@pytest.fixture(scope="module")
def alt(tmp_path_factory):
    iso = make_iso(tmp_path_factory.mktemp("iso"))
    with Lab(logs=tmp_path_factory.mktemp("logs")) as lab:
        server = lab.server("netboot-altlike", packages=DEBIAN, binds=[CHECKOUT])
        dress = ["env", f"PYTHONPATH={CHECKOUT}", "python3", "-m", "lab.altlike.dress"]
        server.run(dress, timeout=300)
        web = lab.web(iso.path.parent)
        image = {"url": f"{web.url}/{iso.path.name}", "checksum": {"sha256": iso.sha256}}
        pillar = {"images": {"ALT p11": image}, "methods": ["http", "cifs", "ftp"]}
        salt = SaltSsh(lab, [server], {"netboot": pillar})
        yield SimpleNamespace(lab=lab, server=server, iso=iso, salt=salt)


def test_it_looks_like_alt(alt):
    grains = alt.salt.call(alt.server, "grains.items")
    assert (grains["os"], grains["os_family"]) == ("ALT Server", "ALT Server")
    assert alt.salt.call(alt.server, "netboot.target")["platform"] == ["altlinux"]
    installed = alt.salt.call(alt.server, "pkg.list_pkgs")
    assert sorted(installed) == ["apt-repo", "bash", "python3"]
    assert alt.server.run(["nginx", "-v"], check=False).returncode != 0


def test_foretold(alt):
    foretold = alt.salt.apply(alt.server, "test=True")
    assert foretold.failed == {}, foretold.text
    assert foretold.status == 0, foretold.text
    assert foretold.changed["netboot-dhcp-packages"] == {"dnsmasq": "would be installed"}


def test_applied(alt):
    applied = alt.salt.apply(alt.server)
    assert applied.failed == {}
    assert applied.status == 0
    assert applied.changed["netboot-firmware-packages"] == {
        "ipxe-bootimgs": {"new": "1:20240725-alt1", "old": ""}
    }
    asked = alt.server.run(["rpm", "-q", "dnsmasq", "ipxe-bootimgs", "nginx", "samba", "vsftpd"])
    assert "nginx-1.26.2-alt1.noarch" in asked.stdout


def test_services_run_as_alts_users(alt):
    for service in ("netboot-dnsmasq", "nginx", "smb", "netboot-vsftpd"):
        assert alt.server.run(["systemctl", "is-active", service]).stdout == "active\n"
    owners = {"_dnsmasq": "dnsmasq", "_nginx": "nginx"}
    for process in alt.server.run(["ps", "-e", "-o", "user:20=,comm="]).stdout.splitlines():
        user, name = process.split(maxsplit=1)
        assert owners.get(user, name) == name
        owners = {one: program for one, program in owners.items() if one != user}
    assert owners == {}


def test_files_are_served(alt):
    assert get(alt, f"/dist/{alt.iso.path.name}")[2] == alt.iso.sha256
    assert get(alt, "/tftp/snponly-x86_64.efi")[0] == "200"
    listing = alt.lab.run(
        ["curl", "-s", f"ftp://{alt.server.address}/dist/"], capture_output=True
    ).stdout
    assert alt.iso.path.name in listing
    alt.server.run(["test", "-e", "/etc/nginx/sites-enabled.d/netboot.conf"])


def test_second_apply_changes_nothing(alt):
    again = alt.salt.apply(alt.server)
    assert (again.failed, again.changed) == ({}, {})


def test_clean(alt):
    cleaned = alt.salt.apply(alt.server, "netboot.clean")
    assert cleaned.failed == {}
    assert alt.server.run(["ls", "/etc/nginx/sites-enabled.d"]).stdout == ""
    assert alt.salt.apply(alt.server, "netboot.clean").changed == {}
