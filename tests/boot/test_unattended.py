"""
From power-on to an installed system that is a minion: real firmware, our answers, the stand-in for
ALT's installer. A machine starts over the network each time; what it then boots is the server's
decision.
"""

import json
import time
from types import SimpleNamespace

import pytest

from lab import Lab
from lab.iso import make_iso
from lab.master import Master
from lab.repository import make_repository
from lab.salt import CHECKOUT, SaltCall
from netboot_installing import STEPS
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
    iso = make_iso(folder, stage_mib=1, installer=True)
    with Lab(logs=tmp_path_factory.mktemp("logs")) as lab:
        server = lab.server("netboot1", installed=INSTALLED, binds=[CHECKOUT])
        web = lab.web(folder)
        line = f"rpm [p11] {web.url}/repository {make_repository(folder / 'repository')}"
        minion = {"repositories": [line], "salt": {"master": lab.address, "highstate": False}}
        pillar = {
            "images": {"p11": image_of(web, iso)},
            "installs": {
                "new": {
                    **INSTALL,
                    **minion,
                    "disk": "smallest",
                    "layout": "btrfs",
                    "grub_device": "/dev/vda",
                },
                "old": {**INSTALL, "disk": "all", "network": "etcnet", "grub_device": "/dev/vda"},
            },
            "hosts": {
                "pc1": {"mac": MACS["pc1"], "image": "p11", "install": "new"},
                "pc2": {"mac": MACS["pc2"], "image": "p11", "install": "new"},
                "pc3": {"mac": MACS["pc3"], "image": "p11", "install": "new"},
            },
            "menu": {"timeout_s": 2},
        }
        salt = SaltCall(server, {"netboot": pillar})
        done = salt.apply(server)
        assert done.failed == {}, done.failed
        yield SimpleNamespace(
            lab=lab, server=server, salt=salt, pillar=pillar, web=web, folder=folder
        )


def image_of(web, iso):
    return {"url": f"{web.url}/{iso.path.name}", "checksum": {"sha256": iso.sha256}}


def add_image(site, generation, host):
    """Serve another generation's image, for a host that is installed the old way."""
    iso = make_iso(site.folder, generation, stage_mib=1, installer=True)
    site.pillar["images"][generation] = image_of(site.web, iso)
    site.pillar["hosts"][host] = {"mac": MACS[host], "image": generation, "install": "old"}
    site.salt.write_pillar({"netboot": site.pillar})
    done = site.salt.apply(site.server)
    assert done.failed == {}, done.failed


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


def listed(site):
    return site.salt.call(site.server, "netboot.hosts")


def state(site, name):
    (one,) = (one for one in listed(site) if one["host"] == name)
    return one["state"], one["step"]


def wait_for_state(site, name, wanted, seconds=120):
    end = time.monotonic() + seconds
    while state(site, name) != wanted:
        assert time.monotonic() < end, (state(site, name), steps(site, name))
        time.sleep(2)


def steps(site, name):
    return site.server.run(["cat", f"/var/lib/netboot/installs/{name}.json"], check=False).stdout


def wait_for_step(site, name, step, seconds=300):
    """Of this arming, not of the one before."""
    end = time.monotonic() + seconds
    armings = json.loads(site.server.run(["cat", "/var/lib/netboot/owned/once.json"]).stdout)
    while True:
        found = json.loads(steps(site, name) or '{"arming": ""}')
        if found["arming"] == armings[name]["arming"] and step in str(found["steps"]):
            return
        assert time.monotonic() < end, found
        time.sleep(0.3)


def left(site, name):
    """What of a host's answers is on the server's disk."""
    found = site.server.run(["find", "/var/lib/netboot-answers", "-name", f"{name}.*"])
    return found.stdout


def installed(client, timeout=900):
    """What the installed system says of itself."""
    said = client.wait_for(r"NETBOOT-ALT-INSTALLED (.*?)\r?\n", timeout=timeout)
    return dict(word.split("=", 1) for word in said[1].split())


@pytest.fixture(scope="module")
def master(site):
    return Master(site.lab, {}, auto_accept=False)


