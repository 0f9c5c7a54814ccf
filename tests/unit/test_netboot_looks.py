"""netboot.doctor: how it reads what programs say, and what a server in the lab cannot be."""

import json
import os
import time
from types import SimpleNamespace

import pytest

import netboot_doctor
import netboot_files
import netboot_firewalld
import netboot_held
import netboot_images
import netboot_live
import netboot_looks
import netboot_looks_images
import netboot_looks_machine
import netboot_looks_services
import netboot_plan
import netboot_pxe
import netboot_rules
import netboot_run
import netboot_sockets
import netboot_ufw
from netboot_looks import Case
from netboot_records import Records
from tests.unit.test_netboot_entries import MIB, P11, PROPAGATOR
from tests.unit.test_netboot_pillar import IMAGE, TARGET, resolve

GIB = 1024 * MIB
DAY = 86400
NOW = 1_795_716_000
ISO = "alt-server-11.0-x86_64.iso"
# Of a key that was thrown away; it ends on 2026-11-28.
CERTIFICATE = """\
-----BEGIN CERTIFICATE-----
MIIBejCCAR+gAwIBAgIUehLE3Ja/QyCHSD3c6b5uH1O2MQEwCgYIKoZIzj0EAwIw
EjEQMA4GA1UEAwwHbmV0Ym9vdDAeFw0yNjExMjcwMTMzNDdaFw0yNjExMjgwMTMz
NDdaMBIxEDAOBgNVBAMMB25ldGJvb3QwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNC
AATzJkIXLEXfOAUcswEw4/DAftzXJ3NiVKrKGfX/0i1ueLqEUvgBG9D2fcEkb0xW
itDY765hLUdEZ0EAIpcE3bhho1MwUTAdBgNVHQ4EFgQUbWBtuAg4lKCtUia7DHNO
E9o8L58wHwYDVR0jBBgwFoAUbWBtuAg4lKCtUia7DHNOE9o8L58wDwYDVR0TAQH/
BAUwAwEB/zAKBggqhkjOPQQDAgNJADBGAiEA4jIglLN2j3jpNp0myyLOk8uCUqNu
xW3PP7sctQOGLeoCIQDAO4ufIUEAWLHdFJ9uzVlGq5rymtENLZPtJo0rD+tdHA==
-----END CERTIFICATE-----
"""


# -- what programs and the kernel say -------------------------------------------------------------

VERSIONS = {
    "Dnsmasq version 2.92  Copyright (c) 2000-2025 Simon Kelley\nCompile time options:": (2, 92),
    "Dnsmasq version 2.90  Copyright": (2, 90),
    "Dnsmasq version 2.92rc1  Copyright": (2, 92),
    "Dnsmasq version UNKNOWN": (),
    "": (),
}


@pytest.mark.parametrize("said", VERSIONS)
def test_version(said):
    assert netboot_looks.version(said) == VERSIONS[said]


def test_units():
    said = "Id=a.service\nActiveState=active\n\nId=b.timer\nMainPID=\nExec={ path=/x ; a=b }\n"
    assert netboot_looks.units(said) == {
        "a.service": {"Id": "a.service", "ActiveState": "active"},
        "b.timer": {"Id": "b.timer", "MainPID": "", "Exec": "{ path=/x ; a=b }"},
    }
    assert netboot_looks.units("") == {}


LIMITS = {
    "Limit                     Soft Limit           Hard Limit           Units\n"
    "Max open files            1024                 524288               files\n": 1024,
    "Max open files            unlimited            unlimited            files\n": None,
    "": None,
}


@pytest.mark.parametrize("text", LIMITS)
def test_open_files(text):
    assert netboot_looks.open_files(text) == LIMITS[text]


