"""The test images' first stages: each boots what ALT's boots and refuses what that refuses.

Every other boot test believes its marker, so here each of its refusals is shown once. The kernel is
started directly, without firmware, menu or netboot server.
"""

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab import Lab, network
from lab.iso import IsoError, TestIso, make, make_iso

ALTBOOT = "root=bootchain bootchain=fg,altboot"
HTTP = "automatic=method:http,network:dhcp,server:{server}"
BAD_SERVER = str(Path(__file__).parents[2] / "lab/iso/badserver.py")
# Words of a command line for one boot each; what stands in {} is filled in by Lan.boot().
TREE = f"{ALTBOOT} ip=dhcp4 stagename=live {HTTP},directory:/tree"
WHOLE_ISO = f"{ALTBOOT} ip=dhcp4 stagename=live {HTTP},type:iso,directory:/{{name}}"
FAULT = f"{ALTBOOT} ip=dhcp4 stagename=live automatic=method:http,server:{{bad_server}},directory:/"
NOBODY = f"{ALTBOOT} ip=dhcp4 stagename=live automatic=server:{{nobody}},directory:/tree"
# What the first stages do changes with lab/iso alone, so the rest of it need not be shown each day.
LONG = pytest.mark.long
INSTALLER = "systemd.unit=install2.target"
# The same for other generations: their trees are beside their ISOs.
PROPAGATOR = "changedisk fastboot automatic=method:http,network:dhcp,server:{server}"
PROPAGATOR_TREE = f"{PROPAGATOR},directory:/{{generation}}"
PROPAGATOR_ISO = f"{PROPAGATOR},directory:/{{name}}"
OLD_ALTBOOT = f"{ALTBOOT} ip=dhcp4 stagename=live {HTTP}"


@dataclass
class Lan:
    """A lab with ISOs, their unpacked trees and two web servers, a good one and a bad one."""

    lab: Lab
    isos: dict[str, TestIso]
    directory: Path
    web: object
    boots: int = 0

    @property
    def iso(self):
        return self.isos["p11"]

    def boot(self, cmdline, memory_mib=512, generation="p11", stage="live"):
        """Boots a client; returns ("MARKER", dict) or ("REFUSED", sentence)."""
        iso = self.isos[generation]
        words = cmdline.format(
            server=self.web.url.removeprefix("http://"),
            bad_server=f"{self.lab.address}:8001",
            nobody=self.lab.address,  # but for the two web servers
            mac=network.client_mac(self.lab.number, self.boots),  # a lab counts its clients
            name=iso.path.name,
            generation=generation,
            iso_sha256=iso.sha256,
            stage_size=iso.stages[stage][0],
            stage_sha256=iso.stages[stage][1],
            ramdisk_size=iso.stages[stage][0] // 1024 + 1,
        )
        self.boots += 1
        tree = self.directory / ("tree" if generation == "p11" else generation)
        with self.lab.client(
            "bios",
            memory_mib=memory_mib,
            kernel=tree / iso.kernel[1:],
            initrd=tree / iso.initrd[1:],
            cmdline=words,
        ) as client:
            said = client.wait_for(r"NETBOOT-ALT-(MARKER|REFUSED) (.*?)\r?\n", timeout=90)
        if said[1] == "REFUSED":
            return said[1], said[2]
        return said[1], dict(word.split("=", 1) for word in said[2].split())

    def requests(self):
        """(method, path, status) of what the good web server answered."""
        return [(r["method"], r["path"], r["status"]) for r in self.web.requests()]


@pytest.fixture(scope="module")
def lan(tmp_path_factory):
    """One lab for all boots of this file."""
    directory = tmp_path_factory.mktemp("web")
    isos = {"p11": make_iso(directory)}
    isos["p11"].unpack(directory / "tree")
    for generation in ("p9", "p10-2021-09", "p10.1", "sisyphus-2022", "p11-2024"):
        isos[generation] = make_iso(directory, generation, stage_mib=1)
        isos[generation].unpack(directory / generation)
    with Lab() as started:
        arguments = [str(directory / "tree"), started.address, "8001"]
        bad = started.popen([sys.executable, BAD_SERVER, *arguments], stdout=subprocess.PIPE)
        assert bad.stdout.readline() == "ready\n"
        yield Lan(started, isos, directory, started.web(directory))


