"""
What firmware asked dnsmasq for, from its lines in the journal: DHCP by MAC address, TFTP by IPv4
address.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

#: What prints those lines, of the last seven days.
COMMAND = (
    *("journalctl", "-u", "netboot-dnsmasq", "-o", "short-unix", "--no-pager", "-q"),
    *("--since", "-7days"),
)
# dnsmasq with log-dhcp: the number of the transaction comes first (rfc2131.c, log_packet).
_DHCP = re.compile(
    r"(?P<at>\d+[.]\d+) \S+ \S+: (?P<transaction>\d+) (?:vendor class: (?P<vendor>\S+)"
    r"|bootfile name: (?P<file>\S+)"
    r"|(?:DHCPDISCOVER|DHCPREQUEST|PXE)\(\S+\) (?:[\d.]+ )?"
    r"(?P<mac>(?:[0-9a-f]{2}:){5}[0-9a-f]{2})\b)"
)
# tftp.c
_TFTP = re.compile(
    r"(?P<at>\d+[.]\d+) \S+ \S+: (?:(?P<sent>sent) (?P<file>\S+) to (?P<address>[\d.]+)"
    r"|(?P<failed>failed sending|file) (?P<name>\S+) (?:not found for|to) (?P<to>[\d.]+))"
)


class Asked(NamedTuple):
    """What firmware asked for: ``dhcp``, ``tftp`` or ``tftp failed``, and the file."""

    at: float
    kind: str
    file: str


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
    # Of a transaction: whether it is firmware's, and its last question.
    firmware: dict[str, bool] = {}
    asked: dict[str, list[Asked]] = {}
    for line in lines:
        if said := _DHCP.match(line):
            number = said["transaction"]
            if said["vendor"]:
                firmware[number] = said["vendor"].startswith(("PXEClient", "HTTPClient"))
            elif said["mac"] and firmware.get(number):
                asked[number] = found.dhcp.setdefault(said["mac"].replace(":", ""), [])
                asked[number].append(Asked(float(said["at"]), "dhcp", ""))
            elif said["file"] and number in asked:
                asked[number][-1] = asked[number][-1]._replace(file=said["file"])
        elif said := _TFTP.match(line):
            address, file = said["address"] or said["to"], said["file"] or said["name"]
            kind = "tftp" if said["sent"] else "tftp failed"
            found.tftp.setdefault(address, []).append(Asked(float(said["at"]), kind, file))
    return found