AVC = (
    'type=AVC msg=audit({}.123:456): avc:  denied  {{ getattr }} for  pid=9 comm="{}" '
    'path="/srv/export/dist/a.iso" dev="vda1" tcontext=unconfined_u:object_r:var_t:s0 permissive=0'
)
APPARMOR = (
    '[ 12.3] audit: type=1400 audit({}.5:7): apparmor="DENIED" operation="open" '
    'profile="/usr/sbin/dnsmasq" name="/etc/netboot/dnsmasq.conf" pid=1 comm="{}" '
    'requested_mask="r"'
)
DENIED = [
    (AVC.format(NOW, "nginx"), ["SELinux denied nginx: getattr /srv/export/dist/a.iso"]),
    (AVC.format(NOW - DAY - 1, "nginx"), []),
    (AVC.format(NOW, "chronyd"), []),
    (APPARMOR.format(NOW, "dnsmasq"), ["AppArmor denied dnsmasq: open /etc/netboot/dnsmasq.conf"]),
    (APPARMOR.format(NOW, "dnsmasq").replace("DENIED", "ALLOWED"), []),
    (
        'apparmor="DENIED" operation="capable" profile="x" comm="smbd"',
        ["AppArmor denied smbd: capable"],
    ),
    (
        "\n".join([AVC.format(NOW, "smbd")] * 3),
        ["SELinux denied smbd: getattr /srv/export/dist/a.iso"],
    ),
]


@pytest.mark.parametrize(("log", "said"), DENIED)
def test_denials(log, said):
    programs = {"nginx", "dnsmasq", "smbd"}
    assert netboot_looks.denials(log, programs, NOW - DAY) == said


def test_name_servers():
    said = "# nameserver 192.0.2.1\nsearch example.org\nnameserver 192.0.2.2\n nameserver ::1\n"
    assert netboot_looks.nameservers(said) == ["192.0.2.2", "::1"]


def test_when_a_certificate_ends():
    end = netboot_looks.ends(CERTIFICATE.encode())
    assert time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(end)) == "2026-11-28 01:33:47"
    assert netboot_looks.ends(b"") is None
    assert netboot_looks.ends(CERTIFICATE.replace("MII", "!", 1)[:80].encode()) is None
    broken = CERTIFICATE.replace("MIIBejCCAR", "MIIBejCCA")
    assert netboot_looks.ends(broken.encode()) is None


def test_mounts():
    said = (
        "36 35 98:0 /mnt1 /mnt\\0402 rw,noatime master:1 - ext3 /dev/root rw,errors=continue\n"
        "37 35 7:0 / /srv/export/tftp/x ro - iso9660 /dev/loop0 ro\n"
    )
    assert netboot_looks.mounts(said) == {
        "/mnt 2": "/dev/root",
        "/srv/export/tftp/x": "/dev/loop0",
    }


def test_what_is_closed(tmp_path):
    directory = tmp_path / "a/b"
    directory.mkdir(parents=True)
    file = directory / "c"
    file.write_text("x")
    stop = str(tmp_path)

    def closed():
        return netboot_looks.closed(str(file), stop).replace(stop, "")

    for path in (tmp_path, directory.parent, directory):
        path.chmod(0o711)
    file.chmod(0o644)
    assert closed() == ""
    for path, mode in ((file, 0o640), (directory, 0o750), (directory.parent, 0o700)):
        path.chmod(mode)
        assert closed() == str(path).replace(stop, "")
    file.unlink()
    assert closed() == ""


# -- looks ----------------------------------------------------------------------------------------


@pytest.fixture
def make(tmp_path, monkeypatch):
    """Make a case: what the pillar resolves to is what was applied, unless `fresh`."""

    def _make(pillar=None, fresh=False, images=(), **target):
        pillar = {"root": str(tmp_path / "export"), **(pillar or {})}
        records = Records(str(tmp_path / "records"))
        config = resolve(pillar, state_dir=records.directory)["config"]
        if not fresh:
            records.write("applied", "config", config)
        for record in images:
            records.write("images", record["label"], record)
        for name in ("dist", "tftp"):
            os.makedirs(config["paths"][name], exist_ok=True)
        applied = None if fresh else config
        return Case(records, applied, config, {**TARGET, **target}, pillar, NOW)

    monkeypatch.setattr(netboot_firewalld, "runs", lambda: False)
    monkeypatch.setattr(netboot_ufw, "runs", lambda: False)
    return _make


def found(look, case):
    return [(key, severity) for key, severity, _text in look(case)]


def text(look, case):
    ((_key, _severity, said),) = look(case)
    return said


@pytest.fixture
def link(monkeypatch):
    """Flags and MTU of all interfaces."""
    flags = netboot_looks_machine._IFF_UP | netboot_looks_machine._IFF_RUNNING
    values = {netboot_looks_machine._SIOCGIFFLAGS: flags, netboot_looks_machine._SIOCGIFMTU: 1500}
    monkeypatch.setattr(
        netboot_looks_machine, "_asked", lambda _name, request, _shape: values[request]
    )
    return values


