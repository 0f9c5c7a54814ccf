"""The lab: its number, its life from start to clean-up, and what can be put into it."""

import contextlib
import fcntl
import itertools
import os
import re
import shutil
import signal
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from . import network, roots
from .client import CARD, Client
from .guest import Guest
from .host import LabError, require
from .machine import Machine, remove_cgroups, run
from .web import Web

LOCKS = Path("/run/netboot-lab")
DIRECTORIES = Path("/var/lib/netboot-lab")
NUMBERS = range(256)
MACHINES = range(10, 100)  # the last byte of the machines' addresses
PACKAGES_PORT = 3142  # the port of the web server with Debian packages


class Lab:
    """A virtual LAN in a `with` block. Needs root.

    logs: where the logs go; a directory of your own survives the lab. router: whether there is a
    DHCP server, which knows nothing of network boot.

    number, name: 0..255 and "nb<number>"; network: "198.18.<number>.0/24"; address: .1 of it, where
    the router, the web servers and the commands of run() are; directory: the lab's own files;
    ssh_key: the private key that its machines accept; known_hosts: their host keys.

    SIGTERM ends a program with an open lab as Ctrl-C does, so that `with` cleans up.
    """

    def __init__(self, logs=None, router=True):
        if os.geteuid() != 0:
            raise LabError("The lab makes network namespaces and machines; run it as root.")
        require("ip", "nsenter", "ssh-keygen")
        self._logs, self._router = logs, router

    def __enter__(self):
        _end_by_sigterm(self)
        self._lock = None
        self._children = []
        # A child dies with the thread that started it (setpriv --pdeathsig), so all are started by
        # one that lives as long as the lab, whatever thread asked.
        self._starter = ThreadPoolExecutor(1)
        try:
            clean()
            self._open()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _open(self):
        self.number, self._lock = _free_number()
        _remove(self.number)  # its last owner may have been killed since clean() looked
        self.name = _name(self.number)
        self.network = f"198.18.{self.number}.0/24"
        self.address = f"198.18.{self.number}.1"
        self.directory = DIRECTORIES / str(self.number)
        self.logs = Path(self._logs or self.directory / "logs").resolve()
        self.ssh_key = self.directory / "ssh_key"
        self.known_hosts = self.directory / "known_hosts"
        self._machine_numbers, self._client_numbers = itertools.count(), itertools.count()
        self._packages = None
        self.directory.mkdir(parents=True, mode=0o700)
        self.logs.mkdir(parents=True, exist_ok=True)
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", self.name, "-f", self.ssh_key],
            check=True,
        )
        network.add_lan(self.name, self.address)
        if self._router:
            network.start_router(self)

    def __exit__(self, *_):
        if self._lock is None:
            _end_by_sigterm(self, no_longer=True)
            return
        with _undisturbed():
            self._starter.shutdown()
            for child in self._children:
                child.kill()
            try:
                _remove(self.number)
            finally:
                for child in self._children:
                    child.wait()
                _unlock(self.number, self._lock)
                _end_by_sigterm(self, no_longer=True)

    def run(self, argv, check=True, **kwargs):
        """subprocess.run() in text mode, with the command in the lab's network."""
        return run([*network.inside(self.name), *argv], check, **kwargs)

    def popen(self, argv, **kwargs):
        """subprocess.Popen() in text mode, with the command in the lab's network.

        It is killed at the lab's end; Ctrl-C does not reach it before that.
        """
        kwargs = {"stdin": subprocess.DEVNULL, "text": True, "start_new_session": True, **kwargs}

        def start():
            child = subprocess.Popen([*network.inside(self.name), *argv], **kwargs)
            self._children.append(child)
            return child

        return self._starter.submit(start).result()

    def web(self, directory, port=8000, rate=None):
        """Serve `directory` over HTTP on the lab's address; see Web.

        rate: bytes a second for each answer, as from a slow mirror; None: as fast as it goes.
        """
        return Web(self, directory, port, rate)

    def server(self, name, packages=(), binds=(), release=None, installed=(), root=None):
        """Boot a bare Debian, in which apt can install `packages` and all that these need.

        binds: paths of this host that it sees at the same place, read-only; release: of another
        Debian than this host's, such as "trixie"; installed: packages that it has already, with
        salt-ssh's thin, for tests of what comes after that; root: a directory that its disk begins
        as, instead of all that.
        Returns when its sshd answers; see Machine.
        """
        number, address = self._place(name)
        port = f"machine{number}"
        root = root or _with(roots.bare_root(release), installed, release)
        sources = self._sources(packages, release)
        machine = Machine(self, name, root, address, port, sources, binds)
        machine.start()
        return machine

    def guest(self, name, packages=(), memory_mib=1024, installed=()):
        """The same as a QEMU machine, for what needs a kernel of its own: file systems, nfsd.

        It is up after a quarter of a minute, and slower than server() in all it does, most of all
        in unpacking packages and compiling thin. See Guest.
        """
        number, address = self._place(name)
        sources = self._sources(packages)
        root = _with(roots.guest_root(), installed)
        guest = Guest(self, name, root, address, number, sources, memory_mib)
        guest.start()
        return guest

    def _place(self, name):
        """The number and address of the next machine."""
        if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,40}", name):
            raise LabError(f"{name!r} is no host name; use lower-case letters, digits and dashes.")
        number = next(self._machine_numbers)
        if number >= len(MACHINES):
            raise LabError(f"One lab has addresses for {len(MACHINES)} machines only.")
        return number, f"{self.address.rpartition('.')[0]}.{MACHINES[number]}"

    def _sources(self, packages, release=None):
        if not packages:
            return ""
        repository = roots.package_repository(roots.bare_root(release), packages, release)
        if self._packages is None:
            self._packages = self.web(repository.parent, PACKAGES_PORT)
        return f"deb [trusted=yes] {self._packages.url}/{repository.name} ./\n"

    def client(
        self,
        firmware,
        memory_mib=2048,
        kernel=None,
        initrd=None,
        cmdline=None,
        extra=(),
        number=None,
        mac=None,
        card=CARD,
        variables=None,
    ):
        """Switch on a client.

        firmware: a key of client.FIRMWARE; memory_mib: its memory in MiB; kernel, initrd, cmdline:
        boot these at once instead of the firmware; extra: more words for QEMU; number: which of the
        lab's clients it is (network.client_mac), None for one that was not there before; mac: of
        its network card, None for the lab's own; card: QEMU's name of that card.
        """
        if number is None:
            number = next(self._client_numbers)
        linux = (kernel, initrd, cmdline)
        more = {"mac": mac, "card": card, "variables": variables}
        return Client(self, number, firmware, memory_mib, *linux, extra, **more)

    def capture(self, path):
        """A `with` block during which all packets on the bridge are written to `path`, as pcap."""
        return network.capture(self, path)


