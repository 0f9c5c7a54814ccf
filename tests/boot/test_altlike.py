"""
A machine that looks like ALT p11, and is not: what is applied to it by ALT's names, and booted.

Its apt-rpm and control are stand-ins, on the real rpm; its programs are Debian's, as rpm packages
with ALT's paths, users and units. See lab/altlike.
"""

import json
import time
from types import SimpleNamespace

import pytest
import yaml

from lab import Lab, network
from lab.altlike.dress import DEBIAN
from lab.iso import make_iso
from lab.salt import CHECKOUT, SaltSsh
from tests.integration.test_apply import get

CLIENTS = ["curl", "smbclient"]  # they are no part of the look-alike
NUMBER = 70  # of the client that boots
RPCBIND = "netboot-nfs-control-rpcbind"
RECORD = "/var/lib/netboot/control/rpcbind.json"
# The users of vsftpd's processes while somebody is logged in.
FTP = """
import ftplib, subprocess, sys
with ftplib.FTP(sys.argv[1]) as session:
    session.login()
    subprocess.run(["ps", "-C", "vsftpd", "-o", "user:20="], check=True)
"""


@pytest.fixture(scope="module")
def alt(tmp_path_factory):
    iso = make_iso(tmp_path_factory.mktemp("iso"))
    with Lab(logs=tmp_path_factory.mktemp("logs")) as lab:
        server = lab.server("netboot-altlike", packages=[*DEBIAN, *CLIENTS], binds=[CHECKOUT])
        server.run(["apt-get", "-qq", "update"])
        server.run(["apt-get", "-qq", "-y", "--no-install-recommends", "install", *CLIENTS])
        dress = ["env", f"PYTHONPATH={CHECKOUT}", "python3", "-m", "lab.altlike.dress"]
        server.run(dress, timeout=300)
        web = lab.web(iso.path.parent)
        image = {"url": f"{web.url}/{iso.path.name}", "checksum": {"sha256": iso.sha256}}
        mac = network.client_mac(lab.number, NUMBER)
        pillar = {
            "images": {"ALT p11": image},
            "methods": ["http", "cifs", "nfs", "ftp"],
            "hosts": {"pc1": {"mac": mac, "image": "ALT p11", "variant": "install", "once": True}},
            "menu": {"timeout_s": 2},
        }
        salt = SaltSsh(lab, [server], {"netboot": pillar})
        yield SimpleNamespace(lab=lab, server=server, iso=iso, salt=salt)


def said(alt, *argv):
    return alt.server.run(argv).stdout


def test_it_looks_like_alt(alt):
    grains = alt.salt.call(alt.server, "grains.items")
    assert (grains["os"], grains["os_family"]) == ("ALT Server", "ALT Server")
    assert alt.salt.call(alt.server, "netboot.target")["platform"] == ["altlinux"]
    installed = alt.salt.call(alt.server, "pkg.list_pkgs")
    assert sorted(installed) == ["apt-repo", "bash", "control", "python3"]
    assert alt.server.run(["nginx", "-v"], check=False).returncode != 0


def test_launcher_asks_for_alts_packages_or_salt(alt):
    """`./netboot apply` where there is no Salt, then where there is one; with the real rpm."""
    checkout = "/root/netboot-alt"
    said(alt, "mkdir", checkout)
    names = ("netboot", "requirements.lock", "Saltfile", "conf", "pillar", "salt", "cli")
    said(alt, "cp", "-r", *(f"{CHECKOUT}/{name}" for name in names), checkout)
    launch = [f"{checkout}/netboot", "apply", "test=True"]
    refused = alt.server.run(launch, check=False)
    assert refused.returncode == 1
    assert refused.stderr.splitlines() == [
        "netboot: installing python3-base gcc glibc-devel python3-dev",
        "E: Couldn't find package python3-base",
        "netboot: could not install python3-base gcc glibc-devel python3-dev, which making .venv "
        "needs, or salt-call of Salt 3006, 3007 or 3008.",
    ]
    debians = ["apt-get", "-y", "--no-install-recommends", "install", "gcc"]
    assert "is not understood" in alt.server.run(debians, check=False).stderr
    salt = f'#!/bin/sh\nexec {CHECKOUT}/.venv/bin/salt-call "$@"\n'
    alt.server.run(["tee", "/usr/bin/salt-call"], input=salt)
    said(alt, "chmod", "755", "/usr/bin/salt-call")
    foretold = alt.server.run(launch)
    assert "would be fetched from http://" in foretold.stdout
    assert "Ready to boot now: no image yet." in foretold.stdout
    said(alt, "test", "!", "-e", f"{checkout}/.venv")
    said(alt, "rm", "-r", checkout, "/usr/bin/salt-call")


def test_program_on_our_port_is_named(alt):
    said(alt, "systemd-run", "--unit=own", "python3", "-m", "http.server", "80")
    held = alt.salt.apply(alt.server, "netboot.ports")
    said(alt, "systemctl", "stop", "own")
    assert list(held.failed) == ["netboot-ports-free"]
    assert "own.service" in held.failed["netboot-ports-free"]["comment"]


def test_foretold(alt):
    foretold = alt.salt.apply(alt.server, "test=True")
    assert foretold.failed == {}, foretold.text
    assert foretold.status == 0, foretold.text
    assert foretold.changed["netboot-dhcp-packages"] == {"dnsmasq": "would be installed"}
    assert foretold.changed[RPCBIND] == {"rpcbind": {"old": None, "new": "server"}}