@pytest.mark.parametrize(
    ("cmdline", "expected"),
    [
        pytest.param(
            TREE,
            {"form": "tree", "target": "rootfs.squash", "variant": "livecd", "nic": "eth0"},
            id="tree",
        ),
        pytest.param(
            f"{TREE}/ ramdisk_size={{ramdisk_size}}",
            {"form": "tree", "target": "ram0", "variant": "livecd"},
            id="tree with ramdisk_size",
            marks=LONG,
        ),
        pytest.param(
            f"{TREE} ramdisk_size={{ramdisk_size}} module_blacklist=brd",
            {"form": "tree", "target": "rootfs.squash"},
            id="ramdisk_size on a kernel without RAM disks",
            marks=LONG,
        ),
        pytest.param(
            f"{TREE} {INSTALLER}",
            {
                "form": "tree",
                "variant": "install",
                "METHOD": "http",
                "PREFIX": "/tree",
                "DEVICE": "eth0",
            },
            id="installer from tree",
            marks=LONG,
        ),
        pytest.param(
            f"{WHOLE_ISO} hash={{iso_sha256}} {INSTALLER}",
            {"form": "iso", "target": "boot-image.iso", "variant": "install", "DEVICE": "eth0"},
            id="installer from ISO with its hash",
        ),
        pytest.param(
            f"{TREE} systemd.unit=live-rescue.target",
            {"variant": "rescue"},
            id="rescue",
            marks=LONG,
        ),
        pytest.param(
            TREE.replace("directory:", "directory:/other,unknown:key,directory:"),
            {"nic": "eth0"},
            id="an unknown key, the last directory wins",
            marks=LONG,
        ),
        pytest.param(
            f"{FAULT}no-length,imgsize:{{stage_size}}",
            {"form": "tree"},
            id="imgsize needs no HEAD",
            marks=LONG,
        ),
    ],
)
def test_boots(lan, cmdline, expected):
    outcome, marker = lan.boot(cmdline)

    assert outcome == "MARKER", marker
    assert marker | expected == marker
    size, digest = lan.iso.stages["live"]
    assert (marker["digest"], marker["bytes"]) == (digest, str(size))
    assert (marker["method"], marker["stage"]) == ("http", "live")
    assert 0 < float(marker["seconds"]) < 90


@LONG
def test_names_the_boot_nic(lan):
    outcome, marker = lan.boot(
        f"{ALTBOOT} ifname=bootif0:{{mac}} ip=bootif0:dhcp4 stagename=live {HTTP},directory:/tree"
    )

    assert outcome == "MARKER", marker
    assert marker["nic"] == "bootif0"


@pytest.mark.parametrize(
    ("cmdline", "reason"),
    [
        pytest.param(
            TREE.replace("root=bootchain", "root=/dev/ram0"),
            "no root=bootchain",
            id="no root=",
            marks=LONG,
        ),
        pytest.param(
            TREE.replace("bootchain=fg,altboot", ""),
            "no bootchain=",
            id="no bootchain=",
            marks=LONG,
        ),
        pytest.param(
            f"{ALTBOOT} ip=dhcp4 stagename=live", "names no method", id="no automatic=", marks=LONG
        ),
        pytest.param(
            TREE.replace("stagename=live", ""),
            "/tree/altinst answered 404",
            id="no stagename=",
            marks=LONG,
        ),
        pytest.param(f"{FAULT}redirect", "301, a redirect", id="redirect", marks=LONG),
        pytest.param(
            f"{FAULT}no-length", "without a Content-Length", id="no Content-Length", marks=LONG
        ),
        pytest.param(
            f"{FAULT}lower-case", "without a Content-Length", id="content-length:", marks=LONG
        ),
        pytest.param(
            f"{FAULT}late", "HEAD .* no answer", id="HEAD takes more than 7 seconds", marks=LONG
        ),
        # curl without -f: the error page becomes the stage
        pytest.param(
            f"{FAULT}get-404", "is no squashfs", id="HEAD is fine, GET is not", marks=LONG
        ),
        pytest.param(
            f"{ALTBOOT} stagename=live {HTTP},directory:/tree", "no ip=", id="no ip=", marks=LONG
        ),
        pytest.param(f"{FAULT}short", r"delivered \d+ bytes", id="body breaks off", marks=LONG),
        pytest.param(
            f"{FAULT}long", r"offers \d+ bytes", id="body longer than HEAD said", marks=LONG
        ),
        pytest.param(
            TREE.replace("/tree", "/tree,imgsize:4096"),
            "4096 were expected",
            id="wrong imgsize",
            marks=LONG,
        ),
        pytest.param(
            f"{TREE} ramdisk_size=4096",
            "does not fit",
            id="stage larger than ramdisk_size",
            marks=LONG,
        ),
        pytest.param(f"{WHOLE_ISO} hash={{stage_sha256}}", "is not hash=", id="wrong hash="),
        pytest.param(
            f"{TREE} hash={{stage_sha256}}",
            "hash= .* http tree",
            id="hash= with an http tree",
            marks=LONG,
        ),
        pytest.param(
            TREE.replace("/tree", "/{name}"),
            "answered 404",
            id="whole ISO without type:iso",
            marks=LONG,
        ),
        pytest.param(
            f"{TREE} systemd.unit=no.target", "no systemd unit", id="no such unit", marks=LONG
        ),
        pytest.param(
            f"{ALTBOOT} ip=eth7:dhcp4 stagename=live {HTTP},directory:/tree",
            "no NIC eth7",
            id="no such NIC",
            marks=LONG,
        ),
        pytest.param(
            f"{NOBODY},method:nfs", "/tree cannot be mounted", id="no NFS server", marks=LONG
        ),
        pytest.param(
            f"{NOBODY},method:cifs", "/tree cannot be mounted", id="no SMB server", marks=LONG
        ),
        pytest.param(
            f"{NOBODY},method:ftp", "tells no size of /tree/live", id="no FTP server", marks=LONG
        ),
    ],
)
def test_refuses(lan, cmdline, reason):
    outcome, sentence = lan.boot(cmdline)

    assert outcome == "REFUSED", sentence
    assert re.search(reason, sentence), sentence


