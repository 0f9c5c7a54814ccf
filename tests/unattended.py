"""A site with machines that are installed unattended, for tests that boot them.

A machine is switched on with `switched_on()`, and loses its power when that `with` block ends.
"""

import contextlib
import json
import time
from types import SimpleNamespace

from lab import Lab
from lab.iso import make_iso
from lab.repository import make_repository
from lab.salt import CHECKOUT, SaltCall
from tests.servers import WITH_CLIENTS

GIB = 1 << 30
# Of the word "netboot", made by: openssl passwd -6 -salt saltsalt
HASH = (
    "$6$saltsalt$7G9Xq4GHynMSd.hgEvBFa1aJjPdC9tNGNCq3RMyhwKKGKRhn"
    "fbM5Dvy/5UzG3phJ07.9KmRsFK2qwny3/nnhT/"
)
INSTALL = {
    "root_password": HASH,
    "users": {"pupil": {"password": HASH, "real_name": "Pupil"}},
    "swap_mib": 128,
    "root_mib": 4096,
    "interfaces": ["enp0s2", "enp0s3", "ens3", "eth0"],
    "grub_device": "/dev/vda",
}
MINE = b"mine"
# Past what is looked at to find out whether a disk is empty.
LATER = 2 << 20
STATIC = 77


@contextlib.contextmanager
def made_site(tmp_path_factory, isos, installs, hosts, static=()):
    """A lab with one netboot server, a repository with Salt, and these hosts.

    isos: for each image, more of it in the pillar, and what make_iso() is given. installs: what
    differs from INSTALL; salt: True for a minion of the lab's. hosts: image and install; static:
    those with the address STATIC, for QEMU's machine q35.
    """
    folder = tmp_path_factory.mktemp("web")
    with Lab(logs=tmp_path_factory.mktemp("logs")) as lab:
        server = lab.server("netboot1", installed=WITH_CLIENTS, binds=[CHECKOUT])
        web = lab.web(folder)
        line = f"rpm [p11] {web.url}/repository {make_repository(folder / 'repository')}"
        minion = {"repositories": [line], "salt": {"master": lab.address}}
        images = {}
        for name, (more, given) in isos.items():
            iso = make_iso(folder, name=name, stage_mib=1, installer=True, **given)
            url = f"{web.url}/{iso.path.name}"
            images[name] = {"url": url, "checksum": {"sha256": iso.sha256}, **more}
        pillar = {
            "images": images,
            "installs": {
                name: {**INSTALL, **one, **(minion if "salt" in one else {})}
                for name, one in installs.items()
            },
            "hosts": {
                name: {"mac": mac_of(name), "image": image, "install": install}
                for name, (image, install) in hosts.items()
            },
            "menu": {"timeout_s": 2},
        }
        for name in static:
            address = f"{lab.address.rpartition('.')[0]}.{STATIC}/24"
            pillar["hosts"][name]["network"] = {"interface": "enp0s2", "address": address}
        salt = SaltCall(server, {"netboot": pillar})
        done = salt.apply(server)
        assert done.failed == {}, done.failed
        yield SimpleNamespace(lab=lab, server=server, salt=salt, folder=folder, pillar=pillar)


def mac_of(name):
    """Of pc1 and its like."""
    return f"52:54:00:00:01:{int(name.removeprefix('pc')):02}"


def disk(path, size=8 * GIB, at=0):
    """A disk with something, at this byte, that somebody may miss."""
    with path.open("wb") as file:
        file.truncate(size)
        file.seek(at)
        file.write(MINE)
    return path


def is_kept(path, at=0):
    with path.open("rb") as file:
        file.seek(at)
        return file.read(len(MINE)) == MINE


def switched_on(site, firmware, name, disks):
    """A machine whose firmware starts over the network, then from its first disk, at each reset."""
    words = ["-action", "reboot=reset"]
    for number, path in enumerate(disks):
        words += ["-drive", f"if=none,id=d{number},format=raw,cache=unsafe,file={path}"]
        words += ["-device", f"virtio-blk-pci,drive=d{number},bootindex={number + 2}"]
    return site.lab.client(firmware, memory_mib=3072, mac=mac_of(name), extra=words)


def arm(site, name, *arguments):
    site.salt.call(site.server, "netboot.arm", name, *arguments)


def listed(site, name):
    """What netboot.hosts says of a host."""
    found = site.salt.call(site.server, "netboot.hosts")
    (one,) = (one for one in found if one["host"] == name)
    return one


def state(site, name):
    one = listed(site, name)
    return one["state"], one["step"]


def wait_for_state(site, name, wanted, seconds=120):
    """As netboot.hosts says it, which takes a second: it is asked once the report is there."""
    prefix = "failed-" if wanted[0] == "failed" else ""
    wait_for_step(site, name, f"{prefix}{wanted[1]}", seconds)
    assert state(site, name) == wanted


def record(site, name):
    """What is on record of a host's install, as text."""
    return site.server.run(["cat", f"/var/lib/netboot/installs/{name}.json"], check=False).stdout


def wait_for_step(site, name, step, seconds=300):
    """Of this arming, not of the one before."""
    end = time.monotonic() + seconds
    armings = json.loads(site.server.run(["cat", "/var/lib/netboot/owned/once.json"]).stdout)
    while True:
        found = json.loads(record(site, name) or '{"arming": ""}')
        if found["arming"] == armings[name]["arming"] and step in (
            one[0] for one in found["steps"]
        ):
            return
        assert time.monotonic() < end, f"{name} did not report {step} in {seconds} s: {found}"
        time.sleep(0.3)


def left(site, name):
    """What of a host's answers is on the server's disk, with sums of its files."""
    found = f"find /var/lib/netboot-answers -path '*/{name}.*' -type f"
    return site.server.run(["sh", "-c", f"{found} | sort | xargs -r sha256sum"]).stdout


def installed(client, timeout=900):
    """What the installed system says of itself."""
    said = client.wait_for(r"NETBOOT-ALT-INSTALLED (.*?)\r?\n", timeout=timeout)
    return dict(word.split("=", 1) for word in said[1].split())


def log_of(client):
    return client.serial_log.read_text(errors="replace").replace("\r", "")
