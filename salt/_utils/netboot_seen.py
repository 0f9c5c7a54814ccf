"""
What clients did, from the web server's log: requests, put together to boots.

Each menu reports its steps as requests of ``/seen``; what comes before and after is seen in what is
fetched. Whoever is on the network can request anything: every text is cleaned.
"""

from __future__ import annotations

import json
import os
import re
import urllib.parse
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import netboot_installing
from netboot_host_checks import bare_mac
from netboot_journal import Asked
from netboot_names import PROBE

#: Between two requests of one boot: an installer may wait long for its user.
_SAME_BOOT_S = 6 * 3600
#: From firmware's first question to the menu's script.
_FIRMWARE_S = 120
#: A menu asks for its scripts one after the other.
_SCRIPTS_S = 60
#: Machines that one address can be: who tells of more tells of none.
_MACHINES = 16
_SCRIPT = re.compile(r"/tftp/config-([a-z0-9_]+)\.ipxe")
_OWN_SCRIPT = re.compile(r"/tftp/config-(host|uuid|serial|mac|product|manufacturer)-(.+)\.ipxe")
#: What UEFI's HTTP boot loads.
_LOADER = re.compile(r"/tftp/([^/]+[.]efi)")
# What shims and GRUB ask for, and go on without (rhboot/shim, shim.c and netboot.c; GRUB,
# net/net.c). What dnsmasq has not is no failure then.
_OPTIONAL = re.compile(
    r"(?:revocations\w*|shim_certificate_\d+)\.efi|grub\.cfg-.+|(?:command|fs|crypto|terminal)\.lst"
)
_FILE = re.compile(r"(?:/host/[^/]+)?(/(?:tftp/netboot|dist)/.+)")
#: What a host that is installed asks for and tells.
_ANSWER = re.compile(r"/host/[^/]+/answers/([^/]+/[^/]+)")
_ARGUMENT = re.compile(r"(?:^|&)([a-z])=([^&]*)")


class Step(NamedTuple):
    """What a client did: ``at`` seconds since 1970, ``kind``, and what belongs to it."""

    at: float
    kind: str
    what: str = ""


class Fetch(NamedTuple):
    """A file that a client asked for; ``length``: of the whole answer, -1 if unknown."""

    at: float
    path: str
    method: str
    status: int
    sent: int
    length: int
    whole: bool
    seconds: float


class Boot:
    """A boot of a client, from the first request on."""

    def __init__(self, at: float, address: str) -> None:
        self.address = address
        self.started = self.last = at
        self.steps: list[Step] = []
        self.fetches: list[Fetch] = []
        self.facts: dict[str, str] = {}
        self.unlogged = 0  # requests, about

    def add(self, at: float, kind: str, what: str = "") -> None:
        self.steps.append(Step(at, kind, what))
        self.last = at

    def found(self, **facts: str) -> None:
        self.facts.update({name: value for name, value in facts.items() if value})

    @property
    def mac(self) -> str:
        return self.facts.get("mac", "")

    @property
    def entry(self) -> str:
        chosen = ("chosen", "host", "kernel", "missing")
        named = [step.what for step in self.steps if step.kind in chosen and step.what]
        return named[-1] if named else ""

    def before(self, asked: Iterable[Asked]) -> None:
        """Put what its firmware asked for before its menu's first step; once if it repeats."""
        steps: dict[tuple[str, str, bool], Step] = {}
        loaded = False
        for one in asked:
            optional = one.kind == "tftp missing" and is_optional(one.file)
            if self.started - _FIRMWARE_S < one.at < self.started + 1 and not optional:
                what = one.arch if one.kind == "ignored" else one.file
                # An iPXE that was loaded from here is not the network card's own.
                own = loaded and one.kind == "ipxe"
                steps.setdefault((one.kind, what, own), Step(one.at, one.kind, what))
                loaded = loaded or one.kind == "tftp"
        self.steps = [*steps.values(), *self.steps]

    @property
    def bytes(self) -> int:
        return sum(fetch.sent for fetch in self.fetches)


def is_optional(file: str) -> bool:
    """
    Return whether a client goes on without a file.

    file
        Its path.
    """
    return bool(_OPTIONAL.fullmatch(os.path.basename(file)))


def boots(store: str, log: str, own: Iterable[str]) -> list[Boot]:
    """
    Return the boots that are on record, the oldest first.

    store, log
        The directory of the clients' files; the web server's log, whose lines move there.

    own
        Addresses of this machine, which asks itself.
    """
    made = put_together(_lines(_files(store, log)), own)
    return sorted(made, key=lambda boot: boot.started)


def _files(store: str, log: str) -> Iterator[str]:
    """Yield the files in the order in which lines move, so that none is missed on its way."""
    yield from (log, f"{log}.read")
    try:
        names = os.listdir(store)
    except FileNotFoundError:
        return
    yield from (os.path.join(store, name) for name in names if name.endswith(".jsonl"))


def _lines(paths: Iterable[str]) -> Iterator[bytes]:
    for path in paths:
        try:
            with open(path, "rb") as file:
                yield from file
        except FileNotFoundError:
            continue


