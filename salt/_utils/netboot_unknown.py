"""
Machines that asked this server for a boot and are not hosts in the pillar, from the logs of its
services: each menu asks the web server for scripts of its machine by what identifies it.
"""

from __future__ import annotations

import datetime
import re
import urllib.parse
from collections.abc import Iterable, Iterator
from typing import Any

import netboot_run
from netboot_host_checks import bare_mac
from netboot_names import iso8601
from netboot_records import Records

# The log of all sites, and what the platforms' logrotate makes of it.
_WEB_LOGS = ("/var/log/nginx/access.log.1", "/var/log/nginx/access.log")
_MOST_BYTES = 64 << 20
_MOST_MACHINES = 1000
# A menu asks for its scripts one after the other.
_ONE_BOOT_S = 60
# nginx's format "combined".
_REQUEST = re.compile(
    r"(?P<address>\S+) \S+ \S+ \[(?P<day>\d\d)/(?P<month>[A-Z][a-z]{2})/(?P<year>\d{4})"
    r':(?P<clock>\d\d:\d\d:\d\d) (?P<zone>[+-]\d{4})\] "GET '
    r"/tftp/config-(?P<kind>host|uuid|serial|mac|product|manufacturer)-(?P<value>\S+)[.]ipxe "
    r'HTTP/[^"]*" (?P<status>\d{3}) '
)
_MONTHS = ("Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec").split()
# dnsmasq with log-dhcp: the number of the transaction comes first (rfc2131.c, log_packet).
_DHCP = re.compile(
    r"(?P<time>\d+)[.]\d+ \S+ \S+: (?P<transaction>\d+) (?:vendor class: (?P<vendor>\S+)"
    r"|(?:DHCPDISCOVER|DHCPREQUEST|PXE)\(\S+\) (?:[\d.]+ )?"
    r"(?P<mac>(?:[0-9a-f]{2}:){5}[0-9a-f]{2})\b)"
)

Machine = dict[str, Any]


def machines(records: Records) -> list[Machine]:
    """
    List the machines that asked and are not in the pillar, see ``netboot.hosts``.

    records
        The records of this machine.
    """
    known = {value for host in records.hosts().values() for _kind, value in host["identities"]}
    found = {**_by_dhcp(_journal()), **_by_web(_lines())}
    named = [
        one
        for one in found.values()
        if known.isdisjoint({one["mac"], one["uuid"], one["serial"], one["hostname"]})
    ]
    named.sort(key=lambda one: -one["last"])
    return [
        {
            **one,
            "mac": ":".join(re.findall("..", one["mac"])),
            "last": iso8601(one["last"]),
        }
        for one in named[:_MOST_MACHINES]
    ]


def _lines() -> Iterator[str]:
    for path in _WEB_LOGS:
        try:
            with open(path, "rb") as file:
                file.seek(max(file.seek(0, 2) - _MOST_BYTES, 0))
                for line in file:
                    yield line.decode("ascii", "replace")
        except FileNotFoundError:
            continue


def _journal() -> list[str]:
    if not netboot_run.has("journalctl"):
        return []
    command = ("journalctl", "-u", "netboot-dnsmasq", "-o", "short-unix", "--no-pager", "-q")
    return netboot_run.tried(*command, "--since", "-7days").stdout.splitlines()


def _machine(mac: str = "", last: int = 0) -> Machine:
    names = ("address", "hostname", "uuid", "serial", "manufacturer", "product")
    return {"mac": mac, **dict.fromkeys(names, ""), "last": last}


def _by_web(lines: Iterable[str]) -> dict[str, Machine]:
    """Return by MAC address the machines whose menu found no script of theirs."""
    found: dict[str, Machine] = {}
    asked: dict[str, tuple[int, Machine]] = {}
    for line in lines:
        if not (request := _REQUEST.match(line)):
            continue
        try:
            time = _time(request)
        except ValueError:
            continue  # a line that nginx did not write
        address, kind = request["address"], request["kind"]
        before, machine = asked.get(address, (0, {}))
        # A menu asks by host name, UUID, serial number and MAC address, and then for the board.
        is_next = machine.get("mac") and kind not in ("manufacturer", "product")
        if time - before > _ONE_BOOT_S or is_next:
            machine = _machine()
        asked[address] = (time, machine)
        mac = bare_mac(request["value"]) if kind == "mac" else None
        if mac:
            machine.update(mac=mac, address=address, last=time)
            if request["status"] == "404":
                found[mac] = machine
            else:
                found.pop(mac, None)
        elif kind != "mac":
            machine["hostname" if kind == "host" else kind] = _plain(request["value"])
    return found


def _by_dhcp(lines: Iterable[str]) -> dict[str, Machine]:
    """Return by MAC address the machines whose firmware asked for a boot."""
    found: dict[str, Machine] = {}
    firmware: dict[str, bool] = {}
    for line in lines:
        if not (said := _DHCP.match(line)):
            continue
        if said["vendor"]:
            firmware[said["transaction"]] = said["vendor"].startswith(("PXEClient", "HTTPClient"))
        elif firmware.get(said["transaction"]):
            mac = said["mac"].replace(":", "")
            found[mac] = _machine(mac, int(said["time"]))
    return found


def _time(request: re.Match[str]) -> int:
    """Return seconds since 1970; strptime knows months in the language of the locale."""
    month = _MONTHS.index(request["month"]) + 1
    text = f"{request['year']}-{month:02}-{request['day']} {request['clock']} {request['zone']}"
    return int(datetime.datetime.strptime(text, "%Y-%m-%d %H:%M:%S %z").timestamp())


def _plain(value: str) -> str:
    """Return what a client called itself: anybody may ask for anything."""
    text = urllib.parse.unquote(value, errors="replace").strip()
    return "".join(filter(str.isprintable, text))[:60]