ADDRESSES = [
    ({}, {}, []),
    ({"eth0": []}, {}, ["interface.no_address"]),
    ({"eth0": ["198.51.100.9/24"]}, {}, ["interface.other_address"]),
    ({"eth0": ["192.0.2.10/24", "192.0.2.11/24"]}, {}, ["interface.several"]),
    ({"eth0": ["192.0.2.10/24", "192.0.2.11/24"]}, {"address": "192.0.2.10"}, []),
    (None, {}, ["interface.missing"]),
]


@pytest.mark.parametrize(("changed", "pillar", "keys"), ADDRESSES)
def test_addresses(make, link, changed, pillar, keys):
    case = make({"interface": "eth0", **pillar})
    there = {} if changed is None else {**TARGET["interfaces"], **changed}
    case = case._replace(target={**TARGET, "interfaces": there})
    assert [key for key, _ in found(netboot_looks_machine._interfaces, case)] == keys


def test_address_of_a_load_balancer_is_not_missed(make, link):
    pillar = {"address": "192.0.2.99", "virtual_address": True, "interface": "eth0"}
    assert found(netboot_looks_machine._interfaces, make(pillar)) == []
    case = make(pillar)
    # As over salt-ssh, where the pillar stays behind.
    assert found(netboot_looks_machine._interfaces, case._replace(pillar={})) == []


LINKS = [
    (0x0, 1500, [("interface.down", "error")]),
    (0x1, 1500, [("interface.no_carrier", "error")]),
    (0x41, 1450, [("interface.mtu", "warning")]),
    (0x41, 9000, []),
]


@pytest.mark.parametrize(("flags", "mtu", "said"), LINKS)
def test_links(make, link, flags, mtu, said):
    values = (netboot_looks_machine._SIOCGIFFLAGS, netboot_looks_machine._SIOCGIFMTU)
    link.update(zip(values, (flags, mtu)))
    assert found(netboot_looks_machine._interfaces, make()) == said


def test_rights_and_systemd(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(os.path, "isdir", lambda path: False)
    keys = [key for key, _ in found(netboot_looks_machine._rights, None)]
    assert keys == ["user.rights", "system.systemd"]
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os.path, "isdir", lambda path: True)
    assert found(netboot_looks_machine._rights, None) == []


def test_clock(make):
    case = make()
    case.records.write("applied", "run", {"at": NOW + 60, "failed": {}})
    assert found(netboot_looks_machine._clock, case) == []
    assert "last apply" in text(netboot_looks_machine._clock, case._replace(now=NOW - DAY))
    assert "release" in text(netboot_looks_machine._clock, case._replace(now=0))


def test_clock_of_others(make, monkeypatch):
    said = [time.time() - 60]
    monkeypatch.setattr(netboot_looks_machine, "_date", lambda url: said[0])
    case = make({"images": {"A": IMAGE}})
    assert found(netboot_looks_machine._clock_of_others, case) == []
    said[0] = time.time() + 3600
    assert found(netboot_looks_machine._clock_of_others, case) == [("time.differs", "warning")]
    assert "60 minutes" in text(netboot_looks_machine._clock_of_others, case)
    said[0] = None
    assert found(netboot_looks_machine._clock_of_others, case) == []


def test_firewall(make, monkeypatch):
    look = netboot_looks_machine._firewall
    monkeypatch.setattr(netboot_rules, "missing", lambda config: ["nft add rule x"])
    assert found(look, make(fresh=True)) == [("firewall.closed", "warning")]
    case = make()
    assert found(look, case) == [], "netboot.check has it"
    monkeypatch.setattr(netboot_firewalld, "runs", lambda: True)
    changes = {"public": "opened"}
    monkeypatch.setattr(netboot_firewalld, "reconcile", lambda config, records, test: changes)
    assert found(look, case) == [("firewall.closed", "error")]
    changes.clear()
    assert found(look, case) == []
    assert found(look, make({"firewall": "off"})) == [("firewall.unmanaged", "info")]


