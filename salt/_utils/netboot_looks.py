"""
What the looks of ``netboot.doctor`` have in common: what they look at, and how to read what
programs and the kernel say.
"""

from __future__ import annotations

import base64
import binascii
import calendar
import os
import re
import time
from typing import NamedTuple

from netboot_records import Records
from netboot_shapes import Config, Pillar, Target

#: dnsmasq answers BIOS clients' pxe-service requests to the port of DHCP (src/dhcp.c lost an else
#: between 2.91 and 2.92; 2.93 has it again).
FAULTY_DNSMASQ = (2, 92)

_DENIED = (
    # auditd, or the kernel's log without it.
    re.compile(r'avc: +denied +\{ (?P<what>[^}]+) \}.*? comm="(?P<who>[^"]+)"'),
    re.compile(
        r'apparmor="DENIED" operation="(?P<what>[^"]+)".*? comm="(?P<who>[^"]+)"',
    ),
)
_AUDIT_TIME = re.compile(r"audit\((\d+)\.\d+:\d+\)")
_FILE = re.compile(r'(?:path|name)="([^"]+)"')
# A certificate's validity is two times: UTCTime or GeneralizedTime (RFC 5280, 4.1.2.5).
_TIME = rb"(?:\x17\x0d(\d{12})Z|\x18\x0f(\d{14})Z)"
_VALIDITY = re.compile(rb"\x30[\x1e-\x22]" + _TIME + _TIME)
_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----(.*?)-----END CERTIFICATE-----", re.DOTALL)


class Case(NamedTuple):
    """
    The machine that is looked at. ``applied``: the configuration on record; ``config``: what the
    pillar wants, else what was applied; ``pillar``: empty where the machine does not have it.
    """

    records: Records
    applied: Config | None
    config: Config
    target: Target
    pillar: Pillar
    now: float


def version(said: str) -> tuple[int, ...]:
    """
    Return the version that ``dnsmasq --version`` says; empty if it says none.

    said
        Its output.
    """
    found = re.search(r"\b[Vv]ersion (\d+(?:\.\d+)+)", said)
    return tuple(int(number) for number in found[1].split(".")) if found else ()


def units(said: str) -> dict[str, dict[str, str]]:
    """
    Return properties of units by the name of the unit.

    said
        The output of ``systemctl show``, with the property Id.
    """
    found = {}
    for block in said.split("\n\n"):
        pairs = (line.partition("=") for line in block.splitlines())
        unit = {key: value for key, _, value in pairs}
        if "Id" in unit:
            found[unit["Id"]] = unit
    return found


def open_files(limits: str) -> int | None:
    """
    Return how many files a process may have open; None: any number.

    limits
        Its /proc/PID/limits.
    """
    found = re.search(r"^Max open files +(\S+)", limits, re.MULTILINE)
    return int(found[1]) if found and found[1].isdigit() else None


def denials(log: str, programs: set[str], since: float) -> list[str]:
    """
    Return what SELinux or AppArmor denied to programs, a sentence each.

    log
        Lines of the audit log or of the kernel.

    programs
        Names of the processes that matter.

    since
        Only later ones: seconds since 1970. Lines without a time count.
    """
    found: dict[str, None] = {}
    for line in log.splitlines():
        at = _AUDIT_TIME.search(line)
        for pattern in _DENIED:
            denied = pattern.search(line)
            if denied and denied["who"] in programs and (not at or int(at[1]) >= since):
                file = _FILE.search(line)
                by = "SELinux" if "avc:" in line else "AppArmor"
                what = f"{denied['what'].strip()}{' ' + file[1] if file else ''}"
                found[f"{by} denied {denied['who']}: {what}"] = None
    return list(found)


def nameservers(resolv_conf: str) -> list[str]:
    """
    Return the name servers of a machine.

    resolv_conf
        Its /etc/resolv.conf.
    """
    return re.findall(r"^\s*nameserver\s+(\S+)", resolv_conf, re.MULTILINE)


def ends(certificate: bytes) -> float | None:
    """
    Return when the first certificate of a file ends, in seconds since 1970; None: it has none.

    certificate
        The file, PEM.
    """
    pem = _PEM.search(certificate)
    try:
        der = base64.b64decode(pem[1]) if pem else b""
    except binascii.Error:
        return None
    found = _VALIDITY.search(der)
    if not found:
        return None
    # Two digits of the year: RFC 5280, 4.1.2.5.1.
    short, long = found[3], found[4]
    text = long or (b"19" if short >= b"50" else b"20") + short
    return calendar.timegm(time.strptime(text.decode("ascii"), "%Y%m%d%H%M%S"))


def mounts(mountinfo: str) -> dict[str, str]:
    """
    Return what is mounted, by mount point: the source.

    mountinfo
        The kernel's /proc/self/mountinfo.
    """
    found = {}
    for line in mountinfo.splitlines():
        words = line.split(" ")
        if "-" in words:
            point = words[4].replace("\\040", " ")
            found[point] = words[words.index("-") + 2].replace("\\040", " ")
    return found


def closed(path: str, stop: str = "/") -> str:
    """
    Return the file or directory that keeps other users from reading a file: itself or one above it;
    or an empty string.

    path
        The file; one that does not exist is not closed.

    stop
        The directory above which nothing is looked at.
    """
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return ""
    above = os.path.dirname(path)
    if path not in (stop, above):
        wrong = closed(above, stop)
        if wrong:
            return wrong
    return "" if mode & 0o001 or (not os.path.isdir(path) and mode & 0o004) else path
