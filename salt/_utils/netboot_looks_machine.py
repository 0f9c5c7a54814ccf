"""
Looks of ``netboot.doctor`` at the machine: interfaces, ports, firewall, space, time, sources.
"""

from __future__ import annotations

import email.utils
import fcntl
import ipaddress
import os
import socket
import struct
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import iso_part
import iso_sources
import netboot_files
import netboot_firewalld
import netboot_live
import netboot_looks
import netboot_proxy
import netboot_pxe
import netboot_rules
import netboot_sockets
import netboot_ufw
from netboot_looks import Case
from netboot_names import shown, some
from netboot_shapes import Finding, Image

MIB = 1 << 20
# Below these the machine gets into trouble by itself.
_LOW_BYTES = 512 * MIB
_LOW_LOG_BYTES = 64 * MIB
_LOW_INODES = 1000
_LATE_S = 300
_DAY_S = 86400
_WAIT_S = 6
# Other servers look for up to 3 s whether an address is free.
_OFFERS_S = 4
# This version was made in 2026.
_NOT_BEFORE = 1767225600
# linux/sockios.h, net/if.h
_SIOCGIFFLAGS, _SIOCGIFMTU = 0x8913, 0x8921
_IFF_UP, _IFF_RUNNING = 0x1, 0x40
_ETHERNET_MTU = 1500
_AUDIT_LOG = "/var/log/audit/audit.log"
_RESOLV_CONF = "/etc/resolv.conf"
_TAIL_BYTES = 1 << 18


def _rights(_case: object) -> Iterator[Finding]:
    if os.geteuid():
        yield ("user.rights", "error", "This user sees only a part: run the command as root.")
    if not os.path.isdir("/run/systemd/system"):
        text = "systemd does not run on this machine, so no service can; boot it with systemd."
        yield ("system.systemd", "error", text)


def _clock(case: Case) -> Iterator[Finding]:
    run = case.records.run()
    if case.now < _NOT_BEFORE or (run and run["at"] > case.now + _LATE_S):
        said = time.strftime("%Y-%m-%d %H:%M", time.gmtime(case.now))
        text = (
            f"The clock of this machine is wrong ({said} UTC is before the "
            f"{'last apply' if case.now >= _NOT_BEFORE else 'release of these states'}): set it, "
            "such as by timedatectl set-ntp true."
        )
        yield ("time.wrong", "error", text)


# -- interfaces -----------------------------------------------------------------------------------


def _interfaces(case: Case) -> Iterator[Finding]:
    virtual = bool(case.pillar.get("virtual_address"))
    # Clients are sent to what was applied; the pillar resolves to what the machine has now.
    for one in (case.applied or case.config)["interfaces"]:
        name = one["name"]
        there = case.target["interfaces"].get(name)
        network = ipaddress.IPv4Network(f"{one['network']}/{one['netmask']}")
        if there is None:
            have = some(case.target["interfaces"])
            text = f"netboot:interface: this machine has no {name}, it has {have}."
            yield ("interface.missing", "error", text)
        elif not there:
            text = f"{name} has no IPv4 address; give it one, or change netboot:interface."
            yield ("interface.no_address", "error", text)
        elif not any(ipaddress.IPv4Interface(own).ip in network for own in there) or (
            case.pillar and not virtual and one["address"] not in case.target["addresses"]
        ):
            text = (
                f"{name} has {some(there)} now, but clients are sent to {one['address']}: give it "
                "that address again, or change netboot:address and apply."
            )
            yield ("interface.other_address", "error", text)
        elif len(there) > 1 and case.pillar and not case.pillar.get("address"):
            text = (
                f"{name} has {len(there)} addresses, and clients are sent to {one['address']}; if "
                "that is not meant, set netboot:address."
            )
            yield ("interface.several", "info", text)
        if there is not None:
            yield from _link(name)


