"""
What firmware asked dnsmasq for, from its lines in the journal: DHCP by MAC address, TFTP by IPv4
address.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from netboot_names import PROBE

#: What prints those lines, of the last seven days.
COMMAND = (
    *("journalctl", "-u", "netboot-dnsmasq", "-o", "short-unix", "--no-pager", "-q"),
    # Of a flood the newest.
    *("--lines=200000", "--since", "-7days"),
)

# dnsmasq with log-dhcp: the number of the transaction comes first (rfc2131.c, log_packet).
_DHCP = re.compile(
    r"(?P<at>\d+[.]\d+) \S+ \S+: (?P<transaction>\d+) (?:vendor class: (?P<vendor>\S+)"
    r"|user class: (?P<user>\S+)"
    r"|bootfile name: (?P<file>\S+)"
    r"|(?:DHCPDISCOVER|DHCPREQUEST|PXE)\(\S+\) (?:(?P<address>[\d.]+) )?"
    r"(?P<mac>(?:[0-9a-f]{2}:){5}[0-9a-f]{2})\b(?P<said>.*))"
)
# tftp.c
_TFTP = re.compile(
    # A client names the file, with the words of other messages if it likes: its address is last.
    r"(?P<at>\d+[.]\d+) \S+ \S+: (?:(?P<sent>sent) (?P<file>.+) to (?P<address>[\d.]+)"
    r"|(?P<failed>failed sending) (?P<cut>.+) to (?P<cut_to>[\d.]+)"
    r"|(?P<missing>file) (?P<name>.+) not found for (?P<to>[\d.]+)"
    r"|error .* received from (?P<from>[\d.]+))$"
)
_ARCH = re.compile(r":Arch:0*(\d+)")
# How netboot_probe asks for a file: as no firmware does, and for the same file.
_PROBED = "/./"
# After this many seconds a line "sent" is not that of the transfer that the client has ended.
_ENDED_S = 1


class Asked(NamedTuple):
    """
    What a client asked for: ``dhcp`` (its firmware), ``ipxe`` (DHCP, by an iPXE), ``ignored`` (DHCP
    of a kind of firmware that gets no answer), ``tftp``, ``tftp cut off`` or ``tftp missing``; the
    file; the address that it had then; the kind of firmware as its number in option 93.
    """

    at: float
    kind: str
    file: str
    address: str = ""
    arch: str = ""


class Journal(NamedTuple):
    """By MAC address without separators, and by IPv4 address."""

    dhcp: dict[str, list[Asked]]
    tftp: dict[str, list[Asked]]


def put_together(lines: Iterable[str]) -> Journal:
    """
    Return what lines of the journal have.

    lines
        The lines, in the order of time.
    """
    found = Journal({}, {})
    # Of a transaction: what asks, where that is firmware; its last question.
    firmware: dict[str, tuple[str, str]] = {}
    asked: dict[str, list[Asked]] = {}
    ended: dict[str, float] = {}
    for line in lines:
        if said := _DHCP.match(line):
            number = said["transaction"]
            if said["vendor"]:
                firmware.pop(number, None)
                boots = said["vendor"].startswith(("PXEClient", "HTTPClient"))
                if boots and not said["vendor"].endswith(PROBE):
                    arch = _ARCH.search(said["vendor"])
                    firmware[number] = ("dhcp", arch[1] if arch else "")
            elif said["user"]:
                if number in firmware and said["user"] == "iPXE":
                    firmware[number] = ("ipxe", firmware[number][1])
            elif said["mac"] and number in firmware:
                kind, arch_number = firmware[number]
                kind = "ignored" if said["said"].endswith("ignored") else kind
                one = Asked(float(said["at"]), kind, "", said["address"] or "", arch_number)
                asked[number] = found.dhcp.setdefault(said["mac"].replace(":", ""), [])
                asked[number].append(one)
            elif said["file"] and number in asked:
                asked[number][-1] = asked[number][-1]._replace(file=said["file"])
        elif said := _TFTP.match(line):
            _transfer(found, ended, said)
    return found


def _transfer(found: Journal, ended: dict[str, float], said: re.Match[str]) -> None:
    at = float(said["at"])
    if said["from"]:
        # UEFI asks for the size first, and ends that transfer; dnsmasq calls it sent all the same.
        ended[said["from"]] = at
        return
    address = said["address"] or said["cut_to"] or said["to"]
    file = said["file"] or said["cut"] or said["name"]
    if _PROBED in file:
        return
    if said["sent"] and at - ended.pop(address, 0) < _ENDED_S:
        return
    kind = "tftp cut off" if said["failed"] else "tftp missing" if said["missing"] else "tftp"
    found.tftp.setdefault(address, []).append(Asked(at, kind, file, address))