def test_other_servers_are_named(make, monkeypatch):
    offer = netboot_pxe.Offer("192.0.2.1", "52:54:00:00:00:09", "pxelinux.0")
    monkeypatch.setattr(netboot_pxe, "others", lambda interface, arch, seconds: [offer])
    assert "192.0.2.1 (52:54:00:00:00:09) on eth0 also boots clients (pxelinux.0)" in text(
        netboot_looks_machine._other_servers, make()
    )
    ours = offer._replace(server="192.0.2.10")
    monkeypatch.setattr(netboot_pxe, "others", lambda interface, arch, seconds: [ours])
    assert found(netboot_looks_machine._other_servers, make()) == []


# -- space ----------------------------------------------------------------------------------------


@pytest.fixture
def disk(monkeypatch):
    """Free bytes and inodes of all file systems."""
    free = {"bytes": 100 * GIB, "inodes": 10**6}
    monkeypatch.setattr(
        netboot_looks_machine, "_free", lambda path: (free["bytes"], free["inodes"])
    )
    return free


SPACE = [
    (100 * GIB, 10**6, False, []),
    (7 * GIB, 10**6, False, [("disk.space", "warning")]),
    (7 * GIB, 10**6, True, []),  # mounted, not unpacked
    (3 * GIB, 10**6, False, [("disk.space", "error")]),
    (100 * GIB, 9, False, [("disk.inodes", "error"), ("disk.records", "error")]),
    (100 * GIB, None, False, []),
]


@pytest.mark.parametrize(("free", "inodes", "mount", "said"), SPACE)
def test_space_for_what_is_still_to_be_fetched(make, disk, free, inodes, mount, said):
    disk.update(bytes=free, inodes=inodes)
    case = make({"images": {"A": {**IMAGE, "mount": mount}}})
    staging = case.config["paths"]["staging"]
    os.makedirs(staging)
    with open(f"{staging}/{ISO}.part", "wb") as file:
        file.truncate(1 * GIB)
    with open(f"{staging}/{ISO}.part.json", "w", encoding="ascii") as file:
        note = {"url": "x", "validator": None, "total": 5 * GIB, "from": 0, "started": 1}
        json.dump({**note, "inode": 1}, file)
    assert list(dict.fromkeys(found(netboot_looks_machine._space, case))) == said


def test_disk_that_is_almost_full(make, disk):
    disk["bytes"] = 100 * MIB
    assert found(netboot_looks_machine._space, make()) == [("disk.space", "warning")]
    disk["bytes"] = 10 * MIB
    keys = [key for key, _ in found(netboot_looks_machine._space, make())]
    assert {*keys} == {"disk.space", "disk.records"}


def test_iso_that_is_there_or_was_dropped_needs_no_source(make):
    case = make({"images": {"A": {**IMAGE, "keep_iso": False}}})
    assert list(netboot_looks_machine.wanted_urls(case)) == ["netboot:images:A"]
    record = {"size": 1, "digests": {"sha256": "0"}, "identity": None, "verified_at": 1}
    case.records.write_iso(ISO, {**record, "dropped": True})
    assert netboot_looks_machine.wanted_urls(case) == {}
    case.records.remove_iso(ISO)
    with open(f"{case.config['paths']['dist']}/{ISO}", "w", encoding="ascii"):
        assert netboot_looks_machine.wanted_urls(case) == {}


# -- services -------------------------------------------------------------------------------------

UNIT = {
    "Id": "netboot-dnsmasq.service",
    "LoadState": "loaded",
    "ActiveState": "active",
    "SubState": "running",
    "NRestarts": "0",
    "UnitFileState": "enabled",
    "NeedDaemonReload": "no",
}
UNITS = [
    ({}, []),
    ({"NRestarts": "2"}, []),
    ({"NRestarts": "3"}, [("service.restarting", "warning")]),
    ({"ActiveState": "activating", "SubState": "auto-restart"}, [("service.restarting", "error")]),
    ({"ActiveState": "failed"}, [("service.dead", "error")]),
    ({"ActiveState": "inactive"}, [("service.dead", "error")]),
    ({"LoadState": "not-found", "ActiveState": "inactive"}, [("service.gone", "error")]),
    ({"UnitFileState": "masked"}, [("service.disabled", "warning")]),
    ({"UnitFileState": "static"}, []),
    ({"NeedDaemonReload": "yes"}, [("service.unit_changed", "warning")]),
]


