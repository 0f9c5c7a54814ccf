"""The installer itself, the first process of stage 2: everything in ALT's order, then a restart.

The first stage leaves in the environment MEDIUM, where Metadata/ of the medium is, and NIC.
"""

import json
import os
import shutil
import signal
import sys
import tarfile
import time
import traceback
from pathlib import Path

from . import disks, metadata, scripts, system
from .console import LOG, Failed, run, say
from .features import features_of
from .grammar import PROFILE, check
from .partitions import profiles
from .scheme import Refused

FACTS = Path("/usr/share/install2/standin.json")
WORK = Path("/tmp/metadata")
NO_ROOM = '((#f ""))'  # what ALT's answers to a profile that does not fit
PROFILES = Path("/var/cache/alterator/vm-profile.scm")


class Installer:
    """One installation: Refused ends it where ours is stricter, Failed where ALT's fails too."""

    def __init__(self, facts, command_line):
        self.facts = facts
        self.features = features_of(facts["generation"], facts["date"])
        self.words = command_line.split()
        for word in self.words:
            if word.startswith("curl="):
                os.environ["CURL"] = word.removeprefix("curl=")
        self.efi = Path("/sys/firmware/efi").is_dir()
        self.answers = WORK / "autoinstall.scm"
        self.chosen = self.table = None
        self.names, self.networks = [], []
        self.later = []  # what is written once the system is there

    def install(self):
        """Everything from the network to the unmounted disk."""
        WORK.mkdir(parents=True)
        self._network()
        scripts.run_folder("initinstall.d")
        if self.features.scripts_tar and self._fetch("install-scripts.tar"):
            scripts.unpack(WORK / "install-scripts.tar", self.features)
        scripts.run_folder("initinstall.d", after=scripts.UNPACKER)
        self._fetch("pkg-groups.tar")
        if not self._fetch("autoinstall.scm"):
            raise Failed("there is no autoinstall.scm, a person would be asked")
        if self._fetch("vm-profile.scm"):
            shutil.copyfile(WORK / "vm-profile.scm", PROFILES)
        calls = check(text_of(self.answers), self.features)
        for call in calls:
            say(f"install2: line {call.line}: {call.name}")
            self._step(call)
        if self.networks:
            system.set_network(self.networks, self.features)
        scripts.run_folder("postinstall.d")
        system.finish(self.answers, LOG)

    def _network(self):
        """A lease, which the installer waits for because of curl=."""
        nic = os.environ["NIC"]
        run("ip", "link", "set", nic, "up")
        hook = "/usr/lib/install2-standin/dhcp.sh"
        words = ("-f", "-q", "-n", "-t", "12", "-T", "5", "-i", nic, "-s", hook)
        if not run("busybox", "udhcpc", *words, check=False):
            raise Failed("there is no lease, the installer would wait for one for ever")

    def _fetch(self, name):
        source = metadata.fetch(name, WORK / name)
        say(f"NETBOOT-ALT-FETCHED {name} {source or 'nowhere'}")
        return source

    def _step(self, call):
        name, keys = call.name, call.keys
        if name == "/evms/control":
            getattr(self, f"_{keys['control']}")()
        elif PROFILE.fullmatch(name):
            self._apply_profile(PROFILE.fullmatch(name)[1])
        elif name == "/pkg-install":
            self._check_lists(keys["lists"].split())
        elif name == "/preinstall":
            system.copy(self.table)
            for write, *values in self.later:
                write(*values)
            scripts.run_folder("preinstall.d")
        elif name == "/grub":
            words = "console=tty0 console=ttyS0 quiet"
            system.install_boot_loader(keys["device"], self.efi, self.table, words)
        elif name == "/net-eth":
            self.networks.append(call)
        elif name == "/root/change_password":
            system.set_password("root", keys)
        elif name == "/users/create_account":
            system.make_user(keys)
        elif name == "/postinstall/laststate":
            scripts.last_state(keys, self.answers)
        elif name == "/postinstall/firsttime":
            scripts.first_time(keys)
        elif name == "/sysconfig-base/language":
            self._later(system.set_language, keys["lang"])
        elif name == "/sysconfig-base/kbd":
            self._later(system.set_keyboard, keys["layout"])
        elif name == "/datetime-installer":
            self._later(system.set_time, keys["zone"], keys["utc"])

    def _later(self, write, *values):
        if self.table:
            write(*values)
        else:
            self.later.append((write, *values))

    def _open(self):
        self.names = disks.disks()

    def _update(self):
        self.names = disks.disks()
        say(f"install2: disks: {' '.join(self.names) or 'none'}")

    def _apply_profile(self, name):
        known = profiles(text_of(PROFILES), self.features, self.efi)
        if name not in known:
            raise Refused(f"vm-profile.scm has no profile {name}, only {', '.join(known)}")
        self.chosen = disks.first_that_fits(self.names, known[name], self.features, self.efi)
        say(
            f"install2: /evms/profiles/{name}: {'((nextop /vm/table))' if self.chosen else NO_ROOM}"
        )

    def _commit(self):
        if not self.chosen:
            place = disks.DESTINATION
            raise Failed(f"the profile fits no disk, {NO_ROOM}, so nothing is mounted at {place}")
        for disk in self.names:
            disks.empty(disk)
        disks.make(*self.chosen, self.features, self.efi)

    def _close(self):
        self.table = disks.mount_all(*self.chosen)
        say(f"install2: mounted\n{system.describe()}")

    def _check_lists(self, names):
        """Lists of packages are files of pkg-groups.tar, which is this medium's own."""
        archive = WORK / "pkg-groups.tar"
        there = []
        if archive.is_file():
            try:
                with tarfile.open(archive, "r:") as tar:
                    there = [f"/{member.name}" for member in tar if member.isfile()]
            except tarfile.TarError as error:
                raise Refused(f"pkg-groups.tar cannot be read: {error}") from error
        for name in names:
            if not any(path.endswith(f"/{name}") for path in there):
                raise Refused(f"/pkg-install: pkg-groups.tar has no {name}")


def text_of(path):
    """A file of answers as text. Raises Refused when it is not in UTF-8."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise Refused(f"{path.name} is not in UTF-8: {error}") from error


def main():
    signal.signal(signal.SIGUSR2, lambda *_: leave("poweroff"))  # busybox poweroff
    signal.signal(signal.SIGTERM, lambda *_: leave("reboot"))
    how = "poweroff"
    try:
        installer = Installer(json.loads(FACTS.read_text()), Path("/proc/cmdline").read_text())
        say(f"install2: {installer.facts}, {installer.features}")
        installer.install()
        say(f"NETBOOT-ALT-DONE seconds={Path('/proc/uptime').read_text().split()[0]}")
        how = "poweroff" if "poweroff" in installer.words else "reboot"
    except Refused as error:
        say(f"NETBOOT-ALT-REFUSED {error}")
    except Failed as error:
        say(f"autoinstall FAILED: {error}")
    except Exception:  # noqa: BLE001  the first process must not end
        say(f"autoinstall FAILED, a fault of the stand-in: {traceback.format_exc()}")
    leave(how)


def leave(how):
    """Ends the machine: how is "poweroff" or "reboot"."""
    say(f"install2: {how}")
    os.sync()
    time.sleep(1)  # for the serial line
    run("busybox", how, "-f", check=False)
    while True:
        time.sleep(60)


if __name__ == "__main__":
    sys.exit(main())