@pytest.mark.parametrize(
    ("generation", "stage", "cmdline", "expected"),
    [
        pytest.param(
            "p9",
            "live",
            f"{ALTBOOT} ip=none {PROPAGATOR_TREE},type:iso,unknown:key stagename=live "
            "ramdisk_size={ramdisk_size} hash={stage_sha256}",
            {"form": "tree", "target": "ram0", "variant": "livecd", "dialect": "propagator"},
            id="p9: tree with ramdisk_size and hash, altboot's words are ignored",
        ),
        pytest.param(
            "p9",
            "altinst",
            f"{PROPAGATOR_TREE} ramdisk_size={{ramdisk_size}}",
            {"form": "tree", "variant": "install", "stage": "altinst"},
            id="p9: altinst is the default",
            marks=LONG,
        ),
        pytest.param(
            "p10-2021-09",
            "live",
            f"{PROPAGATOR_TREE} stagename=live",
            {"form": "tree", "target": "rootfs.squash", "dialect": "propagator"},
            id="from 2021-09-08: tree without ramdisk_size",
            marks=LONG,
        ),
        pytest.param(
            "p10.1",
            "altinst",
            f"{PROPAGATOR_ISO} stagename=altinst",
            {
                "form": "iso",
                "target": "boot-image.iso",
                "variant": "install",
                "dialect": "propagator",
            },
            id="10.1: whole ISO",
            marks=LONG,
        ),
        pytest.param(
            "sisyphus-2022",
            "live",
            f"{OLD_ALTBOOT},directory:/{{generation}} ramdisk_size={{ramdisk_size}} "
            "init=/usr/sbin/install2-init",
            {"form": "tree", "target": "ram0", "variant": "install", "dialect": "altboot"},
            id="before alt17: tree with ramdisk_size",
            marks=LONG,
        ),
        pytest.param(
            "sisyphus-2022",
            "live",
            f"{OLD_ALTBOOT},directory:/{{name}}",
            {"form": "iso", "variant": "livecd"},
            id="before alt17: whole ISO without type:iso",
            marks=LONG,
        ),
        pytest.param(
            "p11-2024",
            "live",
            f"{OLD_ALTBOOT},type:iso,directory:/{{name}} init=/usr/sbin/install2-init",
            {"form": "iso", "variant": "install", "dialect": "altboot"},
            id="p11 before 2025: the installer by init=",
            marks=LONG,
        ),
    ],
)
def test_other_generations_boot(lan, generation, stage, cmdline, expected):
    outcome, marker = lan.boot(cmdline, generation=generation, stage=stage)

    assert outcome == "MARKER", marker
    assert marker | expected == marker
    size, digest = lan.isos[generation].stages[stage]
    assert (marker["digest"], marker["bytes"]) == (digest, str(size))
    assert (marker["generation"], marker["method"]) == (generation, "http")