@pytest.mark.parametrize(("changed", "said"), UNITS)
def test_units_of_services(make, monkeypatch, changed, said):
    shown = "\n".join(f"{key}={value}" for key, value in {**UNIT, **changed}.items())
    monkeypatch.setattr(netboot_live, "said_by", lambda *argv: shown)
    case = make()
    assert found(netboot_looks_services._units, case) == [], "no service is on record"
    case.records.write("services", "netboot-dnsmasq", {"files": {}, "written": {}})
    assert found(netboot_looks_services._units, case) == said


def test_programs_that_are_missing(make, monkeypatch):
    monkeypatch.setattr(netboot_run, "has", lambda program: False)
    look = netboot_looks_services._packages
    assert found(look, make(fresh=True)) == [], "the first apply installs them"
    case = make({"methods": ["http", "cifs", "nfs"]})
    case.applied["serves"] = ["cifs", "http", "nfs"]
    assert [said.partition(" ")[0] for _key, _severity, said in look(case)] == [
        *("dnsmasq", "smbd", "exportfs")
    ]


FAULTY = [("2.92", "proxy", 1), ("2.92", "server", 0), ("2.91", "proxy", 0), ("2.93", "proxy", 0)]


@pytest.mark.parametrize(("version", "mode", "number"), FAULTY)
def test_version_of_dnsmasq(make, monkeypatch, version, mode, number):
    monkeypatch.setattr(netboot_run, "has", lambda program: True)
    said = SimpleNamespace(stdout=f"Dnsmasq version {version}  Copyright")
    monkeypatch.setattr(netboot_run, "tried", lambda *argv: said)
    subnets = {"192.0.2.0/24": {"range": ["192.0.2.100", "192.0.2.200"]}}
    dhcp = {"mode": mode, **({"subnets": subnets} if mode == "server" else {})}
    case = make({"dhcp": dhcp, "interface": "eth0"})
    assert len(found(netboot_looks_services._dnsmasq_version, case)) == number


def image(facts, **more):
    record = {
        "name": "A",
        "label": "a",
        "file": ISO,
        "iso_sha256": "0" * 64,
        "facts": facts,
        "boot_files": {facts["kernel"]: 10 * MIB, facts["initrd"]: 50 * MIB},
        "form": "tree",
    }
    return {**record, **more}


def tree(case):
    return f"{case.config['paths']['trees']}/x86_64/a"


LEASES = [(300, 1, "dhcp.lease_short"), (3600, 0, "")]


@pytest.mark.parametrize(("lease_s", "number", "key"), LEASES)
def test_lease_that_ends_before_the_download(make, lease_s, number, key):
    subnet = {"range": ["192.0.2.100", "192.0.2.200"], "lease_s": lease_s}
    dhcp = {"mode": "server", "subnets": {"192.0.2.0/24": subnet}}
    case = make({"images": {"A": IMAGE}, "dhcp": dhcp, "interface": "eth0"})
    case.records.write("images", "a", image(P11, tree=tree(case)))
    said = found(netboot_looks_services._crowd, case)
    assert [one for one, _ in said] == [key] * number


SMB = [
    ("2021-09-01", False, 1),
    ("2021-09-01", True, 0),
    ("2021-09-02", False, 0),
    ("", False, 0),
]


@pytest.mark.parametrize(("built", "smb1", "number"), SMB)
def test_image_that_needs_smb1(make, built, smb1, number):
    pillar = {"images": {"A": IMAGE}, "methods": ["cifs"], "smb": {"smb1": smb1}}
    case = make(pillar)
    facts = {**PROPAGATOR, "build_date": built}
    case.records.write("images", "a", image(facts, tree=tree(case)))
    said = set(found(netboot_looks_services._smb1, case))
    assert said == ({("smb.smb1", "error")} if number else set())


def test_altboot_needs_no_smb1():
    assert not netboot_looks_services.needs_smb1("altboot", "2020-01-01")


NFS = [
    ("+3 +4 +4.1\n", "8", [{"address": "0.0.0.0"}], []),  # noqa: S104
    ("-3 +4 +4.1\n", "8", [{"address": "::"}], ["nfs.version"]),
    ("+3 +4\n", "0", [{"address": "::"}], ["nfs.dead"]),
    (None, "", [], ["nfs.dead"]),
    ("+3 +4\n", "8", [], ["nfs.rpcbind"]),
    ("+3 +4\n", "8", [{"address": "127.0.0.1"}, {"address": "::1"}], ["nfs.rpcbind"]),
]


