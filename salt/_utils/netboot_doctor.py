"""
Examine a machine: what keeps it from being a netboot server, or may.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterable
from typing import Any

from salt.exceptions import CommandExecutionError

import netboot_findings
import netboot_held
import netboot_looks_images
import netboot_looks_machine
import netboot_looks_services
from netboot_findings import ORDER
from netboot_looks import Case
from netboot_records import Records
from netboot_shapes import Config, Finding, Pillar, Target

_OF_INTERFACE = {"interface.missing", "interface.no_address"}
_Look = Callable[[Case], Iterable[Finding]]


def examine(
    records: Records,
    target: Target,
    pillar: Pillar | None,
    resolve: Callable[[], dict[str, Any]],
    network: bool,
) -> list[Finding]:
    """
    Return what is wrong with this machine or may be, the worst first.

    records
        The records of this machine.

    target
        The facts of this machine.

    pillar
        The pillar below ``netboot``; None: this machine does not have it.

    resolve
        Returns what it resolves to, see ``netboot_pillar.resolve``.

    network
        Whether to ask other machines, too.
    """
    found: list[Finding] = []
    applied = resolved = None
    try:
        applied = records.applied()
    except CommandExecutionError as err:
        found.append(("records.damaged", "error", str(err)))
    try:
        resolved = None if pillar is None else resolve()
    except Exception as err:  # noqa: BLE001 (such as no master: the record is still there)
        found.append(_failed("the pillar", err))
    else:
        # Where records are damaged, something was applied.
        untrue = ("apply.none", "pillar.missing") if found else ()
        found += [one for one in _of_pillar(resolved, applied, records) if one[0] not in untrue]
    config = (resolved or {}).get("config") or applied
    case = Case(records, applied, config, target, pillar or {}, time.time())  # type: ignore[arg-type]
    looks: dict[str, _Look] = {**netboot_looks_machine.ALWAYS}
    if applied:
        looks["what netboot.check finds"] = _applied
    if config:
        looks.update(netboot_looks_machine.LOOKS)
        looks.update(netboot_looks_services.LOOKS)
        looks.update(netboot_looks_images.LOOKS)
    if config and network:
        looks.update(netboot_looks_machine.NETWORK)
    for what, look in looks.items():
        found += looked(what, look, case)
    return sorted(_once_each(found), key=lambda one: ORDER.index(one[1]))


def looked(what: str, look: _Look, case: Case) -> list[Finding]:
    """
    Return what a look finds; that it failed is a finding, too.

    what
        Words for what is looked at.

    look
        The look.

    case
        The machine.
    """
    found: list[Finding] = []
    try:
        found.extend(look(case))
    except Exception as err:  # noqa: BLE001 (the other looks are still worth it)
        found.append(_failed(what, err))
    return found


def _once_each(found: list[Finding]) -> list[Finding]:
    """Return findings without those that another one says with what helps."""
    keys = {key for key, _severity, _text in found}
    isos = [text.partition(" is gone: ")[0] for key, _severity, text in found if key == "iso.gone"]

    def is_said(key: str, text: str) -> bool:
        if key == "menu.missing":
            return any(text.endswith(f"{iso} does not exist") for iso in isos)
        if key == "dhcp.foreign":
            return "probe.foreign" in keys
        return key == "pillar.interface" and bool(keys & _OF_INTERFACE)

    unique = {(key, text): (key, severity, text) for key, severity, text in found}
    return [one for one in unique.values() if not is_said(one[0], one[2])]


def _failed(what: str, err: Exception) -> Finding:
    why = " ".join(str(err).split()) or type(err).__name__
    return ("look.failed", "warning", f"Not looked at: {what}, as that failed: {why.rstrip('.')}.")


def _applied(case: Case) -> list[Finding]:
    return netboot_findings.findings(case.records)


def _of_pillar(
    resolved: dict[str, Any] | None, applied: Config | None, records: Records
) -> list[Finding]:
    """Return what is wrong with the pillar, under the second word of the pillar's key."""
    if resolved is None:
        if applied:
            return []
        text = (
            "Nothing was applied to this machine yet, and it has no pillar with the key netboot "
            "(salt-ssh does not send it): run state.apply netboot."
        )
        return [("pillar.missing", "error", text)]
    found: list[Finding] = []
    for kind, severity in (("problems", "error"), ("warnings", "warning")):
        for text in resolved[kind]:
            key = f"{text} ".split(": ")[0].split(":")[1:2] or ["wrong"]
            found.append((f"pillar.{key[0]}", severity, text if text[-1] in ".?" else f"{text}."))
    if not applied and not resolved["problems"]:
        text = "Nothing was applied to this machine yet: run state.apply netboot."
        found.append(("apply.none", "info", text))
    elif applied and not resolved["problems"] and _differ(applied, resolved["config"], records):
        text = "The pillar, or this machine, has changed since the last apply: apply the states."
        found.append(("apply.outdated", "info", text))
    return found


def _differ(applied: Config, wanted: Config, records: Records) -> bool:
    # An older version is a finding of netboot.check, and has other keys.
    # What waits for its wave is on record as it is; a damaged record is a finding of its own.
    with contextlib.suppress(CommandExecutionError):
        wanted = netboot_held.held(records, wanted)
    # Records are JSON, which has no tuples.
    same = applied == json.loads(json.dumps(netboot_held.recorded(wanted)))
    return applied["version"] == wanted["version"] and not same
