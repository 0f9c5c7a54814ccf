"""
Clients for people: what each did last, how far it came, and why it may have stopped.
"""

from __future__ import annotations

import contextlib
import ipaddress
import re
import time
from typing import Any

from salt.exceptions import SaltInvocationError

import netboot_arming
import netboot_boots
import netboot_images
import netboot_installing
import netboot_journal
import netboot_near
import netboot_pxe
import netboot_run
import netboot_seen
import netboot_sockets
from netboot_causes import STATES
from netboot_host_checks import bare_mac, colons, typed
from netboot_journal import Journal
from netboot_names import host_key, iso8601
from netboot_records import Records
from netboot_seen import Boot, Fetch
from netboot_shapes import Listed
from netboot_verdicts import LOOKED_AT, Context, verdict

_UNITS = {"m": 60, "h": 3600, "d": 86400}
_MOST_BOOTS = 5
#: Files of one directory, fetched one after the other, that are told one by one.
_FEW = 4
#: What ``stopped`` means.
_STOPPED = ("failed", "gone silent")
#: Causes that may be another server's doing.
_NOT_TAKEN = ("offer-not-taken", "file-not-asked")


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
    config = records.config()
    subnets = config["dhcp"]["subnets"] if config["dhcp"]["mode"] == "server" else []
    service = config["platform"]["nginx"]["service"]
    return Context(
        {entry["id"]: entry for entry in netboot_images.built(records)["entries"]},
        {one["host"]: one for one in netboot_arming.listing(records)},
        time.time(),
        connected=netboot_sockets.connected(config["http"]["port"]),
        hosts=len(records.hosts()),
        changed=netboot_images.changed(records),
        service=service,
        port=config["http"]["port"],
        url=config["http"]["url"],
        outage=netboot_boots.outage(
            netboot_run.tried("systemctl", "show", service, netboot_boots.PROPERTIES).stdout,
            time.time(),
        ),
        lease_s=min((subnet["lease_s"] for subnet in subnets), default=0),
    )


def clients(records: Records, state: str | None, since: str | None) -> list[dict[str, Any]]:
    """
    List the clients that were seen, see ``netboot.clients``.

    records
        The records of this machine.

    state, since
        See ``netboot.clients``.
    """
    wanted = STATES if state is None else _STOPPED if state == "stopped" else (state,)
    if not set(wanted) <= set(STATES):
        known = ", ".join((*STATES, "stopped"))
        raise SaltInvocationError(f"There is no state {state!r}; there are {known}.")
    after = time.time() - _ago(since) if since is not None else 0
    context, hosts = _context(records), netboot_boots.names(records.hosts())
    made = [
        _client(found, context, hosts)
        for found in _by_mac(records).values()
        if found[-1].last >= after
    ]
    listed = [one for one in made if one["state"] in wanted]
    return sorted(listed, key=lambda one: one["last"], reverse=True)


def _client(found: list[Boot], context: Context, hosts: dict[str, str]) -> dict[str, Any]:
    host = netboot_boots.name(found[-1], hosts)
    how = verdict(found[-1], context, host, found[-LOOKED_AT - 1 : -1])
    return netboot_boots.shown(found[-1], context, host, how)


def _ago(since: object) -> int:
    match = re.fullmatch(r"(\d{1,5})([mhd])", str(since))
    if not match:
        raise SaltInvocationError(f"since must be such as 30m, 2h or 7d, not {since!r}.")
    return int(match[1]) * _UNITS[match[2]]


def _by_mac(records: Records) -> dict[str, list[Boot]]:
    return netboot_boots.by_mac(boots(records), journal(), netboot_boots.addresses())


def trace(records: Records, client: object) -> dict[str, Any]:
    """
    Return the last boots of a client, see ``netboot.trace``.

    records
        The records of this machine.

    client
        Its name in the pillar, its MAC address, or the IPv4 address that it had last.
    """
    wanted = typed(client)
    listed_hosts, context = records.hosts(), _context(records)
    hosts, seen = netboot_boots.names(listed_hosts), _by_mac(records)
    names = {host_key(name): name for name in hosts.values()}
    mac, host = bare_mac(wanted), names.get(host_key(wanted), "")
    if not mac and not host:
        if not _is_address(wanted):
            raise SaltInvocationError(
                f"No host in the pillar is called {wanted!r}; or give its MAC or IPv4 address."
            )
        mac = _at(wanted, seen)
    called = {own: _called(boots_of_mac, hosts) for own, boots_of_mac in seen.items()}
    found = [
        boots_of_mac
        for own, boots_of_mac in seen.items()
        if own == mac or (host and host in called[own])
    ]
    last = sorted((boot for one in found for boot in one), key=lambda boot: boot.started)
    stranger = bool(last) and not called[last[-1].mac] and _is_stranger(last, listed_hosts)
    if last and verdict(last[-1], context).cause in _NOT_TAKEN:
        context = context._replace(others=_others(records, last[-1]))
    traced = list(enumerate(last))[-_MOST_BOOTS:]
    name = host or (netboot_boots.name(last[-1], hosts) if last else hosts.get(mac, ""))
    near = _near_hosts(last[-1].mac, listed_hosts, called) if stranger else []
    if not last and name:
        near = _near_strangers(name, listed_hosts, seen, called)
    install = netboot_installing.Installs(records.directory, "", 0).read(host_key(name))
    listed = context.armed.get(name) or {}
    return {
        "client": wanted,
        "install": {key: listed[key] for key in ("state", "step", "since", "why")}
        if listed.get("state")
        else None,
        "log": netboot_installing.log_lines(install),
        "stranger": stranger,
        "near": near,
        "boots": [
            _traced(boot, context, netboot_boots.name(boot, hosts), last[:number])
            for number, boot in traced
        ],
    }