@pytest.mark.parametrize(("versions", "threads", "binders", "keys"), NFS)
def test_nfs(make, monkeypatch, tmp_path, versions, threads, binders, keys):
    nfsd = tmp_path / "nfsd"
    nfsd.mkdir()
    if versions is not None:
        (nfsd / "versions").write_text(versions)
        (nfsd / "threads").write_text(threads)
    monkeypatch.setattr(netboot_looks_services, "_NFSD", str(nfsd))
    monkeypatch.setattr(netboot_sockets, "listeners", lambda protocol, port: binders)
    case = make()
    assert found(netboot_looks_services._nfs, case) == [], "nothing uses NFS"
    case.applied["serves"] = ["nfs"]
    assert [key for key, _ in found(netboot_looks_services._nfs, case)] == keys


CERTIFICATES = [
    ("2026-09-01", []),
    ("2026-11-10", [("certificate.ending", "warning")]),
    ("2026-11-29", [("certificate.ending", "error")]),
]


@pytest.mark.parametrize(("day", "said"), CERTIFICATES)
def test_certificate(make, tmp_path, day, said):
    path, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    path.write_text(CERTIFICATE)
    key.write_text("x")
    case = make({"http": {"certificate": str(path), "key": str(key)}})
    case = case._replace(now=time.mktime(time.strptime(day, "%Y-%m-%d")))
    assert found(netboot_looks_services._certificate, case) == said
    path.write_text("x")
    assert found(netboot_looks_services._certificate, case) == [("certificate.unreadable", "error")]
    path.unlink()
    assert found(netboot_looks_services._certificate, case) == [("certificate.missing", "error")]


def test_secrets(make, tmp_path):
    key = tmp_path / "key.pem"
    key.write_text("x")
    case = make({"http": {"certificate": str(key), "key": str(key)}})
    os.chmod(case.records.directory, 0o700)
    key.chmod(0o600)
    assert found(netboot_looks_services._secrets, case) == []
    key.chmod(0o644)
    assert text(netboot_looks_services._secrets, case).endswith(f"chmod 0600 {key}.")


# -- images ---------------------------------------------------------------------------------------


def test_mounted_image(make, tmp_path, monkeypatch):
    mountinfo = tmp_path / "mountinfo"
    mountinfo.write_text("")
    monkeypatch.setattr(netboot_looks_images, "_MOUNTINFO", str(mountinfo))
    case = make({"images": {"A": {**IMAGE, "mount": True}}})
    path = tree(case)
    os.makedirs(path)
    case.records.write("images", "a", image(P11, tree=path, form="mount"))
    assert found(netboot_looks_images._mounts, case) == [("mount.missing", "error")]
    mountinfo.write_text(f"37 35 7:0 / {path} ro - iso9660 /dev/loop0 ro\n")
    assert found(netboot_looks_images._mounts, case) == []
    monkeypatch.setattr(netboot_looks_images, "_BLOCK", str(tmp_path))
    backing = tmp_path / "loop0/loop/backing_file"
    backing.parent.mkdir(parents=True)
    backing.write_text("/x.iso\n")
    assert found(netboot_looks_images._mounts, case) == []
    backing.write_text("/x.iso (deleted)\n")
    assert found(netboot_looks_images._mounts, case) == [("mount.stale", "error")]
    backing.unlink()
    os.rmdir(path)  # as a stale handle, it cannot be listed
    assert found(netboot_looks_images._mounts, case) == [("mount.stale", "error")]


