"""
Whether clients could boot what this server offers: tried when something has changed, once a day,
and when somebody asks; put on record.
"""

from __future__ import annotations

import time
from typing import Any

import netboot_plan
import netboot_probe
from netboot_names import iso8601, some
from netboot_records import Records
from netboot_shapes import Finding

_DAY_S = 86400
# What is not older was tried by the one who asks.
_NOW_S = 60
_DHCP = "DHCP"


def on_record(records: Records) -> dict[str, Any]:
    """
    Return what the last try found if nothing has changed since; or an empty map.

    records
        The records of this machine.
    """
    last: dict[str, Any] = records.owned("probe", {})
    if last and last["fingerprint"] == netboot_plan.fingerprint(records.config(), records):
        return last
    return {}


def tried(records: Records, asked: bool = False, whole: bool = False) -> dict[str, Any]:
    """
    Try what is due, and return what was found, see ``netboot_probe.probe``; with ``fresh``.

    records
        The records of this machine.

    asked : False
        Whether somebody wants all of it now.

    whole : False
        Whether files are compared whole.
    """
    last, now = on_record(records), time.time()
    wrong = last.get("wrong", ())
    again = asked or now - last.get("at", 0) > _DAY_S
    network = (
        again
        or now - last.get("network_at", 0) > _DAY_S
        or any(one["step"] == _DHCP for one in wrong)
    )
    if last and not network and not wrong:
        return {**last, "fresh": False}
    found = netboot_probe.probe(netboot_plan.plan(records, whole), network, asked)
    found["network_at"] = found["at"]
    if not network:
        found.update({key: last[key] for key in ("network_at", "foreign", "others", "unseen")})
    found["fingerprint"] = netboot_plan.fingerprint(records.config(), records)
    # What was offered is for the one who asked.
    records.write("owned", "probe", {**found, "offers": {}})
    return {**found, "fresh": True}


def findings(found: dict[str, Any], told: bool = False) -> list[Finding]:
    """
    Return what keeps clients from booting, and what other servers do.

    found
        What a try found.

    told : False
        Whether to tell also what is good, and what was not looked at.
    """
    same: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for one in found.get("wrong", ()):
        same.setdefault((one["step"], one["cause"], one["key"]), []).append(one)
    listed: list[Finding] = []
    old = time.time() - found.get("at", 0) > _NOW_S
    at = iso8601(found["at"])[:16].replace("T", " ") if found else ""
    tried_at = f" Tried {at} UTC; ./netboot check --probe tries again." if old else ""
    for (step, cause, key), those in same.items():
        kinds = some(dict.fromkeys(one["asked"] or one["firmware"] for one in those))
        entries = some(dict.fromkeys(one["entry"] for one in those if one["entry"]), 3)
        what = f"cannot boot {entries}" if entries else "cannot boot"
        listed.append(
            ("probe.failed", "error", f"{kinds} {what}: {step}: {cause} ({key}).{tried_at}")
        )
    listed += (("probe.foreign", "warning", text) for text in found.get("foreign", ()))
    if told:
        good: dict[str, list[str]] = {}
        for kind, entry in found["good"]:
            good.setdefault(kind, []).append(entry)
        listed += (
            ("probe.good", "info", f"{kind} gets all of {some(entries)}.")
            for kind, entries in good.items()
        )
        listed += (("probe.unseen", "info", f"Not seen: {text}.") for text in found["unseen"])
    return listed


def summary(found: dict[str, Any]) -> str:
    """
    Return in a sentence what clients can boot.

    found
        What a try found.
    """
    kinds = list(dict.fromkeys(kind for kind, _entry in found["good"]))
    entries = {entry for _kind, entry in found["good"]}
    if not kinds:
        return "There is nothing to boot yet."
    number = f"{len(entries)} {'entry' if len(entries) == 1 else 'entries'}"
    when = "" if found["fresh"] else "Nothing has changed since the last try: "
    not_asked = "".join(f" Not seen: {one}." for one in found["unseen"] if one.startswith(_DHCP))
    return f"{when}{', '.join(kinds)} can load all of {number}.{not_asked}"
