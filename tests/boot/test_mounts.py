"""An ISO that is loop-mounted, on a netboot server whose kernel has iso9660 and an NFS server."""

import dataclasses
import hashlib
import subprocess
from types import SimpleNamespace

import pytest

from lab import Lab
from lab.iso import make_iso
from lab.salt import GuestSaltCall
from tests.boot.test_boot import served
from tests.servers import IN_GUEST

# By default test_methods.py, whose server is such a machine too, shows that a mount is there after
# a reboot and that clients boot from it.
pytestmark = pytest.mark.long

NAME = "ALT p11"
TREE = "/srv/export/tftp/netboot/x86_64/alt_p11"
READY = "netboot-image-alt_p11-ready"
PRUNED = "netboot-images-pruned"


@pytest.fixture(scope="module")
def mounted(tmp_path_factory):
    """A netboot server that mounts its image; `first` is what its first apply came to."""
    iso = with_root_only_modes(make_iso(tmp_path_factory.mktemp("iso"), stage_mib=2))
    with Lab(logs=tmp_path_factory.mktemp("logs")) as lab:
        server = lab.guest("netboot1", installed=IN_GUEST)
        web = lab.web(iso.path.parent)
        pillar = {
            "images": {
                NAME: {
                    "url": f"{web.url}/{iso.path.name}",
                    "checksum": {"sha256": iso.sha256},
                    "mount": True,
                }
            },
            "default_image": {"x86_64": NAME},
            "menu": {"timeout_s": 2},
        }
        salt = GuestSaltCall(server, {"netboot": pillar})
        first = salt.apply(server)
        yield SimpleNamespace(
            lab=lab, server=server, iso=iso, pillar=pillar, salt=salt, first=first
        )


def with_root_only_modes(iso):
    """The same ISO with files that Rock Ridge gives to root alone."""
    path = iso.path.with_name(f"root-only-{iso.path.name}")
    chmod = [
        "-chmod",
        "0400",
        *(f"/{name}" for name in (iso.kernel, iso.initrd, *iso.stages)),
        "--",
    ]
    command = ["xorriso", "-indev", iso.path, "-outdev", path, "-boot_image", "any", "discard"]
    subprocess.run([*command, *chmod], check=True, capture_output=True)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    return dataclasses.replace(iso, path=path, sha256=sha256, size=path.stat().st_size)


def mount_of(server, tree=TREE):
    """The words of the tree's line in /proc/mounts; none if nothing is mounted there."""
    lines = server.run(["cat", "/proc/mounts"]).stdout.splitlines()
    return next((line.split() for line in lines if line.split()[1] == tree), [])


def digest_over_http(mounted, path):
    """SHA-256 of a file below the export root as clients get it."""
    url = f"http://{mounted.server.address}/{path.removeprefix('/srv/export/')}"
    hashed = ["sh", "-c", 'curl -sSf "$1" | sha256sum', "sh", url]
    return mounted.lab.run(hashed, capture_output=True).stdout.split()[0]


def assert_is_served(mounted, iso=None, tree=TREE):
    device, _, kind, options = mount_of(mounted.server, tree)[:4]
    assert device.startswith("/dev/loop")
    assert kind == "iso9660"
    assert {"ro", "nodev", "nosuid"} <= set(options.split(","))
    stages = {name: digest for name, (_, digest) in (iso or mounted.iso).stages.items()}
    assert {name: digest_over_http(mounted, f"{tree}/{name}") for name in stages} == stages


def test_mounted_and_served(mounted):
    assert mounted.first.failed == {}
    assert mounted.first.changed[READY] == {"mount": True, "persist": "new"}
    assert_is_served(mounted)
    (line,) = [
        line.split()
        for line in mounted.server.run(["cat", "/etc/fstab"]).stdout.splitlines()
        if TREE in line
    ]
    assert line[:3] == [f"/srv/export/dist/{mounted.iso.path.name}", TREE, "iso9660"]
    options = "loop,nofail,overriderockperm,mode=0444,dmode=0555,ro,nodev,nosuid"
    assert sorted(line[3].split(",")) == sorted(options.split(","))


def test_second_apply_changes_nothing(mounted):
    again = mounted.salt.apply(mounted.server)
    assert (again.failed, again.changed) == ({}, {})


def test_after_a_reboot_it_is_mounted_before_any_apply(mounted):
    mounted.server.reboot()
    assert_is_served(mounted)


def test_live_system_boots_from_the_mount(mounted):
    served(mounted)
    size, digest = mounted.iso.stages["live"]
    with mounted.lab.client("efi-x86_64") as client:
        marker = client.booted(timeout=180)
    assert (marker["variant"], marker["form"], marker["digest"]) == ("livecd", "tree", digest)
    path = TREE.removeprefix("/srv/export")
    assert ("GET", f"{path}/live", 200, size) in served(mounted)


def test_nfs_clients_are_granted_time(mounted):
    """The kernel's NFS server shows nobody who reads; so what goes out of service waits a day."""
    server = mounted.server
    assert int(server.run(["cat", "/proc/fs/nfsd/threads"]).stdout) > 0
    iso = f"/srv/export/dist/{mounted.iso.path.name}"
    nothing = {**mounted.pillar, "images": {}, "default_image": {}, "prune": True}
    mounted.salt.write_pillar({"netboot": nothing})
    done = mounted.salt.apply(server)
    assert done.failed == {}
    assert PRUNED not in done.changed
    for path in (TREE, iso):
        told = f"A later apply will remove {path}: NFS clients may need it for 24 more hours"
        assert told in done.states[PRUNED]["comment"]
    assert_is_served(mounted)

    server.run(["systemctl", "stop", "nfs-server"])
    done = mounted.salt.apply(server)
    assert done.failed == {}
    assert done.changed[PRUNED] == {TREE: "removed", iso: "removed"}
    assert mount_of(server) == []
    assert iso not in server.run(["cat", "/etc/fstab"]).stdout
    assert server.run(["losetup", "--list", "--noheadings"]).stdout == ""


def test_mounted_again_and_taken_back_to_unpacking(mounted):
    server = mounted.server
    mounted.salt.write_pillar({"netboot": mounted.pillar})
    assert mounted.salt.apply(server).failed == {}
    assert_is_served(mounted)
    image = {**mounted.pillar["images"][NAME], "mount": False}
    mounted.salt.write_pillar({"netboot": {**mounted.pillar, "images": {NAME: image}}})
    done = mounted.salt.apply(server)
    assert done.failed == {}
    assert list(done.changed[READY]) == [TREE]
    assert mount_of(server) == []
    assert "iso9660" not in server.run(["cat", "/etc/fstab"]).stdout
    stages = {name: digest for name, (_, digest) in mounted.iso.stages.items()}
    assert {name: digest_over_http(mounted, f"{TREE}/{name}") for name in stages} == stages
    again = mounted.salt.apply(server)
    assert (again.failed, again.changed) == ({}, {})
