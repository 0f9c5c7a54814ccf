"""
Machines that asked this server for a boot and are not hosts in the pillar, from the logs of its
services.
"""

from __future__ import annotations

from typing import Any

import netboot_clients
from netboot_host_checks import colons
from netboot_names import iso8601
from netboot_records import Records
from netboot_seen import Boot

_MOST_MACHINES = 1000
_IDENTITIES = ("mac", "uuid", "serial", "hostname")
_TEXTS = ("hostname", "uuid", "serial", "manufacturer", "product")

Machine = dict[str, Any]


def machines(records: Records) -> list[Machine]:
    """
    List the machines that asked and are not in the pillar, see ``netboot.hosts``.

    records
        The records of this machine.
    """
    known = {value for host in records.hosts().values() for _kind, value in host["identities"]}
    web = {
        boot.mac: _machine(boot.mac, boot) for boot in netboot_clients.boots(records) if boot.mac
    }
    dhcp = {
        mac: _machine(mac, last=asked[-1].at)
        for mac, asked in netboot_clients.journal().dhcp.items()
    }
    found = {**dhcp, **web}
    named = [
        one
        for one in found.values()
        if known.isdisjoint(
            {*(one[kind] for kind in _IDENTITIES), one["hostname"].partition(".")[0]} - {""}
        )
    ]
    named.sort(key=lambda one: -one["last"])
    return [
        {**one, "mac": colons(one["mac"]), "last": iso8601(one["last"])}
        for one in named[:_MOST_MACHINES]
    ]


def _machine(mac: str, boot: Boot | None = None, last: float = 0) -> Machine:
    facts = boot.facts if boot else {}
    return {
        "mac": mac,
        "address": boot.address if boot else "",
        **{text: facts.get(text, "") for text in _TEXTS},
        "last": boot.last if boot else last,
    }
