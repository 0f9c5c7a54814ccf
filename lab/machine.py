"""Netboot servers: a Debian with its own systemd and sshd, in systemd-nspawn."""

import contextlib
import errno
import os
import shutil
import subprocess
import time
import uuid
from pathlib import Path

from . import network
from .host import LabError, require

CGROUPS = [Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/systemd"), Path("/sys/fs/cgroup/unified")]

# $1 the bare root, $2 the machine's directory, $3 its cgroup's name, then systemd-nspawn's words.
# All mounts are made in a mount namespace of this machine alone, so they end with its processes.
# nspawn would run every machine in the same cgroup when it is told to register none (--keep-unit),
# and keeps locks in /run/systemd. It must not be process 1 (unshare --pid): then it logs to the
# kernel's log.
BOOT = """set -e
root=$1 machine=$2 cgroup=$3; shift 3
for hierarchy in /sys/fs/cgroup /sys/fs/cgroup/systemd /sys/fs/cgroup/unified; do
    [ -e "$hierarchy/cgroup.procs" ] || continue
    mkdir -p "$hierarchy/$cgroup"
    echo $$ > "$hierarchy/$cgroup/cgroup.procs"
done
mkdir -p /run/systemd
mount -t tmpfs tmpfs /run/systemd
mount --bind "$root" "$machine/lower"
mount -t overlay -o "lowerdir=$machine/lower,upperdir=$machine/upper,workdir=$machine/work" \
    overlay "$machine/merged"
systemd-nspawn -q -b -D "$machine/merged" --register=no --keep-unit --capability=all \
    --resolv-conf=off --timezone=off --link-journal=no --console=read-only "$@"
"""

ENVIRONMENT = [
    "env",
    "-i",
    "HOME=/root",
    "LANG=C.UTF-8",
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
]


class Server:
    """A netboot server; what is the same in all kinds of them.

    name, address: its host name and IPv4 address; ssh_key: a key that root and admin accept;
    console_log: what it wrote while it booted.
    """

    def __init__(self, lab, name, root, address, sources):
        self.name, self.address, self.ssh_key = name, address, lab.ssh_key
        self.console_log = lab.logs / f"{name}.log"
        self._lab, self._root = lab, root
        self._directory = lab.directory / "machines" / name
        self._process = None
        for part in ("lower", "upper", "work", "merged"):
            (self._directory / part).mkdir(parents=True)
        self._write_identity(sources)

    def _write_identity(self, sources):
        self._write("etc/hostname", f"{self.name}\n")
        self._write("etc/hosts", f"127.0.0.1 localhost\n{self.address} {self.name}\n")
        self._write("etc/resolv.conf", "")
        self._write("etc/machine-id", f"{uuid.uuid4().hex}\n")
        self._write("etc/apt/sources.list", sources)
        public = self._lab.ssh_key.with_suffix(".pub").read_text()
        for home in ("root", "home/admin"):
            self._write(f"{home}/.ssh/authorized_keys", public)
        host_key = self._directory / "upper/etc/ssh/ssh_host_ed25519_key"
        self._write("etc/ssh/ssh_host_ed25519_key.pub", "")
        host_key.with_suffix(".pub").unlink()
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", self.name, "-f", host_key],
            check=True,
        )
        with self._lab.known_hosts.open("a") as known_hosts:
            known_hosts.write(f"{self.address} {host_key.with_suffix('.pub').read_text()}")

    def _write(self, name, text):
        """Write a file of the machine's disk before it boots.

        The folders above it exist in the bare root; in the overlay the owners and modes
        of these copies win.
        """
        upper, lower = self._directory / "upper", self._root
        for part in Path(name).parent.parts:
            upper, lower = upper / part, lower / part
            if not upper.exists():
                upper.mkdir()
                shutil.copystat(lower, upper)
                os.chown(upper, lower.stat().st_uid, lower.stat().st_gid)
        (upper / Path(name).name).write_text(text)

    def _sshd_answers(self):
        hello = f"exec 3<>/dev/tcp/{self.address}/22 && read -t 2 -u 3 line && [[ $line == SSH-* ]]"
        return not self._lab.run(
            ["bash", "-c", hello], check=False, stderr=subprocess.DEVNULL
        ).returncode

    def start(self, timeout=180):
        """Boot it and return when its sshd answers. Its disk is as stop() or kill() left it.

        Raises LabError with the console's end when that takes longer than `timeout` seconds.
        """
        with self.console_log.open("a") as console:
            self._process = self._lab.popen(self._argv(), stdout=console, stderr=console)
        network.wait_until(self._sshd_answers, self._process, self.console_log, timeout, self.name)

    def kill(self):
        """Pull the plug: nothing in it gets a chance to finish what it was doing."""
        self._process.kill()
        self._process.wait()

    def stop(self, timeout=60):
        """Shut it down as its own `poweroff` does; pull the plug after `timeout` seconds."""
        self.run(["systemctl", "poweroff"], check=False)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout)
        self.kill()


