"""The lab's network: namespaces, the bridge, the router's DHCP server, packet capture.

Each lab has a network namespace of its own, so nothing of it is seen on this machine's network.
"""

import contextlib
import fcntl
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

from .host import LabError, require, tail

NAMESPACES = Path("/run/netns")
BRIDGE = "br0"
BRIDGE_MAC = "52:54:00:62:72:00"
CLIENTS = range(100, 200)  # the last byte of the addresses that the router gives


def ip(*argv):
    """Run ip(8); returns its output. Raises LabError with what it said."""
    done = subprocess.run(["ip", *argv], check=False, text=True, capture_output=True)
    if done.returncode:
        raise LabError(f"ip {' '.join(argv)}: {done.stderr.strip()}")
    return done.stdout


def inside(namespace):
    """The words before a command that run it in `namespace` and end it with the thread it is of.

    Not `ip netns exec`: that would hide the cgroups from what runs in it.
    """
    return ["setpriv", "--pdeathsig", "KILL", "nsenter", f"--net={NAMESPACES / namespace}"]


def add_lan(namespace, address):
    """Make `namespace` with the bridge, which has `address`/24."""
    _add_namespace(namespace)
    ip("-n", namespace, "link", "set", "lo", "up")
    # Without snooping the bridge passes all multicast, as a plain switch does.
    # Without an address it takes that of a port later, and the DHCP server, which has read the old
    # one, would say that when it looks whether an address is free.
    bridge = [BRIDGE, "address", BRIDGE_MAC, "type", "bridge", "mcast_snooping", "0"]
    ip("-n", namespace, "link", "add", *bridge)
    ip("-n", namespace, "address", "add", f"{address}/24", "dev", BRIDGE)
    ip("-n", namespace, "link", "set", BRIDGE, "up")


@contextlib.contextmanager
def _one_lab_at_a_time():
    """Keep other labs from adding and removing namespaces meanwhile."""
    directory = os.open("/run", os.O_RDONLY)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
        yield
    finally:
        os.close(directory)


def _add_namespace(name):
    with _one_lab_at_a_time():
        ip("netns", "add", name)


def remove_namespace(name):
    """Remove a namespace; with the last one also the mount that ip(8) made for its first."""
    with _one_lab_at_a_time():
        ip("netns", "delete", name)
        if not _namespaces() and namespaces_are_mounted():
            # It may fail when somebody else adds one right now, which then needs the mount.
            subprocess.run(["umount", NAMESPACES], check=False, stderr=subprocess.DEVNULL)


def namespaces_are_mounted():
    """Whether NAMESPACES is a mount point, as ip-netns(8) makes it."""
    # Not Path.is_mount(): on one file system it cannot see a bind mount.
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    return str(NAMESPACES) in (line.split()[4] for line in mounts)


def add_machine(namespace, machine, port, address, router):
    """Make the namespace `machine`, whose eth0 has `address`/24, on port `port` of the bridge."""
    _add_namespace(machine)
    ip(
        "-n",
        namespace,
        "link",
        "add",
        port,
        "type",
        "veth",
        "peer",
        "name",
        "eth0",
        "netns",
        machine,
    )
    ip("-n", namespace, "link", "set", port, "master", BRIDGE, "up")
    ip("-n", machine, "link", "set", "lo", "up")
    ip("-n", machine, "address", "add", f"{address}/24", "dev", "eth0")
    ip("-n", machine, "link", "set", "eth0", "up")
    ip("-n", machine, "route", "add", "default", "via", router)


def add_tap(namespace, tap):
    """Make a tap on the bridge for a client."""
    ip("-n", namespace, "tuntap", "add", tap, "mode", "tap")
    ip("-n", namespace, "link", "set", tap, "master", BRIDGE, "up")


def client_mac(lab_number, client_number):
    """The MAC of a lab's client, in QEMU's range of locally administered addresses."""
    return f"52:54:00:4e:{lab_number:02x}:{client_number:02x}"