def put_together(lines: Iterable[bytes], own: Iterable[str] = ()) -> list[Boot]:
    """
    Return the boots that lines of the log show.

    lines
        The lines, in any order; equal ones count once.

    own
        Addresses of this machine, which asks itself.
    """
    skipped = set(own)
    requests = {}
    for line in lines:
        try:
            request = json.loads(line)
            if request["a"] not in skipped and not request.get("w", "").startswith(PROBE):
                requests[(request["t"], request["i"])] = request
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            continue  # cut off, or not of nginx
    made: list[Boot] = []
    current: dict[str, Boot] = {}
    by_mac: dict[str, dict[str, Boot]] = {}
    for key in sorted(requests):
        request = requests[key]
        if "unlogged" in request:
            if request["a"] in current:
                current[request["a"]].unlogged += request["unlogged"]
            continue
        # Several machines may share an address; what they fetch does not say whose it is.
        mac = bare_mac(_arguments(request).get("m", "")) if request["u"] == "/seen" else None
        last, known = current.get(request["a"]), by_mac.setdefault(request["a"], {})
        if mac and last and last.mac not in ("", mac):
            if mac not in known and len(known) >= _MACHINES:
                continue
            last = known.get(mac)
        boot = _boot(request, last)
        if boot is not last:
            made.append(boot)
        current[request["a"]] = boot
        _add(boot, request)
        if boot.mac:
            known[boot.mac] = boot
    return made


def _boot(request: dict[str, Any], boot: Boot | None) -> Boot:
    """Return the boot that a request belongs to: the client's current one, or a new one."""
    at, uri = request["t"], request["u"]
    begins = uri == "/seen" and _arguments(request).get("s") == "script"
    # Of a menu of an earlier version, or after a report that failed.
    script = _SCRIPT.fullmatch(uri)
    if boot and not begins and script:
        begins = at - boot.started > _SCRIPTS_S or bool(
            boot.steps and boot.steps[-1].kind != "script"
        )
    if boot and at - boot.last > _SAME_BOOT_S:
        boot = None
    if boot and begins and _goes_on(boot, at):
        return boot
    return Boot(at, request["a"]) if begins or not boot else boot


def _goes_on(boot: Boot, at: float) -> bool:
    """Return whether a script is no new boot's: "Check again", or what UEFI's HTTP boot loaded."""
    if boot.steps and boot.steps[-1][1:] == ("chosen", "again"):
        return True
    early = not boot.mac and all(step.kind in ("loader", "script") for step in boot.steps)
    return early and at - boot.started < _FIRMWARE_S


def _arguments(request: dict[str, Any]) -> dict[str, str]:
    return {name: plain(value) for name, value in _ARGUMENT.findall(request["g"])}


def plain(value: str, most: int = 80) -> str:
    """
    Return a text that a client sent: decoded, printable, short.

    value
        As it is in the URL.

    most : 80
        Characters that are kept.
    """
    text = urllib.parse.unquote(value, errors="replace").strip()
    return "".join(filter(str.isprintable, text))[:most]


def _add(boot: Boot, request: dict[str, Any]) -> None:
    at, uri = request["t"], request["u"]
    boot.last = at
    if uri == "/seen":
        _reported(boot, at, _arguments(request))
    elif own := _OWN_SCRIPT.fullmatch(uri):
        kind, value = own[1], plain(own[2])
        if kind == "mac":
            boot.found(mac=bare_mac(value) or "")
        else:
            boot.found(**{"hostname" if kind == "host" else kind: value})
        if request["s"] == 200 and kind not in ("product", "manufacturer"):
            boot.add(at, "settings", f"{kind} {value}")
    elif script := _SCRIPT.fullmatch(uri):
        boot.found(arch=script[1])
        if request["s"] >= 400:
            boot.add(at, "script missing", uri)
        elif not boot.steps or boot.steps[-1].kind == "loader":
            boot.add(at, "script")
    elif uri.startswith("/once/"):
        boot.add(at, "armed" if request["s"] == 200 else "not armed")
    elif loader := _LOADER.fullmatch(uri):
        name = plain(loader[1])
        if request["s"] < 400:
            boot.add(at, "loader", name)
        elif not is_optional(name):
            boot.add(at, "tftp missing", name)
    elif answer := _ANSWER.fullmatch(uri):
        if request["m"] == "GET":
            missing = "" if request["s"] == 200 else f" {request['s']}"
            boot.add(at, "answers", plain(answer[1]) + missing)
    elif told := netboot_installing.report(uri):
        why = netboot_installing.why(request["g"])
        boot.add(at, "installer", f"{told[2]} {why}".rstrip())
    elif file := _FILE.fullmatch(uri):
        length = int(request["l"]) if str(request["l"]).isdigit() else -1
        sent = request["n"]
        whole = request["c"] == "OK" and request["s"] == 200 and sent == length
        boot.fetches.append(
            Fetch(
                at,
                plain(file[1], 512),
                request["m"],
                request["s"],
                sent,
                length,
                whole,
                request["d"],
            )
        )


def _reported(boot: Boot, at: float, told: dict[str, str]) -> None:
    step = told.get("s", "")
    boot.found(
        mac=bare_mac(told.get("m", "")) or "",
        uuid=told.get("u", ""),
        firmware=told.get("f", ""),
        arch=told.get("a", ""),
        ipxe=told.get("v", ""),
        secure_boot=told.get("b", ""),
        memory=told.get("r", ""),
        model=told.get("p", ""),
    )
    if step == "menu":
        waits = told.get("w", "")
        boot.found(waits_ms=waits if re.fullmatch("[0-9]{1,9}", waits) else "")
    if step == "failed":
        boot.found(errno=told.get("x", ""), refused=told.get("e", ""))
        boot.add(at, step, told.get("n", ""))
    elif step:
        boot.add(at, step, told.get("e", ""))
