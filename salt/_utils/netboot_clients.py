"""
Clients for people: what each did last, how far it came, and why it may have stopped.
"""

from __future__ import annotations

import re
import time
from typing import Any, NamedTuple

from salt.exceptions import SaltInvocationError

import netboot_arming
import netboot_images
import netboot_journal
import netboot_seen
import netboot_sockets
from netboot_host_checks import bare_mac, typed
from netboot_journal import Asked
from netboot_names import host_key, iso8601
from netboot_records import Records
from netboot_seen import Boot, Fetch, Step
from netboot_shapes import Entry

#: What a client may be doing.
STATES = ("in menu", "loading", "running", "local disk", "failed", "gone silent")
#: Seconds without a request after which nothing more is expected.
_SILENT_S = 120
_UNITS = {"m": 60, "h": 3600, "d": 86400}
_MOST_BOOTS = 5
#: Lines of the menu that boot nothing from here.
_CHOICES = {
    "reboot": "It was rebooted from the menu.",
    "firmware": "It went back to its firmware from the menu.",
    "shell": "It was left in iPXE's shell.",
}
_FAILURES = ("failed", "missing", "refused")
_BEGINS = ("menu", "chosen", "host")
_NONE = Step(0, "")
# iPXE's error numbers begin with the POSIX error (ipxe.org/err; errno.h), here in hexadecimal.
_ERRNO = {
    "02": "the server refused it",
    "0f": "the connection was reset",
    "2d": "the server has no such file",
    "2e": "this firmware starts no such file",
    "38": "the server's network cannot be reached",
    "4c": "the server did not answer in time",
}


class Verdict(NamedTuple):
    """How a boot ended: its state, and for what stopped the cause's name, what happened, advice."""

    state: str
    cause: str = ""
    text: str = ""
    advice: str = ""


class Context(NamedTuple):
    """What verdicts are made with."""

    entries: dict[str, Entry]
    armed: dict[str, Any]  # by name of the host
    now: float
    connected: set[str] = set()  # addresses that the web server is sending to


def _context(records: Records) -> Context:
    entries = {entry["id"]: entry for entry in netboot_images.built(records)["entries"]}
    armed = {one["host"]: one for one in netboot_arming.listing(records)}
    connected = netboot_sockets.connected(records.config()["http"]["port"])
    return Context(entries, armed, time.time(), connected)


def verdict(boot: Boot, context: Context, host: str = "") -> Verdict:
    """
    Return how a boot ended, or how far it is.

    boot
        The boot.

    context
        See ``Context``.

    host
        Name of the client in the pillar, if it has one.
    """
    silent = context.now - boot.last > _SILENT_S
    kind = _kind(boot)
    if kind == "failed":
        return _failed(boot)
    if kind == "missing":
        return Verdict(
            "failed",
            "entry-not-ready",
            f"Its entry {boot.entry} is not in the menu: the image is not ready, or lacks it.",
            "./netboot images shows what is ready; the last apply says why an image is not.",
        )
    if kind == "refused":
        return Verdict(
            "failed",
            "wrong-password",
            "The name or password that was typed is wrong.",
            "Passwords are those of netboot:menu:password:users.",
        )
    if kind == "local":
        return _local(context, host)
    if kind in _CHOICES:
        return Verdict("gone silent", text=_CHOICES[kind])
    if kind == "chosen" and boot.steps[-1].what in _CHOICES:
        return Verdict("gone silent", text=_CHOICES[boot.steps[-1].what])
    if kind == "chosen" and boot.entry.startswith("+"):
        return Verdict("running", text="It started a line of netboot:menu:extra.")
    if kind == "chosen" and boot.entry.startswith(("@", "!")):
        kind = "menu"
    if kind in ("boot", "initrd", "kernel", "chosen", "host"):
        return _loading(boot, context, kind, silent)
    if kind == "menu":
        waits = int(boot.facts.get("waits_ms") or 0) / 1000
        if context.now - boot.last < (waits + 60 if waits else 3600):
            return Verdict("in menu")
        return Verdict(
            "gone silent",
            "left-in-menu",
            "Nobody chose anything in the menu, or the machine was switched off.",
            "Without a time-out a menu waits for a key.",
        )
    # A menu that reports nothing: of an earlier version, or its reports failed.
    stages = {entry["stage"]["path"] for entry in context.entries.values()}
    if any(fetch.whole and fetch.path in stages for fetch in boot.fetches):
        return Verdict("running")
    if not silent:
        return Verdict("loading")
    if kind == "dhcp":
        offered = next((step.what for step in boot.steps[::-1] if step.what), "")
        return Verdict(
            "gone silent",
            "no-menu",
            "Its firmware asked for a boot"
            + (f", was offered {offered}" if offered else "")
            + ", and no menu of it was seen.",
            "Another server's offer was taken; UDP 4011, 69 or the ports of transfers are blocked; "
            "or the boot loader does not start (Secure Boot): look at its screen.",
        )
    return Verdict(
        "gone silent",
        "script-without-menu",
        "It read the menu's script and went no further.",
        "Its iPXE may lack a feature: let it load this server's boot loader first.",
    )