def test_files_of_an_image(make):
    case = make({"images": {"A": IMAGE}})
    path = tree(case)
    for name in (P11["kernel"], P11["initrd"]):
        os.makedirs(os.path.dirname(f"{path}/{name}"), exist_ok=True)
        with open(f"{path}/{name}", "w", encoding="ascii"):
            pass
    other = {"size": 1, "mtime_ns": 1, "ctime_ns": 1, "inode": 1}
    case.records.write("images", "a", image(P11, tree=path, identities={}))
    assert found(netboot_looks_images._changed, case) == []
    record = image(P11, tree=path, identities={P11["kernel"]: other})
    case.records.write("images", "a", record)
    assert found(netboot_looks_images._changed, case) == [("image.changed", "error")]
    # A chmod that was taken back, or a backup's link, writes nothing.
    kernel = f"{path}/{P11['kernel']}"
    record["identities"][P11["kernel"]] = netboot_files.identity(kernel)
    case.records.write("images", "a", record)
    os.chmod(kernel, 0o600)
    os.chmod(kernel, 0o644)
    assert found(netboot_looks_images._changed, case) == []
    assert netboot_images.changed(case.records) == {}
    # But a probe reads such files whole, as their time may have been set back.
    name = f"/{os.path.relpath(kernel, case.applied['root'])}"
    assert netboot_images.touched(case.records) == {name}
    with open(kernel, "a", encoding="ascii") as file:
        file.write("x")
    assert found(netboot_looks_images._changed, case) == [("image.changed", "error")]
    assert set(netboot_images.changed(case.records)) == {name}
    record["identities"][P11["kernel"]] = netboot_files.identity(kernel)
    case.records.write("images", "a", record)
    before = netboot_plan.fingerprint(case.applied, case.records)
    assert netboot_plan.fingerprint(case.applied, case.records) == before
    os.unlink(kernel)
    assert found(netboot_looks_images._changed, case) == [("image.incomplete", "error")]
    assert netboot_plan.fingerprint(case.applied, case.records) != before, "it is tried again"
    # That it is not mounted is said already.
    case.records.write("images", "a", image(P11, tree=path, identities={}, form="mount"))
    assert found(netboot_looks_images._changed, case) == []


# -- all of it ------------------------------------------------------------------------------------


def test_look_that_fails_is_a_finding(make):
    def look(_case):
        yield ("a.b", "info", "A.")
        raise OSError(5, "Input/output error")

    assert netboot_doctor.looked("the weather", look, make()) == [
        ("a.b", "info", "A."),
        (
            "look.failed",
            "warning",
            "Not looked at: the weather, as that failed: [Errno 5] Input/output error.",
        ),
    ]


@pytest.mark.parametrize("waits", [False, True])
def test_image_that_waits_is_not_outdated(make, monkeypatch, waits):
    """Nor does a damaged record of it hide all else; a key that changed is outdated."""
    pillar = {"images": {"A": IMAGE}, "waves": True, "interface": "eth0"}
    case = make(pillar)
    if waits:
        before = image(P11, tree=tree(case), file="old.iso", iso_sha256="1" * 64)
        case.records.write("images", "a", before)
    applied = netboot_held.recorded(netboot_held.held(case.records, case.config))
    assert (applied["images"][0]["file"] == "old.iso") is waits
    case.records.write("applied", "config", applied)
    for module in (netboot_looks_machine, netboot_looks_services, netboot_looks_images):
        monkeypatch.setattr(module, "LOOKS", {})
    monkeypatch.setattr(netboot_looks_machine, "ALWAYS", {})

    def outdated(**more):
        resolved = resolve({**case.pillar, **more}, state_dir=case.records.directory)
        found = netboot_doctor.examine(case.records, TARGET, {}, lambda: resolved, False)
        return "apply.outdated" in {key for key, _severity, _text in found}

    assert not outdated()
    assert outdated(methods=["nfs"])
    if waits:
        with open(case.records._path("images", "a"), "w", encoding="ascii") as file:
            file.write("{")
        assert outdated(methods=["nfs"])


def broken():
    raise ConnectionError("Master is away")


def test_master_that_is_away(tmp_path, monkeypatch):
    """The pillar cannot be resolved; what was applied is looked at nevertheless."""
    monkeypatch.setattr(netboot_looks_machine, "ALWAYS", {})
    records = Records(str(tmp_path))
    assert netboot_doctor.examine(records, TARGET, {}, broken, False) == [
        ("look.failed", "warning", "Not looked at: the pillar, as that failed: Master is away.")
    ]


def test_without_pillar_and_record(tmp_path, monkeypatch):
    monkeypatch.setattr(netboot_looks_machine, "ALWAYS", {})
    ((key, severity, said),) = netboot_doctor.examine(
        Records(str(tmp_path)), TARGET, None, broken, False
    )
    assert (key, severity) == ("pillar.missing", "error")
    assert "salt-ssh does not send it" in said
