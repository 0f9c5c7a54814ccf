"""Machines that boot once by an image's own GRUB: read over TFTP, seen by a real netboot-once."""

import re
import time

import pytest

from lab import Lab, network
from lab.iso import make_iso
from lab.salt import CHECKOUT, SaltCall
from tests.servers import INSTALLED

SCRIPTS = "/srv/export/tftp/grub/once"
STAGE = "/tftp/netboot/x86_64/p11/live"


@pytest.fixture(scope="module")
def lan(tmp_path_factory):
    """A server with an armed host, and machines behind a router: the lab's own address."""
    folder = tmp_path_factory.mktemp("web")
    iso = make_iso(folder, stage_mib=2, signed="tree")
    with Lab(logs=tmp_path_factory.mktemp("logs")) as lab:
        server = lab.server("netboot1", installed=INSTALLED, binds=[CHECKOUT])
        image = {
            "url": f"{lab.web(folder).url}/{iso.path.name}",
            "checksum": {"sha256": iso.sha256},
        }
        pillar = {
            "interface": "eth0",
            "images": {"p11": image},
            "secure_boot": {"efi-x86_64": {"image": "p11"}},
        }
        salt = SaltCall(server, {"netboot": pillar})
        assert salt.apply(server).failed == {}
        host = {"mac": network.client_mac(lab.number, 7), "image": "p11", "variant": "livecd"}
        salt.write_pillar({"netboot": {**pillar, "hosts": {"pc1": {**host, "once": True}}}})
        lab.behind = [f"198.19.{lab.number}.{number}" for number in (5, 6)]
        for address in lab.behind:
            lab.run(["ip", "address", "add", f"{address}/32", "dev", "lo"])
            server.run(["ip", "route", "add", address, "via", lab.address])
        lab.salt, lab.machine, lab.pillar = salt, server, pillar
        yield lab


def fetched(lan, url, address):
    """What a machine with that address gets; None: nothing."""
    argv = ["curl", "-sf", "--max-time", "20", "--interface", address, url]
    done = lan.run(argv, check=False, capture_output=True)
    return done.stdout if done.returncode == 0 else None


def booted(lan):
    (one,) = lan.salt.call(lan.machine, "netboot_once.list")
    return bool(one["booted"])


def test_machines_behind_a_router(lan):
    """The kernel does not know their MAC addresses, so dnsmasq's journal tells who read what."""
    reader, other = lan.behind
    assert lan.salt.apply(lan.machine).failed == {}
    lan.machine.run(["systemd-analyze", "verify", "netboot-once.service"])
    server = lan.machine.address
    url = f"tftp://{server}/grub/once/pc1.cfg"
    assert fetched(lan, url, reader) is None
    lan.salt.call(lan.machine, "netboot.arm", "pc1")
    script = fetched(lan, url, reader)
    (path,) = re.findall(r"/host/pc1\.[0-9a-f]{32}", script)
    argv = ["curl", "-sf", "-o", "/dev/null", f"http://{server}{path}{STAGE}", "--interface"]
    lan.run([*argv, other])
    time.sleep(4)
    assert not booted(lan), "who did not read the script"
    lan.run([*argv, reader])
    end = time.monotonic() + 20
    while not booted(lan):
        assert time.monotonic() < end, lan.machine.run(["journalctl", "-u", "netboot-once"]).stdout
    assert fetched(lan, url, reader) is None
    assert lan.salt.apply(lan.machine).changed == {}


def test_probe_reads_what_grub_does(lan):
    def wrong():
        told = lan.salt.call(lan.machine, "netboot.check", "probe=True")
        return [one["text"] for one in told if one["severity"] == "error"]

    assert wrong() == []
    files = ["grub/grub.cfg", "grub/grubx64.efi", "netboot/x86_64/p11/boot/initrd.img"]
    top = "/srv/export/tftp"
    for file in files:
        lan.machine.run(["mv", f"{top}/{file}", f"{top}/{file}.moved"])
    told = wrong()
    for file in files:
        lan.machine.run(["mv", f"{top}/{file}.moved", f"{top}/{file}"])
    for file in files:
        of_grub = f"tftp://{lan.machine.address}/{file}"
        assert any("efi-x86_64" in one and of_grub in one for one in told), told


def test_key_that_goes(lan):
    lan.salt.write_pillar({"netboot": {**lan.pillar, "secure_boot": {}}})
    assert lan.salt.apply(lan.machine).failed == {}
    lan.machine.run(["test", "!", "-e", "/srv/export/tftp/grub"])
