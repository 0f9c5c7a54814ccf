"""A netboot server that is a QEMU machine, for what needs a kernel of its own."""

import os
import shlex
import tempfile
from pathlib import Path

from . import network
from .host import LabError, require, tail
from .machine import Server, run

DISK = "12G"  # sparse

# QEMU translates anew what stands at another address, so each program would start from nothing.
CMDLINE = ["root=/dev/vda rw console=ttyS0 net.ifnames=0", "mitigations=off", "norandmaps"]
# The kernel's tests of ciphers, which nothing here uses, can take longer than a boot may.
CMDLINE += ["cryptomgr.notests", "nosoftlockup"]
# What packages start at boot, in the way of what is waited for, and no test is about.
CMDLINE += [f"systemd.mask={unit}.service" for unit in ("e2scrub_reap", "nmbd", "samba-ad-dc")]

NETWORK = """[Match]
Name=eth0

[Network]
Address={address}/24
Gateway={router}
"""

# $1 the bare root, $2 the machine's directory, $3 the size of the disk.
MAKE_DISK = """set -e
cd "$2"
mount --bind "$1" lower
mount -t overlay -o lowerdir=lower,upperdir=upper,workdir=work overlay merged
cp -L merged/vmlinuz merged/initrd.img .
mkfs.ext4 -q -d merged disk "$3"
"""


class Guest(Server):
    """One with Debian's own kernel; made and started by Lab.guest().

    QEMU emulates its processor. Its disk is a file that goes with the lab.
    """

    def __init__(self, lab, name, root, address, number, sources, memory_mib):
        require("qemu-system-x86_64", "ssh-keygen", "mkfs.ext4")
        super().__init__(lab, name, root, address, sources)
        self._tap, self._memory_mib = f"guest{number}", memory_mib
        self._mac = f"52:54:00:4f:{lab.number:02x}:{number:02x}"
        unshare = ["unshare", "--mount", "sh", "-c", MAKE_DISK, "make-disk"]
        run([*unshare, str(root), str(self._directory), DISK], check=True, capture_output=True)
        network.add_tap(lab.name, self._tap)

    def _write_identity(self, sources):
        super()._write_identity(sources)
        self._write("etc/fstab", "/dev/vda / ext4 rw 0 1\n")
        settings = NETWORK.format(address=self.address, router=self._lab.address)
        self._write("etc/systemd/network/lan.network", settings)

    def _argv(self):
        return [
            "qemu-system-x86_64",
            "-machine",
            "q35",
            "-accel",
            "tcg",
            "-cpu",
            "Nehalem",  # a newer one's vector instructions are slow to emulate
            "-smp",
            str(min(2, os.cpu_count())),
            "-m",
            str(self._memory_mib),
            "-nodefaults",
            "-display",
            "none",
            "-serial",
            "stdio",
            "-kernel",
            str(self._directory / "vmlinuz"),
            "-initrd",
            str(self._directory / "initrd.img"),
            "-append",
            " ".join(CMDLINE),
            "-drive",
            f"if=virtio,format=raw,cache=unsafe,file={self._directory / 'disk'}",
            "-device",
            "virtio-rng-pci",
            "-netdev",
            f"tap,id=lan,ifname={self._tap},script=no,downscript=no",
            "-device",
            f"virtio-net-pci,netdev=lan,mac={self._mac},romfile=",
        ]

    def run(self, argv, check=True, input=None, timeout=None):
        """Run a command inside the machine as its root, over ssh.

        argv: the words of the command; input: text for its stdin; timeout: seconds.
        Returns a CompletedProcess with text in stdout and stderr; raises CalledProcessError, with
        stderr as a note, when check is true and the command fails.
        """
        if self._process.poll() is not None:
            raise LabError(f"{self.name} is not running:\n{tail(self.console_log)}")
        capture = {"input": input or "", "timeout": timeout, "capture_output": True}
        return self._lab.run(self._ssh(argv), check, **capture)

    def copy(self, path, folder):
        """Copy a file or folder of this host into a folder of the machine."""
        path = Path(path)
        with tempfile.TemporaryFile() as archive:
            run(["tar", "-cC", str(path.parent), path.name], check=True, stdout=archive)
            archive.seek(0)
            command = self._ssh(["tar", "-xC", folder, "--no-same-owner"])
            self._lab.run(command, stdin=archive, capture_output=True)

    def _ssh(self, argv):
        # A connection that a reboot cut off is not waited for.
        patience = ["ConnectTimeout=5", "ServerAliveInterval=5"]
        # To make one takes the machine longer than most commands; it ends with the lab.
        shared = ["ControlMaster=auto", "ControlPersist=yes", f"ControlPath={self._directory}/ssh"]
        options = [f"UserKnownHostsFile={self._lab.known_hosts}", "BatchMode=yes"]
        options = [f"-o{option}" for option in [*options, *patience, *shared]]
        where = f"root@{self.address}"
        return ["ssh", "-F", "none", "-i", str(self.ssh_key), *options, where, shlex.join(argv)]

    def reboot(self, timeout=180):
        """Reboot it as its own `reboot` does; returns when its sshd answers again."""
        before = self._boot_id()
        self.run(["systemctl", "reboot"], check=False)
        network.wait_until(
            lambda: self._boot_id() not in ("", before),
            self._process,
            self.console_log,
            timeout,
            f"{self.name} after a reboot",
        )

    def _boot_id(self):
        return self.run(["cat", "/proc/sys/kernel/random/boot_id"], check=False).stdout