def _kind(boot: Boot) -> str:
    """Return the kind of the last step; of a failure, after which the local disk boots, its own."""
    kinds = [step.kind for step in boot.steps]
    if kinds[-1:] == ["local"]:
        kinds.pop()
    if kinds[-2:] == ["missing", "failed"]:
        kinds.pop()
    return kinds[-1] if kinds[-1:] and kinds[-1] in _FAILURES else (boot.steps or [_NONE])[-1].kind


def _failed(boot: Boot) -> Verdict:
    at = next((step.what for step in boot.steps[::-1] if step.kind == "failed"), "") or "script"
    begun = max((step.at for step in boot.steps if step.kind in _BEGINS), default=0)
    fetches = [fetch for fetch in boot.fetches if fetch.at >= begun]
    refused = [fetch for fetch in fetches if fetch.status >= 400]
    if refused:
        return _refused(refused[-1], f"The {at}")
    cut = [fetch for fetch in fetches if not fetch.whole and fetch.method == "GET"]
    if cut:
        return _cut(cut[-1], f"The {at}")
    number = boot.facts.get("errno", "")
    why = _ERRNO.get(number.replace(":", "")[:2], f"iPXE's error is {number}" if number else "")
    return Verdict(
        "failed",
        "not-loaded",
        f"The {at} could not be loaded" + (f": {why}." if why else "."),
        "https://ipxe.org/err/ explains the number." if number else "Look at its screen.",
    )


def _refused(fetch: Fetch, what: str) -> Verdict:
    why = {403: ", as the server may not read it", 404: ", as it is not there"}
    return Verdict(
        "failed",
        "not-sent",
        f"{what} was not sent: {fetch.path} was answered {fetch.status}"
        f"{why.get(fetch.status, '')}.",
        "./netboot check; ./netboot apply brings what is missing.",
    )


def _cut(fetch: Fetch, what: str) -> Verdict:
    total = f" of {fetch.length}" if fetch.length >= 0 else ""
    return Verdict(
        "failed",
        "cut-off",
        f"{what} was cut off at byte {fetch.sent}{total}: {fetch.path}.",
        "The client stopped reading: too little memory, a cable, or it was switched off.",
    )


def _local(context: Context, host: str) -> Verdict:
    arming = context.armed.get(host)
    if arming and not arming["armed"]:
        return Verdict(
            "local disk",
            "not-armed",
            f"{host} is not armed, so it boots from its own disk.",
            f"./netboot arm {host}",
        )
    return Verdict("local disk")


def _loading(boot: Boot, context: Context, kind: str, silent: bool) -> Verdict:
    entry = context.entries.get(boot.entry)
    path = entry["stage"]["path"] if entry else ""
    stage = [fetch for fetch in boot.fetches if fetch.path == path]
    got = [fetch for fetch in stage if fetch.method == "GET"]
    if any(fetch.whole for fetch in got):
        return Verdict("running")
    if stage and stage[-1].status >= 400:
        return _refused(stage[-1], "The stage")
    # The web server logs a request when it ends.
    if not silent or boot.address in context.connected:
        return Verdict("loading")
    if got:
        return _cut(got[-1], "The stage")
    if stage:
        return Verdict(
            "gone silent",
            "stage-not-fetched",
            "The first stage asked for the size of its image, and did not fetch it.",
            _memory(boot, entry),
        )
    if kind == "boot" and entry and entry["method"] != "http":
        return Verdict("running", text=f"Its stage comes over {entry['method']}, unseen from here.")
    if kind == "boot":
        return Verdict(
            "gone silent",
            "stage-not-asked",
            "The kernel was started, and its first stage asked for nothing.",
            "No address for the kernel's network card (spanning tree, another card), another one "
            f"than the menu's, or {_memory(boot, entry)}",
        )
    return Verdict(
        "gone silent",
        "stopped-loading",
        f"After the {kind} nothing more was asked for.",
        "It was switched off, or hangs: look at its screen.",
    )


def _memory(boot: Boot, entry: Entry | None) -> str:
    needs = f"the entry needs {entry['memory_mib']} MiB" if entry else "memory"
    has = boot.facts.get("memory")
    return f"too little memory: {needs}" + (f", the machine has {has} MiB." if has else ".")


# -- for people ----------------------------------------------------------------------------------


