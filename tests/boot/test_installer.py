"""The stand-in for ALT's installer, from the first stage to the first boot of what it installed.

Kernel and initrd are started directly; the installed system starts from its disk by its firmware.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab import Lab
from lab.client import FIRMWARE
from lab.iso import TestIso, make_iso
from tests import answers

GIB = 1 << 30
P11 = (
    "root=bootchain bootchain=fg,altboot ip=dhcp4 stagename=live systemd.unit=install2.target"
    " automatic=method:http,network:dhcp,server:{server},type:iso,directory:/{name} ai curl={curl} console=ttyS0"
)
P10 = (
    "changedisk fastboot automatic=method:http,network:dhcp,server:{server},directory:/{name}"
    " stagename=altinst ai curl={curl} console=ttyS0"
)
ENDS = r"NETBOOT-ALT-(?:DONE|REFUSED).*|autoinstall FAILED.*"


@dataclass
class Site:
    """A lab with a web server of ISOs and of answers."""

    lab: Lab
    folder: Path
    web: object

    def install(self, iso, cmdline, firmware, disks, answers):
        """Installs with these answers (content by file name); returns what the client wrote."""
        trees = self.folder / f"tree-{iso.path.stem}"
        if not trees.exists():
            iso.unpack(trees)
        place = self.folder / "answers"
        place.mkdir(exist_ok=True)
        for old in place.iterdir():
            old.unlink()
        for name, content in answers.items():
            data = content.encode() if isinstance(content, str) else content
            (place / name).write_bytes(data)
        words = cmdline.format(
            server=self.web.url.removeprefix("http://"),
            name=iso.path.name,
            curl=f"{self.web.url}/answers/",
        )
        kernel, initrd = (trees / path[1:] for path in (iso.kernel, iso.initrd))
        extra = [*drives(disks), *self.flash(firmware)]
        with self.lab.client(
            firmware, kernel=kernel, initrd=initrd, cmdline=words, extra=extra
        ) as client:
            client.wait_for(ENDS, timeout=600)
            client.wait(60)
            return client.serial_log.read_text(errors="replace").replace("\r", "")

    def flash(self, name):
        """QEMU's words for UEFI, which a client that is given a kernel does without otherwise."""
        firmware = FIRMWARE[name]
        if firmware.code:
            variables = self.lab.directory / "install.vars"
            shutil.copyfile(firmware.variables, variables)
            yield from ("-drive", f"if=pflash,format=raw,readonly=on,file={firmware.code}")
            yield from ("-drive", f"if=pflash,format=raw,file={variables}")

    def first_boot(self, firmware, disks):
        """Starts from the disk; returns what the installed system says of itself."""
        with self.lab.client(firmware, extra=[*drives(disks, ",bootindex=0")]) as client:
            said = client.wait_for(r"NETBOOT-ALT-INSTALLED (.*?)\r?\n", timeout=600)
            log = client.serial_log.read_text(errors="replace").replace("\r", "")
        return dict(word.split("=", 1) for word in said[1].split()), log


def drives(disks, first=""):
    """QEMU's words for disks; first: more of them for the first disk."""
    for number, disk in enumerate(disks):
        yield from ("-drive", f"if=none,id=disk{number},format=raw,cache=unsafe,file={disk}")
        yield from ("-device", f"virtio-blk-pci,drive=disk{number}{first * (not number)}")


def empty_disk(path, size=2 * GIB):
    with path.open("wb") as file:
        file.truncate(size)
    return path


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("web")
    with Lab(logs=tmp_path_factory.mktemp("logs")) as lab:
        yield Site(lab, folder, lab.web(folder))


def test_p11_uefi(site, tmp_path):
    iso = make_iso(site.folder, stage_mib=1, installer=True)
    disk = empty_disk(tmp_path / "disk")
    text = (
        answers.BEGINNING
        + answers.DISK.format(profile="arming-1a2b")
        + answers.PACKAGES.format(step="pkg-install-init", lists="test/base")
        + answers.GRUB_EFI
        + answers.network("pc1")
        + answers.CRYPTED_ROOT
        + answers.CRYPTED_USER
        + answers.HOOK.format(hook="firsttime", key="run", value="echo HELLO-FIRST-TIME")
    )
    files = {
        "autoinstall.scm": text,
        "vm-profile.scm": answers.profile("arming-1a2b", answers.SWAP, answers.BTRFS),
        "install-scripts.tar": answers.scripts_tar(
            {
                "initinstall.d/50-look": "#!/bin/sh\necho HELLO-INIT > /dev/ttyS0\n",
                "postinstall.d/80-files": "#!/bin/sh\n. install2-init-functions\n"
                'echo mine > "$destdir/etc/mine"\nexec_chroot cat /etc/mine > /dev/ttyS0\n',
            }
        ),
    }
    log = site.install(iso, P11, "efi-x86_64", [disk], files)
    assert "NETBOOT-ALT-DONE" in log
    said, log = site.first_boot("efi-x86_64", [disk])
    assert said["generation"] == "p11"