class Machine(Server):
    """One that shares this host's kernel; made and started by Lab.server().

    binds: paths of this host that it sees at the same place, read-only.
    """

    def __init__(self, lab, name, root, address, port, sources, binds=()):
        require("systemd-nspawn", "ssh-keygen", "nsenter")
        super().__init__(lab, name, root, address, sources)
        self._binds = binds
        self._namespace = f"{lab.name}-{name}"
        network.add_machine(lab.name, self._namespace, port, address, lab.address)

    @property
    def leader(self):
        """The process id, on this host, of the machine's own process 1; None while it is down."""
        for pid in network.processes_in(self._namespace):
            with contextlib.suppress(OSError):
                if Path(f"/proc/{pid}/comm").read_text() == "systemd\n":
                    inner = Path(f"/proc/{pid}/status").read_text().partition("\nNSpid:")[2]
                    if inner.partition("\n")[0].split()[-1] == "1":
                        return pid
        return None

    @property
    def files(self):
        """The root of the running machine's file system as a path of this host.

        An absolute symbolic link on the way leads out of it, to this host's files.
        """
        return Path(f"/proc/{self._running()}/root")

    def _running(self):
        leader = self.leader
        if leader is None:
            raise LabError(f"{self.name} is not running, see {self.console_log}.")
        return leader

    def _argv(self):
        return [
            "unshare",
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
            "sh",
            "-c",
            BOOT,
            "boot",
            str(self._root),
            str(self._directory),
            f"{cgroup_of(self._lab.name)}/{self.name}",
            f"--machine={self._namespace}",
            f"--hostname={self.name}",
            f"--network-namespace-path={network.NAMESPACES / self._namespace}",
            *(f"--bind-ro={path}" for path in self._shown()),
        ]

    def _shown(self):
        """What it sees of this host; a checkout's .venv may be another one's."""
        links = [path / ".venv" for path in map(Path, self._binds) if (path / ".venv").is_symlink()]
        return [*self._binds, *(link.resolve() for link in links)]

    def run(self, argv, check=True, input=None, timeout=None):
        """Run a command inside the machine as its root; not over the network.

        argv: the words of the command; input: text for its stdin; timeout: seconds.
        Returns a CompletedProcess with text in stdout and stderr; raises CalledProcessError, with
        stderr as a note, when check is true and the command fails.
        """
        enter = ["nsenter", f"--target={self._running()}", "--all", "--root", "--wd", *ENVIRONMENT]
        return run([*enter, *argv], check, input=input or "", timeout=timeout, capture_output=True)

    def kill(self):
        super().kill()
        network.kill_all(self._namespace)


def run(argv, check, **kwargs):
    """subprocess.run in text mode; the error of a failed command carries its stderr."""
    done = subprocess.run(argv, check=False, text=True, **kwargs)
    if check and done.returncode:
        error = subprocess.CalledProcessError(done.returncode, argv, done.stdout, done.stderr)
        error.add_note((done.stderr or "") + (done.stdout or ""))
        raise error
    return done


def cgroup_of(lab_name):
    """The cgroup above those of a lab's machines.

    Labs of another root (a container that sees our cgroups) count from 0 too; their /run differs.
    """
    return f"netboot-lab-{lab_name}-{os.stat('/run').st_dev:x}"


def remove_cgroups(lab_name):
    """Remove the cgroups that a lab's machines leave, once the kernel is done with their dead."""
    deadline = time.monotonic() + 20
    for hierarchy in CGROUPS:
        for path, _, _ in os.walk(hierarchy / cgroup_of(lab_name), topdown=False):
            while True:
                try:
                    os.rmdir(path)
                    break
                except OSError as error:
                    if error.errno != errno.EBUSY or time.monotonic() > deadline:
                        raise
                time.sleep(0.05)