def _hosts(records: Records) -> dict[str, str]:
    """Return the names of hosts by what identifies them."""
    return {
        value: name for name, host in records.hosts().items() for _kind, value in host["identities"]
    }


def _name(boot: Boot, hosts: dict[str, str]) -> str:
    own = [boot.facts.get(kind, "") for kind in ("mac", "uuid", "serial", "hostname")]
    own.append(own[-1].partition(".")[0])
    return next((hosts[value] for value in own if value in hosts), "")


def clients(records: Records, state: str | None, since: str | None) -> list[dict[str, Any]]:
    """
    List the clients that were seen, see ``netboot.clients``.

    records
        The records of this machine.

    state, since
        See ``netboot.clients``.
    """
    if state is not None and state not in STATES:
        raise SaltInvocationError(f"There is no state {state!r}; there are {', '.join(STATES)}.")
    after = time.time() - _ago(since) if since is not None else 0
    context, hosts = _context(records), _hosts(records)
    last: dict[str, Boot] = {}
    for boot in netboot_seen.boots(records):
        if boot.mac:
            last[boot.mac] = boot
    made = [_client(boot, context, hosts) for boot in last.values() if boot.last >= after]
    found = [one for one in made if state in (None, one["state"])]
    return sorted(found, key=lambda one: one["last"], reverse=True)


def _ago(since: object) -> int:
    match = re.fullmatch(r"(\d{1,5})([mhd])", str(since))
    if not match:
        raise SaltInvocationError(f"since must be such as 30m, 2h or 7d, not {since!r}.")
    return int(match[1]) * _UNITS[match[2]]


def _client(boot: Boot, context: Context, hosts: dict[str, str]) -> dict[str, Any]:
    host = _name(boot, hosts)
    how = verdict(boot, context, host)
    return {
        "mac": _written(boot.mac),
        "host": host,
        "address": boot.address,
        "firmware": boot.facts.get("firmware", ""),
        "model": boot.facts.get("model", ""),
        "state": how.state,
        "step": boot.steps[-1].kind if boot.steps else "",
        "entry": boot.entry,
        "bytes": boot.bytes,
        "seconds": round(boot.last - boot.started),
        "last": iso8601(boot.last),
        "cause": how.cause,
    }


def _written(mac: str) -> str:
    return ":".join(re.findall("..", mac))


def trace(records: Records, client: object) -> dict[str, Any]:
    """
    Return the last boots of a client, see ``netboot.trace``.

    records
        The records of this machine.

    client
        Its name in the pillar or its MAC address.
    """
    wanted = typed(client)
    hosts, context = _hosts(records), _context(records)
    names = {host_key(name): name for name in hosts.values()}
    mac, host = bare_mac(wanted), names.get(host_key(wanted), "")
    if not mac and not host:
        raise SaltInvocationError(f"No host in the pillar is called {wanted!r}; or give its MAC.")
    boots = [
        boot
        for boot in netboot_seen.boots(records)
        if (mac and boot.mac == mac) or (host and _name(boot, hosts) == host)
    ]
    macs = {mac} if mac else {value for value, name in hosts.items() if name == host}
    journal = netboot_journal.read()
    dhcp = sorted(one for each in macs for one in journal.dhcp.get(each, ()))
    for boot in boots:
        boot.before(sorted([*dhcp, *journal.tftp.get(boot.address, ())]))
    boots += _without_menu(dhcp, boots)
    return {
        "client": wanted,
        "boots": [_traced(boot, context, _name(boot, hosts)) for boot in boots[-_MOST_BOOTS:]],
    }


def _without_menu(dhcp: list[Asked], boots: list[Boot]) -> list[Boot]:
    """Return the last boot if its firmware asked, and no menu of it was seen."""
    last = dhcp[-1].at if dhcp else 0
    if not last or (boots and last < boots[-1].last):
        return []
    boot = Boot(last, "")
    boot.before(dhcp)
    return [boot]


def _traced(boot: Boot, context: Context, host: str) -> dict[str, Any]:
    how = verdict(boot, context, host)
    events = [(step.at, step.kind, step.what) for step in boot.steps]
    events += [(fetch.at, "fetch", _fetched(fetch)) for fetch in boot.fetches]
    return {
        "address": boot.address,
        "facts": boot.facts,
        "started": iso8601(boot.started),
        "steps": [
            {"after_s": round(at - boot.started, 1), "step": kind, "what": what}
            for at, kind, what in sorted(events)
        ],
        "state": how.state,
        "cause": how.cause,
        "text": how.text,
        "advice": how.advice,
    }


def _fetched(fetch: Fetch) -> str:
    size = f"{fetch.sent} of {fetch.length}" if not fetch.whole else f"{fetch.sent}"
    return f"{fetch.method} {fetch.path} {fetch.status}, {size} bytes, {fetch.seconds:.1f} s"
