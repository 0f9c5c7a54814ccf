"""
Sockets of this machine: which programs hold the ports that the services need.

:platform: Linux
"""

from __future__ import annotations

import os
import re
import socket
import struct

import netboot_ports
from netboot_shapes import Config

# Listening sockets' states in /proc/net/tcp and udp (Linux, include/net/tcp_states.h).
_WAITS = {"tcp": "0A", "udp": "07"}
_ESTABLISHED = "01"


def clashes(config: Config, silenced: list[str]) -> list[str]:
    """
    Return the ports that other programs hold, one line each, with the process and its unit.

    config
        The configuration.

    silenced
        Services that an installed package started on its own and that the states are about to stop.
    """
    found = []
    for one in netboot_ports.needed(config):
        if one["ours"] is None:
            continue
        for holder in listeners(one["protocol"], one["port"]):
            anywhere = holder["address"] in ("0.0.0.0", "::")  # noqa: S104 (compared, not bound)
            if {holder["process"], holder["unit"]} & {*one["ours"], *silenced}:
                continue
            # A foreign dnsmasq, for virtual machines for example.
            if holder["process"] == "dnsmasq" and anywhere and _is_shared(one["port"]):
                continue
            # A service cannot bind all IPv4 addresses while another holds one of them.
            any_of_ours = "*" in one["at"] and ":" not in holder["address"]
            if anywhere or any_of_ours or holder["address"] in one["at"]:
                unit, how = "", ""
                if holder["unit"]:
                    unit = f" of {holder['unit']}"
                    how = f" (systemctl disable --now {holder['unit']})"
                found.append(
                    f"{one['protocol'].upper()} port {one['port']}, which {one['for']} needs, is "
                    f"held by {holder['process'] or 'the kernel'}{unit}; stop it{how}, or change "
                    f"netboot:{one['key']}."
                )
    return list(dict.fromkeys(found))


def _is_shared(port: int) -> bool:
    """
    Return whether a UDP port that is held on all addresses can be shared.

    dnsmasq allows that if it serves some interfaces only (bind-interfaces, bind-dynamic; dhcp.c,
    make_fd); each process then gets the packets of its own interfaces.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("", port))
        except OSError:
            return False
    return True


def listeners(protocol: str, port: int) -> list[dict[str, str]]:
    """
    List the programs that listen on a port.

    protocol
        ``tcp`` or ``udp``.

    port
        Its number.

    Returns maps: ``address``, ``process`` (name, empty for the kernel) and ``unit`` of systemd.
    """
    inodes: dict[str, str] = {}
    for suffix in ("", "6"):
        try:
            with open(f"/proc/net/{protocol}{suffix}", encoding="ascii") as file:
                lines = file.read().splitlines()[1:]
        except FileNotFoundError:
            continue
        for line in lines:
            words = line.split()
            address, _, number = words[1].partition(":")
            if int(number, 16) == port and words[3] == _WAITS[protocol]:
                inodes[words[9]] = _address(address)
    owners = _owners(set(inodes))
    return [
        {"address": address, **owners.get(inode, {"process": "", "unit": ""})}
        for inode, address in sorted(inodes.items(), key=lambda item: item[1])
    ]


def connected(port: int) -> set[str]:
    """
    Return the IPv4 addresses that are connected to a TCP port of this machine.

    port
        Its number.
    """
    with open("/proc/net/tcp", encoding="ascii") as file:
        rows = [line.split() for line in file.read().splitlines()[1:]]
    return {
        _address(row[2].partition(":")[0])
        for row in rows
        if row[3] == _ESTABLISHED and int(row[1].partition(":")[2], 16) == port
    }


def _address(text: str) -> str:
    """Convert an address of /proc/net: 32-bit words in the machine's byte order."""
    words = [int(text[at : at + 8], 16) for at in range(0, len(text), 8)]
    family = socket.AF_INET if len(words) == 1 else socket.AF_INET6
    return socket.inet_ntop(family, struct.pack(f"={len(words)}I", *words))


def _owners(inodes: set[str]) -> dict[str, dict[str, str]]:
    """Return the process and unit that hold each of these sockets."""
    found: dict[str, dict[str, str]] = {}
    for pid in filter(str.isdigit, os.listdir("/proc") if inodes else []):
        try:
            for handle in os.listdir(f"/proc/{pid}/fd"):
                link = os.readlink(f"/proc/{pid}/fd/{handle}")
                inode = link[len("socket:[") : -1] if link.startswith("socket:[") else None
                if inode in inodes and inode not in found:
                    with open(f"/proc/{pid}/comm", encoding="utf-8") as file:
                        process = file.read().strip()
                    found[inode] = {"process": process, "unit": _unit(pid)}
        except OSError:
            continue  # it has exited meanwhile
    return found


def _unit(pid: str) -> str:
    with open(f"/proc/{pid}/cgroup", encoding="utf-8") as file:
        units = re.findall(r"/([^/\s]+\.(?:service|scope|socket))", file.read())
    return str(units[-1]) if units else ""