@pytest.mark.parametrize(
    ("firmware", "name"), [("bios", "pc1"), pytest.param("efi-x86_64", "pc3", marks=LONG)]
)
def test_p11_to_a_minion(site, master, tmp_path, firmware, name):
    """Of two disks the smaller one; the master knows the key before the machine has it."""
    site.salt.call(site.server, "netboot.arm", name)
    assert state(site, name) == ("armed", "")
    pem = f"/var/lib/netboot-answers/armed/{name}.*/minion.pem"
    public = site.server.run(["sh", "-c", f"openssl rsa -in {pem} -pubout"]).stdout
    keys = master.directory / "etc/salt/pki/master/minions"
    keys.mkdir(parents=True, exist_ok=True)
    (keys / name).write_text(public)
    disks = [disk(tmp_path / "small"), disk(tmp_path / "large", 16 * GIB)]
    with switched_on(site, firmware, name, disks) as client:
        said = installed(client)
        wait_for_state(site, name, ("installed", "minion"), 300)
        answers = (master.run(name, "test.ping", "--timeout=5").stdout for _ in range(60))
        assert any(f'"{name}": true' in text for text in answers)
    assert (said["generation"], said["hostname"], said["root"]) == ("p11", name, "btrfs")
    assert said["users"] == "pupil"
    assert (begins(disks[0]) == b"mine", begins(disks[1])) == (False, b"mine")
    assert left(site, name) == ""
    told = [step for step, *_ in json.loads(steps(site, name))["steps"]]
    assert told == [*STEPS]


@LONG
def test_bios_p10(site, tmp_path):
    add_image(site, "p10.4", "pc2")
    site.salt.call(site.server, "netboot.arm", "pc2")
    disks = [disk(tmp_path / "only")]
    with switched_on(site, "bios", "pc2", disks) as client:
        said = installed(client)
        wait_for_state(site, "pc2", ("installed", "first-boot"))
    assert (said["generation"], said["hostname"], said["root"]) == ("p10.4", "pc2", "ext4")
    assert left(site, "pc2") == ""


@LONG
@pytest.mark.parametrize(
    ("sizes", "why"),
    [
        ((), "this machine has no disk"),
        ((1,), "vda lacks the 4736 MiB that the partitions need"),
        ((8, 8), "the rule smallest fits several disks  vda and vdb"),
    ],
)
def test_disks_that_do_not_fit(site, tmp_path, sizes, why):
    """The machine stops before it writes, and says why; another host's arming is as it was."""
    for name in ("pc1", "pc2"):
        site.salt.call(site.server, "netboot.arm", name)
    before = left(site, "pc1")
    disks = [disk(tmp_path / f"{number}", size * GIB) for number, size in enumerate(sizes)]
    with switched_on(site, "bios", "pc2", disks):
        wait_for_state(site, "pc2", ("failed", "disk"), 300)
    (one,) = (one for one in listed(site) if one["host"] == "pc2")
    assert one["why"] == why
    assert [begins(path) for path in disks] == [b"mine"] * len(disks)
    assert state(site, "pc1") == ("armed", "")
    assert left(site, "pc1") == before


@LONG
@pytest.mark.parametrize("step", ["started", "disk", "bootloader"])
def test_power_cut(site, tmp_path, step):
    """It is not installed by itself again, and another host's arming is as it was."""
    for name in ("pc1", "pc2"):
        site.salt.call(site.server, "netboot.arm", name)
    before = left(site, "pc1")
    disks = [disk(tmp_path / "only")]
    with switched_on(site, "bios", "pc2", disks):
        wait_for_step(site, "pc2", step)
    reached = state(site, "pc2")
    with switched_on(site, "bios", "pc2", disks) as client:
        client.wait_for(r"/once/pc2\.ipxe\.\.\. No such file", timeout=120)
        time.sleep(20)
    assert state(site, "pc2") == reached
    assert state(site, "pc1") == ("armed", "")
    assert left(site, "pc1") == before
    site.salt.call(site.server, "netboot.arm", "pc2")
    assert state(site, "pc2") == ("armed", "")


@LONG
def test_server_that_is_away_for_a_while(site, tmp_path):
    """What an installer has in memory goes on; what it could not report, the first boot tells."""
    site.salt.call(site.server, "netboot.arm", "pc2")
    disks = [disk(tmp_path / "only")]
    with switched_on(site, "bios", "pc2", disks) as client:
        wait_for_step(site, "pc2", "answers")
        client.wait_for("NETBOOT-ALT-FETCHED vm-profile.scm http", timeout=120)
        site.server.run(["systemctl", "stop", "nginx"])
        client.wait_for("NETBOOT-ALT-DONE", timeout=300)
        site.server.run(["systemctl", "start", "nginx"])
        assert installed(client)["hostname"] == "pc2"
        wait_for_state(site, "pc2", ("installed", "minion"), 300)