def clean():
    """Remove what labs left whose process is gone. Returns their numbers."""
    left = network.lab_numbers()
    for directory, suffix in ((DIRECTORIES, ""), (LOCKS, ".lock")):
        left |= {int(path.stem) for path in directory.glob(f"*{suffix}") if path.stem.isdecimal()}
    cleaned = []
    for number in sorted(left):
        lock = _lock(number)
        if lock is not None:
            with _undisturbed():
                _remove(number)
                _unlock(number, lock)
            cleaned.append(number)
    return cleaned


def _with(root, installed, release=None):
    return roots.installed_root(root, installed, release) if installed else root


def _name(number):
    return f"nb{number}"


def _remove(number):
    """Remove all that the lab `number` made, whether it is ours or a dead one's."""
    name = _name(number)
    namespaces = network.namespaces_of(name)
    for namespace in namespaces:
        network.kill_all(namespace)
    for namespace in namespaces:
        network.remove_namespace(namespace)
    remove_cgroups(name)
    directory = DIRECTORIES / str(number)
    # The lab mounts nothing here, but a test may have, and rmtree would empty what is mounted.
    for line in reversed(Path("/proc/self/mountinfo").read_text().splitlines()):
        mount_point = line.split()[4]
        if mount_point.startswith(f"{directory}/"):
            subprocess.run(["umount", "--lazy", mount_point], check=True)
    if directory.exists():
        shutil.rmtree(directory)


def _free_number():
    for number in NUMBERS:
        lock = _lock(number)
        if lock is not None:
            return number, lock
    raise LabError(f"All {len(NUMBERS)} labs of this machine are in use; end one of them.")


def _lock(number):
    """Take the lock of the lab `number`: a file descriptor, or None when a live process has it."""
    path = LOCKS / f"{number}.lock"
    LOCKS.mkdir(mode=0o700, exist_ok=True)
    while True:
        lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Its last holder may have removed the file after we opened it; then it locks nothing.
            if os.path.samestat(os.fstat(lock), os.stat(path)):
                return lock
        except BlockingIOError:
            os.close(lock)
            return None
        except FileNotFoundError:
            pass
        os.close(lock)


def _unlock(number, lock):
    (LOCKS / f"{number}.lock").unlink()
    os.close(lock)


_open_labs = set()
_handler_before = None


def _end_by_sigterm(lab, no_longer=False):
    """Let SIGTERM raise KeyboardInterrupt while any lab of this process is open."""
    global _handler_before
    if threading.current_thread() is not threading.main_thread():
        return
    if no_longer:
        _open_labs.discard(lab)
        if not _open_labs and _handler_before is not None:
            signal.signal(signal.SIGTERM, _handler_before)
            _handler_before = None
    else:
        if not _open_labs:
            _handler_before = signal.signal(signal.SIGTERM, signal.default_int_handler)
        _open_labs.add(lab)


@contextlib.contextmanager
def _undisturbed():
    """Ignore Ctrl-C and SIGTERM, so that a second one cannot cut the clean-up short."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {
        number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