def start_router(lab):
    """Start what is in somebody's home router: a DHCP server that knows nothing of PXE, and IPv6.

    Each MAC of the lab's own gets the same address each time (udhcpd.conf: static_lease); other
    machines get those above.
    """
    require("busybox")
    prefix = lab.address.rpartition(".")[0]
    settings = [
        f"interface {BRIDGE}",
        f"start {prefix}.{CLIENTS.start}",
        f"end {prefix}.254",
        "option subnet 255.255.255.0",
        f"option router {lab.address}",
        f"option dns {lab.address}",
        "option lease 3600",
        f"lease_file {lab.directory / 'udhcpd.leases'}",
        f"pidfile {lab.directory / 'udhcpd.pid'}",
        *(
            f"static_lease {client_mac(lab.number, number)} {prefix}.{host}"
            for number, host in enumerate(CLIENTS)
        ),
    ]
    conf = lab.directory / "udhcpd.conf"
    conf.write_text("\n".join(settings) + "\n")
    (lab.directory / "udhcpd.leases").touch()
    log = lab.logs / "router.log"
    with log.open("w") as output:
        router = lab.popen(["busybox", "udhcpd", "-f", str(conf)], stdout=output, stderr=output)
    wait_until(lambda: "started" in log.read_text(), router, log, 10, "The router's DHCP server")
    advertiser = [sys.executable, str(Path(__file__).with_name("advertiser.py")), BRIDGE]
    with (lab.logs / "advertiser.log").open("w") as output:
        lab.popen(advertiser, stdout=output, stderr=output)


@contextlib.contextmanager
def capture(lab, path):
    """Record what crosses the bridge in `path` as pcap, while the block runs."""
    require("tcpdump")
    log = lab.logs / "tcpdump.log"
    with log.open("w") as output:
        tcpdump = lab.popen(
            ["tcpdump", "-i", BRIDGE, "-U", "--immediate-mode", "-Z", "root", "-w", str(path)],
            stdout=output,
            stderr=output,
        )
    wait_until(lambda: "listening on" in log.read_text(), tcpdump, log, 10, "tcpdump")
    try:
        yield path
    finally:
        tcpdump.send_signal(signal.SIGINT)
        tcpdump.wait(10)


def wait_until(condition, process, log, timeout, what):
    """Wait until condition() is true. Raises LabError when `process` ends or `timeout` s pass."""
    deadline = time.monotonic() + timeout
    while not condition():
        if process.poll() is not None:
            if condition():  # its last words may be what we wait for
                return
            raise LabError(f"{what} ended ({process.returncode}), see {log}:\n{tail(log)}")
        if time.monotonic() > deadline:
            raise LabError(f"{what} was not there after {timeout} s, see {log}:\n{tail(log)}")
        time.sleep(0.1)


def namespaces_of(lab_name):
    """The namespaces of the lab `lab_name`: its own and its machines'."""
    return [name for name in _namespaces() if re.fullmatch(rf"{lab_name}(-.+)?", name)]


def lab_numbers():
    """The numbers of all labs that have a namespace."""
    found = (re.match(r"nb(\d+)(-|$)", name) for name in _namespaces())
    return {int(match[1]) for match in found if match}


def _namespaces():
    return sorted(os.listdir(NAMESPACES)) if NAMESPACES.exists() else []


def processes_in(namespace):
    """The ids of the processes whose network namespace is `namespace`."""
    inode = (NAMESPACES / namespace).stat().st_ino
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        # A process may end while we look at it.
        with contextlib.suppress(OSError):
            if (process / "ns" / "net").stat().st_ino == inode:
                found.append(int(process.name))
    return found


def kill_all(namespace):
    """Kill every process in `namespace` and wait until none is left."""
    deadline = time.monotonic() + 20
    while pids := [pid for pid in processes_in(namespace) if pid != os.getpid()]:
        if time.monotonic() > deadline:
            raise LabError(
                f"Processes in {namespace} survive SIGKILL: {pids}; look at their state."
            )
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)