def test_applied(alt):
    applied = alt.salt.apply(alt.server)
    assert applied.failed == {}
    assert applied.status == 0
    assert applied.changed["netboot-firmware-packages"] == {
        "ipxe-bootimgs": {"new": "1:20240725-alt1", "old": ""}
    }
    assert applied.changed[RPCBIND] == {"rpcbind": {"old": "local", "new": "server"}}
    asked = said(
        alt, "rpm", "-q", "dnsmasq", "ipxe-bootimgs", "nginx", "samba", "vsftpd", "rpcbind"
    )
    assert "nginx-1.26.2-alt1.noarch" in asked


def test_services_run_as_alts_users(alt):
    services = ("netboot-dnsmasq", "nginx", "smb", "netboot-vsftpd", "nfs-server", "netboot-once")
    for service in services:
        assert said(alt, "systemctl", "is-active", service) == "active\n"
    owners = {"_dnsmasq": "dnsmasq", "_nginx": "nginx"}
    for process in said(alt, "ps", "-e", "-o", "user:20=,comm=").splitlines():
        user, name = process.split(maxsplit=1)
        assert owners.get(user, name) == name
        owners = {one: program for one, program in owners.items() if one != user}
    assert owners == {}
    assert "vsftpd" in said(alt, "python3", "-c", FTP, alt.server.address).split()


def test_files_are_served(alt):
    name, address = alt.iso.path.name, alt.server.address
    assert get(alt, f"/dist/{name}")[2] == alt.iso.sha256
    assert get(alt, "/tftp/snponly-x86_64.efi")[0] == "200"
    said(alt, "curl", "-sSf", "-o", "/root/ftp.iso", f"ftp://{address}/dist/{name}")
    said(alt, "smbclient", "-N", f"//{address}/dist", "-c", f"get {name} /root/smb.iso")
    for file in ("/root/ftp.iso", "/root/smb.iso"):
        assert said(alt, "sha256sum", file).split()[0] == alt.iso.sha256
    # No NFS server in a container's kernel: only what it would export, as mountd tells clients.
    exported = said(alt, "showmount", "--exports", "--no-headers", address)
    assert exported == "".join(
        f"/srv/export/{folder} {alt.lab.network}\n" for folder in ("tftp", "dist")
    )
    assert said(alt, "control", "rpcbind") == "server\n"
    said(alt, "test", "-e", "/etc/nginx/sites-enabled.d/netboot.conf")


def test_doctor_finds_nothing_else(alt):
    """A container's kernel serves no NFS, and this image asks for its address late."""
    found = alt.salt.call(alt.server, "netboot.doctor")
    assert [one["key"] for one in found] == ["nfs.dead", "network.spanning_tree"], found


def test_second_apply_changes_nothing(alt):
    again = alt.salt.apply(alt.server)
    assert (again.failed, again.changed) == ({}, {})


def test_client_boots_once(alt):
    alt.salt.call(alt.server, "netboot.arm", "host=pc1")
    with alt.lab.client("efi-x86_64", number=NUMBER) as client:
        marker = client.booted(timeout=240)
    assert marker["variant"] == "install"
    assert marker["digest"] == alt.iso.stages["live"][1]
    deadline = time.monotonic() + 20
    while said(alt, "find", "/var/lib/netboot-once", "-type", "f"):
        assert time.monotonic() < deadline, said(alt, "journalctl", "-u", "netboot-once")
        time.sleep(0.5)


def control(function):
    services = ["rpcbind", "nfs-server"]
    return {f"netboot_control.{function}": [{"name": "rpcbind"}, {"services": services}]}


def shell(command):
    return {"cmd.run": [{"name": command}]}


# What an admin or a killed apply leaves is made good; what an admin wants afterwards stays.
CONTROL = {
    "an admin": shell("control rpcbind local"),
    "set again": control("server"),
    "killed": shell(f"sed -i s/false/true/ {RECORD}"),
    "read at last": control("server"),
    "read": control("server"),
    "restored": control("restored"),
    "an admin's own": shell("control rpcbind server"),
    "as wanted": control("server"),
    "left alone": control("restored"),
    "as before": shell("control rpcbind local"),
    "ours": control("server"),
}


def test_control(alt):
    with alt.salt.overridden("control.sls", yaml.safe_dump(CONTROL, sort_keys=False)):
        done = alt.salt.apply(alt.server, "control")
    assert done.failed == {}
    opened = {"rpcbind": {"old": "local", "new": "server"}}
    assert {name: made for name, made in done.changed.items() if "pid" not in made} == {
        "set again": opened,
        "read at last": {"rpcbind": "restarted", "nfs-server": "restarted"},
        "restored": {"rpcbind": {"old": "server", "new": "local"}},
        "ours": opened,
    }
    assert json.loads(said(alt, "cat", RECORD)) == {"was": "local", "unread": False}


def test_clean(alt):
    cleaned = alt.salt.apply(alt.server, "netboot.clean")
    assert cleaned.failed == {}
    assert said(alt, "ls", "/etc/nginx/sites-enabled.d", "/etc/exports.d") == (
        "/etc/exports.d:\n\n/etc/nginx/sites-enabled.d:\n"
    )
    assert said(alt, "control", "rpcbind") == "local\n"
    assert alt.salt.apply(alt.server, "netboot.clean").changed == {}
