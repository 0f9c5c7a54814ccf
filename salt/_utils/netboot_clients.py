"""
Clients for people: what each did last, how far it came, and why it may have stopped.
"""

from __future__ import annotations

import re
import time
from typing import Any

from salt.exceptions import SaltInvocationError

import netboot_arming
import netboot_images
import netboot_journal
import netboot_run
import netboot_seen
import netboot_sockets
from netboot_host_checks import bare_mac, typed
from netboot_journal import Asked, Journal
from netboot_names import host_key, iso8601
from netboot_records import Records
from netboot_seen import Boot, Fetch
from netboot_verdicts import STATES, Context, verdict

_UNITS = {"m": 60, "h": 3600, "d": 86400}
_MOST_BOOTS = 5


def boots(records: Records) -> list[Boot]:
    """
    Return the boots that are on record, the oldest first.

    records
        The records of this machine.
    """
    config = records.config()
    own = {one["address"] for one in config["interfaces"]} | {"127.0.0.1", config["address"]}
    return netboot_seen.boots(config["paths"]["clients"], config["clients_log"], own)


def journal() -> Journal:
    """
    Return what firmware asked for in the last seven days.
    """
    if not netboot_run.has("journalctl"):
        return Journal({}, {})
    return netboot_journal.put_together(
        netboot_run.tried(*netboot_journal.COMMAND).stdout.splitlines()
    )


def _context(records: Records) -> Context:
    entries = {entry["id"]: entry for entry in netboot_images.built(records)["entries"]}
    armed = {one["host"]: one for one in netboot_arming.listing(records)}
    connected = netboot_sockets.connected(records.config()["http"]["port"])
    return Context(entries, armed, time.time(), connected)


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
    for boot in boots(records):
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
    found = [
        boot
        for boot in boots(records)
        if (mac and boot.mac == mac) or (host and _name(boot, hosts) == host)
    ]
    macs = {mac} if mac else {value for value, name in hosts.items() if name == host}
    asked = journal()
    dhcp = sorted(one for each in macs for one in asked.dhcp.get(each, ()))
    for boot in found:
        boot.before(sorted([*dhcp, *asked.tftp.get(boot.address, ())]))
    found += _without_menu(dhcp, found)
    return {
        "client": wanted,
        "boots": [_traced(boot, context, _name(boot, hosts)) for boot in found[-_MOST_BOOTS:]],
    }


def _without_menu(dhcp: list[Asked], found: list[Boot]) -> list[Boot]:
    """Return the last boot if its firmware asked, and no menu of it was seen."""
    last = dhcp[-1].at if dhcp else 0
    if not last or (found and last < found[-1].last):
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