def _is_address(text: str) -> bool:
    with contextlib.suppress(ValueError):
        return bool(ipaddress.IPv4Address(text))
    return False


def _at(address: str, seen: dict[str, list[Boot]]) -> str:
    """Return the MAC address of the newest client that an address was last of, or nothing."""
    had = [found[-1] for found in seen.values() if found[-1].address == address]
    return max(had, key=lambda boot: boot.last).mac if had else ""


def _called(found: list[Boot], hosts: dict[str, str]) -> set[str]:
    return {netboot_boots.name(boot, hosts) for boot in found} - {""}


def _is_stranger(found: list[Boot], hosts: dict[str, Listed]) -> bool:
    """Return whether a client that was not recognized is no host: all that identifies is known."""
    by_mac = all(kind == "mac" for host in hosts.values() for kind, _ in host["identities"])
    return bool(hosts) and (by_mac or any("uuid" in boot.facts for boot in found))


def _macs(host: Listed) -> list[str]:
    return [value for kind, value in host["identities"] if kind == "mac"]


def _near_hosts(
    mac: str, hosts: dict[str, Listed], called: dict[str, set[str]]
) -> list[dict[str, str]]:
    """Return the hosts that were not seen and whose MAC addresses are nearly this one."""
    there = {name for names in called.values() for name in names}
    unseen = {one: name for name in hosts if name not in there for one in _macs(hosts[name])}
    return [
        {"host": unseen[one], "mac": colons(one), "address": "", "last": ""}
        for one in netboot_near.nearest([mac], unseen)
    ]


def _near_strangers(
    name: str, hosts: dict[str, Listed], seen: dict[str, list[Boot]], called: dict[str, set[str]]
) -> list[dict[str, str]]:
    """Return the machines that are no hosts and whose MAC addresses are nearly this host's."""
    strangers = [mac for mac in seen if not called[mac]]
    return [
        {
            "host": name,
            "mac": colons(mac),
            "address": seen[mac][-1].address,
            "last": iso8601(seen[mac][-1].last),
        }
        for mac in netboot_near.nearest(_macs(hosts[name]), strangers)
    ]


def _others(records: Records, boot: Boot) -> list[str]:
    """Return the boots that other servers offer now to such a client."""
    arch = boot.facts.get("client_arch", "")
    at, found = boot.address, []
    for one in records.config()["interfaces"]:
        near = not at or ipaddress.ip_address(at) in ipaddress.ip_network(
            f"{one['network']}/{one['netmask']}"
        )
        if near:
            with contextlib.suppress(OSError):  # without its rights, or while it is away
                found += netboot_pxe.others(one["name"], min(int(arch or 0), 0xFFFF))
    return [
        f"{offer.server} ({offer.mac}) offers {offer.file or 'a boot'}"
        for offer in dict.fromkeys(found)
    ]


def _traced(boot: Boot, context: Context, host: str, earlier: list[Boot]) -> dict[str, Any]:
    how = verdict(boot, context, host, earlier)
    events = [(step.at, step.kind, step.what) for step in boot.steps]
    events += [
        (together[-1].at, "fetch", _fetched(together)) for together in _together(boot.fetches)
    ]
    return {
        "address": boot.address,
        "facts": boot.facts,
        "started": iso8601(boot.started),
        "steps": [
            {"after_s": round(at - boot.started, 1), "step": kind, "what": what}
            for at, kind, what in sorted(events)
        ],
        "unlogged": boot.unlogged,
        "state": how.state,
        "cause": how.cause,
        "text": how.text,
        "advice": how.advice,
    }


def _together(fetches: list[Fetch]) -> list[list[Fetch]]:
    """Put what an installer fetches from one directory together; all else stays single."""
    found: list[list[Fetch]] = []
    for fetch in fetches:
        of = (fetch.path.rpartition("/")[0], fetch.status)
        if found and of == (found[-1][0].path.rpartition("/")[0], found[-1][0].status):
            found[-1].append(fetch)
        else:
            found.append([fetch])
    return [
        part
        for together in found
        for part in ([together] if len(together) > _FEW else [[one] for one in together])
    ]


def _fetched(together: list[Fetch]) -> str:
    fetch = together[0]
    if together[1:]:
        directory, sent = fetch.path.rpartition("/")[0], sum(one.sent for one in together)
        return f"{len(together)} files of {directory} {fetch.status}, {sent} bytes"
    size = f"{fetch.sent} of {fetch.length}" if not fetch.whole else f"{fetch.sent}"
    return f"{fetch.method} {fetch.path} {fetch.status}, {size} bytes, {fetch.seconds:.1f} s"
