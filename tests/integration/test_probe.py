"""The client in Python on real servers: from the server itself, and from another machine."""

import json
from types import SimpleNamespace

import pytest

from lab.salt import CHECKOUT, SaltCall
from tests.conftest import made_lan
from tests.servers import INSTALLED, other_server

# Without waiting for others: the only servers here are ours and those of a test.
LOOK = """
import json, sys
import netboot_bootable, netboot_plan, netboot_probe, netboot_pxe
from netboot_records import Records
netboot_pxe.PAUSE_S = netboot_pxe.LAST_S = 0.4
plan = netboot_plan.plan(Records("/var/lib/netboot"))
found = netboot_probe.probe(plan, network=sys.argv[1] == "dhcp")
print(json.dumps([found, [text for _, _, text in netboot_bootable.findings(found)]]))
"""
TREE = "/srv/export/tftp/netboot/x86_64/alt_p11"
ISO = "/srv/export/dist/alt-p11-test-x86_64.iso"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A server that has tried itself, and another machine of its network."""
    with made_lan(tmp_path_factory, installed=INSTALLED, binds=[CHECKOUT]) as lan:
        pillar = {**lan.pillar, "probe": True}
        salt = SaltCall(lan.server, {"netboot": pillar})
        first = salt.apply(lan.server)
        assert first.failed == {}
        other = lan.lab.server("pc2", installed=INSTALLED, binds=[CHECKOUT])

        def run(command):
            return lan.server.run(["sh", "-c", command])

        def look(what="files"):
            python, libraries = CHECKOUT / ".venv/bin/python", CHECKOUT / "salt/_utils"
            words = ["env", f"PYTHONPATH={libraries}", str(python), "-c", LOOK, what]
            return json.loads(lan.server.run(words).stdout)

        yield SimpleNamespace(
            **vars(lan),
            salt=salt,
            first=first,
            other=other,
            at_other=SaltCall(other, {}),
            run=run,
            look=look,
        )


def test_apply_tries_once(site):
    tried = site.first.states["netboot-bootable"]
    assert tried["comment"] == "bios, efi-x86_64 can load all of 3 entries."
    assert "warnings" not in tried
    again = site.salt.apply(site.server)
    assert (again.failed, again.changed) == ({}, {})
    assert again.states["netboot-bootable"]["comment"].startswith("Nothing has changed since")
    foretold = site.salt.apply(site.server, "test=True")
    assert foretold.states["netboot-bootable"]["comment"].startswith("The menu would be tried")
    assert site.salt.call(site.server, "netboot.check") == [
        one for one in site.salt.call(site.server, "netboot.check") if one["severity"] == "info"
    ]


def test_all_kinds_of_firmware_are_answered_and_none_is_a_client(site):
    found, said = site.look("dhcp")
    assert said == []
    # The router offers an address to all of them.
    answered = {
        name: one["file"]
        for name, offers in found["offers"]["eth0"].items()
        for one in offers
        if one["boots"]
    }
    assert answered["bios (0)"] == "undionly.kpxe"
    assert answered["efi-x86_64 (9), iPXE"] == "config-x86_64.ipxe"
    assert answered["efi-x86_64, HTTP boot (16)"].startswith("http://")
    assert "no boot ROM" not in answered
    assert site.salt.call(site.server, "netboot.clients") == []
    assert site.salt.call(site.server, "netboot.hosts", "unknown=True") == []


BREAKAGES = {
    "stage": (f"chmod 0 {TREE}/live", f"chmod 644 {TREE}/live", "stage: http"),
    "kernel": (
        f"cp -a {TREE}/boot/vmlinuz /root/k; truncate -s 9 {TREE}/boot/vmlinuz",
        f"cp -a /root/k {TREE}/boot/vmlinuz",
        "kernel: http",
    ),
    "ISO": (f"mv {ISO} /root/", f"mv /root/*.iso {ISO}", "ISO: http"),
    "web server": ("systemctl stop nginx", "systemctl start nginx", "menu: http"),
    "dnsmasq": (
        "systemctl stop netboot-dnsmasq",
        "systemctl start netboot-dnsmasq",
        "boot loader: tftp",
    ),
    "loader": (
        "mv /srv/export/tftp/undionly.kpxe /root/",
        "mv /root/undionly.kpxe /srv/export/tftp/",
        "bios cannot boot: boot loader: tftp",
    ),
    "menu": (
        "mv /srv/export/tftp/config-x86_64.ipxe /root/",
        "mv /root/config-x86_64.ipxe /srv/export/tftp/",
        "menu: the script tftp",
    ),
}


@pytest.mark.parametrize("name", BREAKAGES)
def test_breakage_is_named(site, name):
    breaks, mends, told = BREAKAGES[name]
    site.run(breaks)
    try:
        found, said = site.look()
    finally:
        site.run(mends)
    assert told in "\n".join(said)
    assert len(said) <= 3
    assert site.look()[1] == []


def test_dhcp_that_is_dead(site):
    site.run("systemctl stop netboot-dnsmasq")
    try:
        _found, said = site.look("dhcp")
        checked = site.salt.call(site.server, "netboot.check")
    finally:
        site.run("systemctl start netboot-dnsmasq")
    assert "service.dead" in {one["key"] for one in checked}, "without a try, too"
    assert "cannot boot: DHCP: this server offers nothing (netboot:dhcp)." in said[0]


def test_another_server_is_a_warning(site, tmp_path):
    with other_server(site.lab, tmp_path):
        found, said = site.look("dhcp")
    assert found["others"] == [site.lab.address]
    assert found["wrong"] == []
    assert f"{site.lab.address} (" in said[0]
    assert "also offers a boot (other.0)" in said[0]


def test_another_proxy_is_a_warning(site):
    """As the states themselves make one: it names its file on port 4011 alone."""
    network = f"{site.lab.address.rpartition('.')[0]}.0,proxy,255.255.255.0"
    words = ["--port=0", "--user=root", "--pid-file=/run/other.pid", f"--dhcp-range={network}"]
    words += [f"--pxe-service={kind},other,other.efi" for kind in ("X86-64_EFI", "BC_EFI")]
    site.other.run(["dnsmasq", *words])
    try:
        found, said = site.look("dhcp")
    finally:
        site.other.run(["sh", "-c", "kill $(cat /run/other.pid)"])
    assert (found["others"], found["wrong"]) == ([site.other.address], [])
    assert f"{site.other.address} (" in said[0]
    assert "other.efi" in said[0]


def test_from_another_machine(site):
    """It sees what the server itself cannot: here, that UDP 69 is dropped on the way."""
    plan = json.dumps(site.salt.call(site.server, "netboot.expected"))
    good = site.at_other.call(site.other, "netboot.probe", f"plan={plan}")
    assert {one["severity"] for one in good} == {"info"}
    assert site.salt.call(site.server, "netboot.clients") == []