@pytest.mark.parametrize(
    ("generation", "cmdline", "reason"),
    [
        pytest.param(
            "p9",
            f"{PROPAGATOR_TREE} ip=dhcp4 stagename=live ramdisk_size={{ramdisk_size}}".replace(
                "network:dhcp,", ""
            ),
            "no network:dhcp",
            id="propagator without network:dhcp",
            marks=LONG,
        ),
        pytest.param(
            "p9",
            f"{PROPAGATOR_TREE} stagename=live",
            "no ramdisk_size=, which propagator needs",
            id="before 2021-09-08: no ramdisk_size",
        ),
        pytest.param(
            "p9",
            f"{PROPAGATOR_TREE} stagename=live ramdisk_size={{ramdisk_size}} hash={{iso_sha256}}",
            "the stage's SHA-256 is not hash=",
            id="propagator: wrong hash",
            marks=LONG,
        ),
        pytest.param(
            "p10-2021-09",
            f"{PROPAGATOR_ISO} stagename=live",
            r"\.iso/live answered 404",
            id="before 2021-09-22: whole ISO",
            marks=LONG,
        ),
        pytest.param(
            "p10.1",
            f"{PROPAGATOR_ISO} stagename=live ramdisk_size={{ramdisk_size}}",
            r"\.iso/live answered 404",
            id="10.1: whole ISO with ramdisk_size",
            marks=LONG,
        ),
        pytest.param(
            "p10.1",
            f"{PROPAGATOR_ISO} stagename=live hash={{iso_sha256}}",
            "hash= .* is not known",
            id="10.1: whole ISO with hash",
            marks=LONG,
        ),
        pytest.param(
            "p10.1",
            f"{PROPAGATOR_ISO} stagename=live".replace("method:http", "method:ftp"),
            "whole ISO over ftp is not known",
            id="10.1: whole ISO over FTP",
            marks=LONG,
        ),
        pytest.param(
            "p10.1",
            f"{PROPAGATOR_TREE} stagename=live lowmem hash={{stage_sha256}}".replace(
                "method:http", "method:cifs"
            ),
            "hash= and cifs is not known",
            id="10.1: hash and a share",
            marks=LONG,
        ),
        pytest.param(
            "p9",
            f"{PROPAGATOR_TREE} stagename=live".replace("method:http", "method:nfs"),
            "no ramdisk_size=, which propagator needs",
            id="before 2021-09-08: a share without lowmem or ramdisk_size",
            marks=LONG,
        ),
        pytest.param(
            "p9",
            f"{PROPAGATOR_TREE},directory:/other stagename=live ramdisk_size={{ramdisk_size}}",
            "two of directory",
            id="propagator: a key twice",
            marks=LONG,
        ),
        # With dots, as the kernel hands at most 32 other words to init, and then panics.
        pytest.param(
            "p9",
            f"{PROPAGATOR_TREE} {'a. ' * 50} stagename=live ramdisk_size={{ramdisk_size}}",
            "more than 50 words",
            id="propagator: 50 words",
            marks=LONG,
        ),
        pytest.param(
            "p9",
            f"{PROPAGATOR_TREE} {'a' * 450} stagename=live ramdisk_size={{ramdisk_size}}",
            "no ramdisk_size=",
            id="propagator: 511 characters",
            marks=LONG,
        ),
        pytest.param(
            "sisyphus-2022",
            f"{OLD_ALTBOOT},directory:/{{generation}}",
            r"HEAD http://\S+/sisyphus-2022 answered",
            id="before alt17: tree without ramdisk_size",
            marks=LONG,
        ),
    ],
)
def test_other_generations_refuse(lan, generation, cmdline, reason):
    outcome, sentence = lan.boot(cmdline, generation=generation)

    assert outcome == "REFUSED", sentence
    assert re.search(reason, sentence), sentence


@LONG
def test_ramdisk_size_wins_over_type_iso(lan):
    outcome, sentence = lan.boot(f"{WHOLE_ISO} ramdisk_size={{ramdisk_size}}")

    assert outcome == "REFUSED", sentence
    assert ("HEAD", f"/{lan.iso.path.name}/live", 404) in lan.requests()


@LONG
def test_refuses_a_tmpfs_over_half_of_the_memory(lan):
    outcome, sentence = lan.boot(WHOLE_ISO, memory_mib=96)

    assert outcome == "REFUSED", sentence
    assert "more than half of the available memory" in sentence
    assert lan.requests()[-1] == ("HEAD", f"/{lan.iso.path.name}", 200)


def test_same_arguments_give_the_same_iso(tmp_path, monkeypatch):
    first = make_iso(tmp_path / "first", stage_mib=1)
    (tmp_path / "kernels").symlink_to(make.CACHE / "kernels")
    monkeypatch.setattr(make, "CACHE", tmp_path)

    again = make_iso(tmp_path / "again", stage_mib=1)
    other = make_iso(tmp_path / "again", stage_mib=1, edition="other")

    assert again.sha256 == first.sha256
    assert other.stages["live"][1] != first.stages["live"][1]
    with pytest.raises(IsoError, match="no generation p1"):
        make_iso(tmp_path, generation="p1")
    with pytest.raises(IsoError, match="p8 has no riscv64"):
        make_iso(tmp_path, generation="p8", arch="riscv64")
