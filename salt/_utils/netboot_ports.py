"""
Ports that the services need. Pure; ``netboot_sockets`` shows who holds them.
"""

from __future__ import annotations

from typing import Any

from netboot_shapes import Config

Row = dict[str, Any]

_DNSMASQ = "netboot-dnsmasq.service"


def needed(config: Config) -> list[Row]:
    """
    List the ports that the configuration needs.

    config
        The configuration, as ``netboot.config`` resolves it.

    Returns maps: ``protocol`` (tcp or udp), ``port``, ``for`` (its purpose), ``key`` (the pillar
    key that changes or disables it), ``ours``, the processes or units that may hold it: the netboot
    services and programs that they share; None, where no conflict is possible: ports of the kernel
    and of rpcbind, and ranges (up to ``last``), from which free ports are taken; and ``at``, the
    addresses on which it is needed (``*``: all).
    """
    here = [config["address"], *(one["address"] for one in config["interfaces"])]
    http = config["http"]
    web = http["listen"] or ["*"]
    tftp_ports, ftp_ports = config["tftp"]["ports"], config["ftp"]["passive_ports"]
    rows: list[Any] = [
        ("udp", 69, "TFTP", "interface", (_DNSMASQ,), here),
        ("udp", tftp_ports[0], "TFTP", "tftp:ports", None, here, tftp_ports[1]),
        ("tcp", http["port"], "HTTP", "http:port", ("nginx",), web),
    ]
    if http["certificate"]:
        rows.append(("tcp", http["https_port"], "HTTPS", "http:https_port", ("nginx",), web))
    if config["dhcp"]["mode"] != "off":
        rows.append(("udp", 67, "DHCP", "dhcp:mode", (_DNSMASQ,), here))
        rows.append(("udp", 4011, "PXE", "dhcp:mode", (_DNSMASQ,), here))
    if "cifs" in config["serves"]:
        rows.append(("tcp", 445, "SMB", "methods", ("smbd",), here))
    if "ftp" in config["serves"]:
        rows.append(("tcp", 21, "FTP", "methods", ("netboot-vsftpd.service",), ["*"]))
        rows.append(("tcp", ftp_ports[0], "FTP", "ftp:passive_ports", None, ["*"], ftp_ports[1]))
    if "nfs" in config["serves"]:
        rows.append(("tcp", 2049, "NFS", "methods", None, ["*"]))
        # Version 3 also needs rpcbind and mountd.
        for protocol in ("tcp", "udp"):
            rows.append((protocol, 111, "NFS", "methods", None, ["*"]))
            rows.append((protocol, 20048, "NFS", "methods", None, ["*"]))
    names = ("protocol", "port", "for", "key", "ours", "at", "last")
    return [dict(zip(names, row)) for row in rows]


def by_protocol(config: Config) -> dict[str, list[str]]:
    """
    Return the ports that clients must reach, by protocol (``tcp``, ``udp``), sorted: ``80``,
    ``50000-50999``.

    config
        The configuration.
    """
    ranges: dict[str, set[tuple[int, int]]] = {"tcp": set(), "udp": set()}
    for row in needed(config):
        first: int = row["port"]
        ranges[row["protocol"]].add((first, row.get("last") or first))
    return {
        protocol: [str(a) if a == b else f"{a}-{b}" for a, b in sorted(found)]
        for protocol, found in ranges.items()
    }


def interfaces(config: Config) -> list[str]:
    """
    Return the names of the interfaces on which clients are served, as firewalls know them.

    config
        The configuration.
    """
    # Firewalls do not know the labels of secondary addresses (eth0:1).
    return sorted({one["name"].partition(":")[0] for one in config["interfaces"]})
