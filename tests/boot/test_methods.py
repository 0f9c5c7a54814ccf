"""Stages that travel over SMB, NFS and FTP, from a netboot server whose kernel serves NFS.

Two clients go through firmware and menu, the others start the kernel with the entry's own command
line, as the way there is the same.
"""

from types import SimpleNamespace

import pytest

from lab import Lab, network
from lab.demo import PACKAGES
from lab.iso import make_iso
from lab.salt import SaltSsh

HOST = 70  # a client of the lab that has an entry of its own


@pytest.fixture(scope="module")
def applied(tmp_path_factory):
    """The server, and its boot entries by id."""
    folder = tmp_path_factory.mktemp("web")
    isos = {
        "p11": make_iso(folder, "p11", stage_mib=1),
        "p10": make_iso(folder, "p10.1", stage_mib=1),
        "p9": make_iso(folder, "p9", stage_mib=1),
        "mounted": make_iso(folder, "p11", edition="mounted", stage_mib=1),
    }
    for name, iso in isos.items():
        iso.unpack(folder / name)
    with Lab(logs=tmp_path_factory.mktemp("logs")) as lab:
        packages = [*PACKAGES, "nfs-kernel-server", "samba", "vsftpd"]
        server = lab.guest("netboot1", packages=packages)
        web = lab.web(folder)
        images = {
            name: {
                "url": f"{web.url}/{iso.path.name}",
                "checksum": {"sha256": iso.sha256},
                "variants": ["livecd"],
                "forms": ["tree", "iso"],
            }
            for name, iso in isos.items()
        }
        images["p11"]["methods"] = ["nfs", "cifs", "ftp"]
        images["p10"]["methods"] = ["cifs", "nfs", "ftp"]
        images["p9"] |= {"methods": ["nfs", "cifs"], "forms": ["iso"]}
        images["mounted"] |= {"methods": ["nfs"], "forms": ["tree"], "mount": True}
        mac = network.client_mac(lab.number, HOST)
        pillar = {
            "images": images,
            "default_image": {"x86_64": "p11"},
            "hosts": {"pc1": {"mac": mac, "image": "p10", "variant": "livecd"}},
            "menu": {"timeout_s": 2},
        }
        salt = SaltSsh(lab, [server], {"netboot": pillar})
        assert salt.apply(server).failed == {}
        entries = {one["id"]: one for one in salt.call(server, "netboot.entries")}
        yield SimpleNamespace(
            lab=lab, server=server, isos=isos, pillar=pillar, salt=salt, entries=entries, web=folder
        )


def start(applied, entry, cmdline=None):
    """Start an entry's kernel; returns what its first stage says."""
    iso = applied.isos[entry["image"]]
    tree = applied.web / entry["image"]
    with applied.lab.client(
        "bios",
        memory_mib=512,
        kernel=tree / iso.kernel[1:],
        initrd=tree / iso.initrd[1:],
        # What iPXE would fill in; without a card's address the first stage takes every card.
        cmdline=(cmdline or entry["cmdline"])
        .replace("ifname=bootif0:${netX/mac} ip=bootif0:dhcp4", "ip=dhcp4")
        .replace("${lang}", "en_US")
        .partition(" ${nb-board-arguments}")[0],
    ) as client:
        said = client.wait_for(r"NETBOOT-ALT-(MARKER|REFUSED) (.*?)\r?\n", timeout=120)
    return said[2]


def test_second_apply_changes_nothing(applied):
    again = applied.salt.apply(applied.server)
    assert (again.failed, again.changed) == ({}, {})


@pytest.mark.parametrize(
    ("ident", "method", "form", "dialect"),
    [
        ("p11-livecd-nfs-iso", "nfs", "iso", "altboot"),
        ("p11-livecd-cifs-tree", "cifs", "tree", "altboot"),
        ("p11-livecd-ftp-iso", "ftp", "iso", "altboot"),
        ("p10-livecd-cifs-iso", "cifs", "iso", "propagator"),
        ("p10-livecd-nfs-tree", "nfs", "tree", "propagator"),
        ("p10-livecd-ftp-tree", "ftp", "tree", "propagator"),
        ("mounted-livecd", "nfs", "tree", "altboot"),
    ],
)
def test_boots(applied, ident, method, form, dialect):
    entry = applied.entries[ident]
    said = dict(word.split("=", 1) for word in start(applied, entry).split())
    digest = applied.isos[entry["image"]].stages["live"][1]
    assert (said["method"], said["form"], said["dialect"]) == (method, form, dialect)
    assert said["digest"] == digest


def test_nfs_exports_nothing_else(applied):
    entry = applied.entries["p11-livecd"]
    wanted = "directory:/srv/export/tftp/netboot/x86_64/p11"
    assert wanted in entry["cmdline"]
    cmdline = entry["cmdline"].replace(wanted, "directory:/srv/export/.staging")
    said = start(applied, entry, cmdline)
    assert "is neither a folder nor a file" in said


@pytest.mark.parametrize(
    ("number", "image", "method"), [(None, "p11", "nfs"), (HOST, "p10", "cifs")]
)
def test_through_firmware_and_menu(applied, number, image, method):
    with applied.lab.client("efi-x86_64", number=number) as client:
        marker = client.booted(timeout=240)
    assert (marker["method"], marker["form"]) == (method, "tree")
    assert marker["digest"] == applied.isos[image].stages["live"][1]


def test_off(applied):
    """The exports go with the methods, and what the machine exports besides stays."""
    applied.server.run(["mkdir", "-p", "/srv/own", "/etc/exports.d"])
    applied.server.run(["tee", "/etc/exports.d/own.exports"], input="/srv/own *(ro)\n")
    applied.server.run(["exportfs", "-ra"])
    pillar = applied.pillar
    images = {
        name: {key: value for key, value in image.items() if key not in ("methods", "mount")}
        for name, image in pillar["images"].items()
    }
    applied.salt.write_pillar({"netboot": {**pillar, "images": images}})
    assert applied.salt.apply(applied.server).failed == {}
    exported = applied.server.run(["exportfs", "-s"]).stdout
    assert "/srv/own" in exported
    assert "/srv/export" not in exported