def _link(name: str) -> Iterator[Finding]:
    device = name.partition(":")[0]
    flags, mtu = _asked(device, _SIOCGIFFLAGS, "16sH14x"), _asked(device, _SIOCGIFMTU, "16si12x")
    if not flags & _IFF_UP:
        yield ("interface.down", "error", f"{name} is down: ip link set {device} up.")
    elif not flags & _IFF_RUNNING:
        text = f"{name} has no carrier: look at its cable and switch port."
        yield ("interface.no_carrier", "error", text)
    if mtu < _ETHERNET_MTU:
        text = (
            f"{name} has an MTU of {mtu}, and firmware asks for packets of {_ETHERNET_MTU} bytes, "
            f"which some cannot put together: ip link set {device} mtu {_ETHERNET_MTU}."
        )
        yield ("interface.mtu", "warning", text)


def _asked(device: str, request: int, shape: str) -> int:
    """Ask the kernel for a number of an interface: netdevice(7)."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        answer = fcntl.ioctl(sock, request, struct.pack(shape, device.encode(), 0))
    return int(struct.unpack(shape, answer)[1])


def _ports(case: Case) -> Iterator[Finding]:
    for text in netboot_sockets.clashes(case.config, case.records.owned("silenced", [])):
        yield ("port.held", "error", text)


def _firewall(case: Case) -> Iterator[Finding]:
    config = case.config
    managed = "firewalld" if netboot_firewalld.runs() else "ufw" if netboot_ufw.runs() else ""
    if not managed:
        if not case.applied:  # else netboot.check has them
            for rule in netboot_rules.missing(config):
                text = f"A firewall may keep clients out; add: {rule}"
                yield ("firewall.closed", "warning", text)
    elif config["firewall"] == "off":
        text = f"{managed} runs, and netboot:firewall is off: open the ports of clients yourself."
        yield ("firewall.unmanaged", "info", text)
    elif case.applied:
        changes = (
            netboot_firewalld.reconcile(config, case.records, True)
            if managed == "firewalld"
            else netboot_ufw.reconcile(config, True)
        )
        if changes:
            text = f"{managed} keeps clients out: {some(changes)}; state.apply netboot.firewall."
            yield ("firewall.closed", "error", text)


# -- space ----------------------------------------------------------------------------------------


def unfetched(case: Case) -> list[Image]:
    """
    Return the images whose ISO has yet to be fetched.

    case
        The machine.
    """
    found = []
    for image in case.config["images"]:
        record = case.records.iso(image["file"])
        there = os.path.exists(os.path.join(case.config["paths"]["dist"], image["file"]))
        if not there and not (record and record.get("dropped")):
            found.append(image)
    return found


def still_needed(case: Case) -> tuple[int, int]:
    """
    Return how many bytes must still be fetched, and at most be unpacked, as far as that is known.

    case
        The machine.
    """
    fetch = unpack = 0
    staging = case.config["paths"]["staging"]
    waiting = {image["label"] for image in unfetched(case)}
    for image in case.config["images"]:
        iso = os.path.join(case.config["paths"]["dist"], image["file"])
        size = 0
        if image["label"] in waiting:
            part = iso_part.part_path(staging, iso)
            size = iso_part.read_note(part).get("total") or 0
            there = netboot_files.identity(part)
            fetch += max(0, size - (there["size"] if there else 0))
        elif not case.records.image(image["label"]):
            there = netboot_files.identity(iso)
            size = there["size"] if there else 0
        unpack += 0 if image["mount"] else size
    return fetch, unpack


def _space(case: Case) -> Iterator[Finding]:
    root = _existing(case.config["root"])
    free, inodes = _free(root)
    fetch, unpack = still_needed(case)
    if free < fetch:
        text = (
            f"{root} has {free // MIB} MiB free, but {fetch // MIB} MiB of ISOs are still to be "
            "fetched: make room, or move netboot:root."
        )
        yield ("disk.space", "error", text)
    elif free < fetch + unpack:
        text = (
            f"{root} has {free // MIB} MiB free, but fetching and unpacking the rest may take "
            f"{(fetch + unpack) // MIB} MiB: make room, move netboot:root, or set mount: true."
        )
        yield ("disk.space", "warning", text)
    elif free < _LOW_BYTES:
        text = f"{root} has only {free // MIB} MiB free: make room, or move netboot:root."
        yield ("disk.space", "warning", text)
    if inodes is not None and inodes < _LOW_INODES:
        text = f"{root} has only {inodes} inodes free (df -i): remove files, or move netboot:root."
        yield ("disk.inodes", "error", text)
    for path in {_existing(case.config["clients_log"]), _existing(case.records.directory)}:
        free, inodes = _free(path)
        if free < _LOW_LOG_BYTES or (inodes is not None and inodes < _LOW_INODES):
            text = (
                f"{path} is almost full ({free // MIB} MiB, {inodes} inodes free), and then boots "
                "are not seen and hosts are armed wrongly: make room."
            )
            yield ("disk.records", "error", text)


def _existing(path: str) -> str:
    while not os.path.isdir(path):
        path = os.path.dirname(path)
    return path


def _free(path: str) -> tuple[int, int | None]:
    """Return the free bytes and inodes; None: the file system has any number of inodes."""
    found = os.statvfs(path)
    return found.f_bavail * found.f_frsize, found.f_favail if found.f_files else None


def _denied(case: Case) -> Iterator[Finding]:
    programs = {"dnsmasq", "nginx", "smbd", "vsftpd"}
    log = _tail(_AUDIT_LOG) or netboot_live.said_by(
        *("journalctl", "-k", "-q", "--no-pager", "-o", "cat", "--since", "-24hours"),
        *("--grep", 'avc: +denied|apparmor="DENIED"'),
    )
    found = netboot_looks.denials(log, programs, case.now - _DAY_S)
    for text in found[:5]:
        how = "state.apply netboot.selinux" if "SELinux" in text else "aa-status, its profile"
        yield ("security.denied", "warning", f"{text}; look at {how}.")


def _tail(path: str) -> str:
    try:
        with open(path, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL_BYTES))
            return file.read().decode("utf-8", "replace")
    except OSError:
        return ""


# -- the way to the sources -----------------------------------------------------------------------


def wanted_urls(case: Case) -> dict[str, str]:
    """
    Return the first URLs of the ISOs that are still to be fetched or looked after, by pillar key.

    case
        The machine.
    """
    waiting = {image["label"] for image in unfetched(case)}
    return {
        f"netboot:images:{image['name']}": url
        for image in case.config["images"]
        # Others come from the host of salt-ssh.
        if not image.get("controller") and (image["label"] in waiting or image["refresh"])
        for url in image["sources"][:1]
    }


def _name_servers(case: Case) -> Iterator[Finding]:
    there = netboot_looks.nameservers(netboot_files.read(_RESOLV_CONF) or "")
    known = (netboot_files.read("/etc/hosts") or "").split()
    names = {urllib.parse.urlsplit(url).hostname or "" for url in wanted_urls(case).values()}
    unknown = [name for name in names if name and not _is_address(name) and name not in known]
    if unknown and not there:
        text = f"{_RESOLV_CONF} names no name server, which {some(unknown)} needs: add one."
        yield ("dns.none", "error", text)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _sources(case: Case) -> Iterator[Finding]:
    netboot_proxy.use(case.config)
    urls = list(wanted_urls(case).items())[:8]
    for (key, url), one in zip(urls, _at_once(urls)):
        text = f"{key}: {shown(url)} does not answer in time; check the way to it."
        finding = ("mirror.unreachable", "error", text) if one is None else one
        if finding[0]:
            yield finding


def _at_once(urls: list[tuple[str, str]]) -> list[Finding | None]:
    """Return what is wrong with sources; None for those that take too long."""
    found: list[Finding | None] = [None] * len(urls)

    def put(number: int) -> None:
        found[number] = _source(*urls[number])

    # Looking up a name may take a minute, and an executor's threads would be waited for.
    threads = [
        threading.Thread(target=put, args=[number], daemon=True) for number in range(len(urls))
    ]
    for thread in threads:
        thread.start()
    until = time.monotonic() + 2 * _WAIT_S
    for thread in threads:
        thread.join(max(0, until - time.monotonic()))
    return list(found)


def _source(key: str, url: str) -> Finding:
    """Return what is wrong with a source; empty if nothing is."""
    proxy = netboot_proxy.of(url)
    parts = urllib.parse.urlsplit(proxy or url)
    host = parts.hostname or ""
    if host:
        try:
            socket.getaddrinfo(host, None)
        except OSError as err:
            of = f"the proxy {shown(proxy)}" if proxy else shown(url)
            text = (
                f"{key}: the name in {of} is unknown ({err.strerror or err}); see {_RESOLV_CONF}."
            )
            return ("dns.unknown", "error", text)
    if proxy:
        try:
            socket.create_connection((host, parts.port or 80), _WAIT_S).close()
        except OSError as err:
            text = (
                f"{key}: the proxy {shown(proxy)} does not answer ({err}); mend netboot:proxy, "
                "or http_proxy of the environment and name the mirror in no_proxy."
            )
            return ("proxy.unreachable", "error", text)
    try:
        iso_sources.size(url, _WAIT_S)
    except Exception as err:  # noqa: BLE001 (whatever it is, the ISO cannot be fetched)
        text = f"{key}: {shown(url)} cannot be fetched: {err}; change url, or add mirrors."
        return ("mirror.unreachable", "error", text)
    return ("", "", "")


def _clock_of_others(case: Case) -> Iterator[Finding]:
    urls = (url for image in case.config["images"] for url in image["sources"])
    url = next((url for url in urls if url.startswith("http")), None)
    said = _date(url) if url else None
    if said is not None and abs(said - time.time()) > _LATE_S:
        text = (
            f"The clock of this machine differs by {abs(said - time.time()) / 60:.0f} minutes from "
            f"that of {shown(url or '')}: set it, such as by timedatectl set-ntp true."
        )
        yield ("time.differs", "warning", text)


def _date(url: str) -> float | None:
    request = urllib.request.Request(url, method="HEAD")  # noqa: S310 (http, https)
    try:
        with urllib.request.urlopen(request, timeout=_WAIT_S) as answer:  # noqa: S310
            said = answer.headers.get("Date")
    except urllib.error.HTTPError as err:
        said = err.headers.get("Date")
    except (OSError, ValueError):
        return None  # sources() says that
    try:
        return email.utils.parsedate_to_datetime(said).timestamp()
    except (TypeError, ValueError):
        return None


def _other_servers(case: Case) -> Iterator[Finding]:
    ours = {one["address"] for one in case.config["interfaces"]} | {*case.target["addresses"]}
    kinds = {one["pxe"][0]: one["kind"] for one in case.config["firmware"] if one["pxe"]}
    asked = [arch for arch in (0, 7) if arch in kinds] or list(kinds)[:1]
    names = sorted({one["name"].partition(":")[0] for one in case.config["interfaces"]})
    with ThreadPoolExecutor(8) as pool:
        tries = [
            (name, pool.submit(netboot_pxe.others, name, arch, _OFFERS_S))
            for name in names
            for arch in asked
        ]
        found = {(name, offer.server): offer for name, one in tries for offer in one.result()}
    for (name, server), offer in found.items():
        if server not in ours:
            text = (
                f"{server} ({offer.mac}) on {name} also boots clients ({offer.file or 'PXE'}): "
                "switch that off there, or they boot from either."
            )
            yield ("dhcp.foreign", "warning", text)


#: At what, by the words for it: without a configuration, too.
ALWAYS = {
    "who runs this, and whether systemd does": _rights,
}
#: With one.
LOOKS = {
    "the clock": _clock,
    "the interfaces of clients": _interfaces,
    "the ports": _ports,
    "the firewall": _firewall,
    "space on disks": _space,
    "what SELinux and AppArmor denied": _denied,
    "the name servers": _name_servers,
}
#: At other machines.
NETWORK = {
    "the sources of ISOs": _sources,
    "the clock, by that of a mirror": _clock_of_others,
    "other servers that boot clients": _other_servers,
}
