"""
From power-on to an installed system that is a minion: real firmware, our answers, the stand-in for
ALT's installer. A machine starts over the network each time; what it then boots is the server's
decision.
"""

import time
from types import SimpleNamespace

import pytest

from lab import Lab
from lab.iso import make_iso
from lab.master import Master
from lab.repository import make_repository
from lab.salt import CHECKOUT, SaltCall
from tests.servers import INSTALLED

LONG = pytest.mark.long
GIB = 1 << 30
# Of the word "netboot", made by: openssl passwd -6 -salt saltsalt
HASH = (
    "$6$saltsalt$7G9Xq4GHynMSd.hgEvBFa1aJjPdC9tNGNCq3RMyhwKKGKRhn"
    "fbM5Dvy/5UzG3phJ07.9KmRsFK2qwny3/nnhT/"
)
MACS = {name: f"52:54:00:00:01:{number:02}" for number, name in enumerate(("pc1", "pc2", "pc3"))}
INSTALL = {
    "root_password": HASH,
    "users": {"pupil": {"password": HASH, "real_name": "Pupil"}},
    "swap_mib": 128,
    "root_mib": 4096,
    "interfaces": ["enp0s2", "enp0s3", "ens3", "eth0"],
}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("web")
    isos = {
        generation: make_iso(folder, generation, stage_mib=1, installer=True)
        for generation in ("p11", "p10.4")
    }
    with Lab(logs=tmp_path_factory.mktemp("logs")) as lab:
        server = lab.server("netboot1", installed=INSTALLED, binds=[CHECKOUT])
        web = lab.web(folder)
        line = f"rpm [p11] {web.url}/repository {make_repository(folder / 'repository')}"
        minion = {"repositories": [line], "salt": {"master": lab.address, "highstate": False}}
        pillar = {
            "images": {
                generation: {
                    "url": f"{web.url}/{iso.path.name}",
                    "checksum": {"sha256": iso.sha256},
                }
                for generation, iso in isos.items()
            },
            "installs": {
                "new": {**INSTALL, **minion, "disk": "smallest", "layout": "btrfs"},
                "old": {**INSTALL, "disk": "all", "network": "etcnet", "grub_device": "/dev/vda"},
            },
            "hosts": {
                "pc1": {"mac": MACS["pc1"], "image": "p11", "install": "new"},
                "pc2": {"mac": MACS["pc2"], "image": "p10.4", "install": "old"},
                "pc3": {"mac": MACS["pc3"], "image": "p11", "install": "new"},
            },
            "menu": {"timeout_s": 2},
        }
        salt = SaltCall(server, {"netboot": pillar})
        done = salt.apply(server)
        assert done.failed == {}, done.failed
        yield SimpleNamespace(lab=lab, server=server, salt=salt, pillar=pillar)


def disk(path, size=8 * GIB):
    """A disk that begins with something that somebody may miss."""
    with path.open("wb") as file:
        file.write(b"mine")
        file.truncate(size)
    return path


def begins(path):
    with path.open("rb") as file:
        return file.read(4)


def switched_on(site, firmware, name, disks):
    """A machine whose firmware starts over the network, then from its first disk, at each reset."""
    words = ["-action", "reboot=reset"]
    for number, path in enumerate(disks):
        words += ["-drive", f"if=none,id=d{number},format=raw,cache=unsafe,file={path}"]
        words += ["-device", f"virtio-blk-pci,drive=d{number},bootindex={number + 2}"]
    return site.lab.client(firmware, memory_mib=3072, mac=MACS[name], extra=words)


def state(site, name):
    listed = site.salt.call(site.server, "netboot.hosts")
    (one,) = (one for one in listed if one["host"] == name)
    return one["state"], one["step"]


def wait_for_state(site, name, wanted, seconds=120):
    end = time.monotonic() + seconds
    while state(site, name) != wanted:
        assert time.monotonic() < end, (state(site, name), steps(site, name))
        time.sleep(2)


def steps(site, name):
    return site.server.run(["cat", f"/var/lib/netboot/installs/{name}.json"], check=False).stdout


def left(site, name):
    """What of a host's answers is on the server's disk."""
    found = site.server.run(["find", "/var/lib/netboot-answers", "-name", f"{name}.*"])
    return found.stdout


def installed(client, timeout=900):
    """What the installed system says of itself."""
    said = client.wait_for(r"NETBOOT-ALT-INSTALLED (.*?)\r?\n", timeout=timeout)
    return dict(word.split("=", 1) for word in said[1].split())


def test_uefi_p11_to_a_minion(site, tmp_path):
    """Of two disks the smaller one; the master knows the key before the machine has it."""
    master = Master(site.lab, {}, auto_accept=False)
    site.salt.call(site.server, "netboot.arm", "pc1")
    arming = site.salt.call(site.server, "netboot.hosts")
    assert [one["state"] for one in arming] == ["armed", "", ""]
    public = site.server.run(
        ["sh", "-c", "openssl rsa -in /var/lib/netboot-answers/armed/pc1.*/minion.pem -pubout"]
    ).stdout
    (master.directory / "etc/salt/pki/master/minions").mkdir(parents=True, exist_ok=True)
    (master.directory / "etc/salt/pki/master/minions/pc1").write_text(public)
    disks = [disk(tmp_path / "large", 16 * GIB), disk(tmp_path / "small")]
    with switched_on(site, "efi-x86_64", "pc1", disks) as client:
        said = installed(client)
        wait_for_state(site, "pc1", ("installed", "minion"), 300)
        answers = (master.run("pc1", "test.ping", "--timeout=5").stdout for _ in range(60))
        assert any('"pc1": true' in text for text in answers)
    assert (said["generation"], said["hostname"], said["root"]) == ("p11", "pc1", "btrfs")
    assert said["users"] == "pupil"
    assert (begins(disks[0]), begins(disks[1]) == b"mine") == (b"mine", False)
    assert left(site, "pc1") == ""
    text = steps(site, "pc1")
    for step in ("started", "answers", "disk", "packages", "bootloader", "installed", "first-boot"):
        assert f'["{step}", ' in text
    assert "failed" not in text
    # The other hosts are untouched, and this one is not installed again.
    assert [one["state"] for one in site.salt.call(site.server, "netboot.hosts")] == [
        "installed",
        "",
        "",
    ]
    with switched_on(site, "efi-x86_64", "pc1", disks) as client:
        assert installed(client)["hostname"] == "pc1"


@LONG
def test_bios_p10(site, tmp_path):
    site.salt.call(site.server, "netboot.arm", "pc2")
    disks = [disk(tmp_path / "only")]
    with switched_on(site, "bios", "pc2", disks) as client:
        said = installed(client)
        wait_for_state(site, "pc2", ("installed", "first-boot"))
    assert (said["generation"], said["hostname"], said["root"]) == ("p10.4", "pc2", "ext4")
    assert left(site, "pc2") == ""
