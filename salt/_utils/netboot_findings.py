"""
Findings: what of an applied configuration does not work, or may not.
"""

from __future__ import annotations

from collections.abc import Iterator

from salt.exceptions import CommandExecutionError

import netboot_asked
import netboot_bootable
import netboot_files
import netboot_images
import netboot_menus
import netboot_nginx
import netboot_rules
import netboot_run
import netboot_timer
import netboot_window
from netboot_names import VERSION, iso8601, label
from netboot_records import Records
from netboot_shapes import Entry, Finding

_SPANNING_TREE = (
    "After its kernel has started, altboot asks for an address three times, 5 s apart: set switch "
    "ports of clients with spanning tree to edge (PortFast)."
)
#: Severities, the worst first.
ORDER = ("error", "warning", "info")


def findings(records: Records) -> list[Finding]:
    """
    Return what does not work or may not, the worst first.

    records
        The records of this machine.

    Raises CommandExecutionError when nothing was applied to this machine yet.
    """
    config = records.config()
    if out := records.out_of_service():
        since = iso8601(out)[:16].replace("T", " ")
        text = f"Out of service since {since} UTC: netboot.clean was applied; "
        return [("service.out", "error", f"{text}state.apply netboot puts it back.")]
    entries, problems, doubts = netboot_images.offered(records)
    found: list[Finding] = [("menu.missing", "error", problem) for problem in problems]
    found += (
        ("menu.default", "error", unmet) for unmet in netboot_menus.unmet_defaults(config, entries)
    )
    found += (("menu.first_stage", "warning", doubt) for doubt in doubts)
    if config["version"] != VERSION:
        applied = config["version"] or "before 0.1.0"
        text = f"Version {applied} was applied; {VERSION} is here: apply it."
        found.append(("version.old", "warning", text))
    for image in records.ready():
        found += (
            ("image.contradiction", "warning", said) for said in image.get("contradictions", [])
        )
    run = records.run()
    found += (
        ("apply.failed", "error", f"The last apply failed: {why}")
        for why in (run["failed"].values() if run else ())
    )
    found += _scheduled(records)
    # An image whose fetching failed is named by that already.
    told = " ".join(run["failed"]) if run else ""
    found += (
        ("image.missing", "error", f"The image {name} is not ready to boot.")
        for name in netboot_images.missing(records)
        if f"netboot-image-{label(name)}-" not in told
    )
    found += _services(records)
    found += _waiting(records)
    found += _web_server(records)
    found += (
        ("firewall.closed", "warning", f"A firewall may keep clients out; add: {rule}")
        for rule in netboot_rules.missing(config)
    )
    found += netboot_bootable.findings(netboot_bootable.on_record(records))
    found += _network(entries)
    return sorted(found, key=lambda one: ORDER.index(one[1]))


def _scheduled(records: Records) -> Iterator[Finding]:
    run = netboot_timer.last_run() if records.config()["schedule"] else {"failed": False}
    if run["failed"]:
        text = f"The scheduled apply of {run['last']} failed; see journalctl -u netboot-apply, "
        text += "mend it, and run systemctl start netboot-apply."
        yield ("schedule.failed", "error", text)


def _services(records: Records) -> Iterator[Finding]:
    for name in records.names("services"):
        state = netboot_run.tried("systemctl", "is-active", name).stdout.strip()
        if state in ("inactive", "failed"):
            yield dead(name, state)


def _waiting(records: Records) -> Iterator[Finding]:
    config = records.config()
    labels = {image["label"]: image["name"] for image in config["images"]}
    for name, waits in records.owned("waiting", {}).items():
        if name in labels:
            text = f"netboot:images:{labels[name]}: another revision waits for {waits}."
            yield ("image.waits", "info", text)
    window = netboot_window.awaited(config)
    for name in records.names("services") if window else ():
        files = (records.read("services", name) or {}).get("files", {})
        if any(netboot_files.read(path) != content for path, content in files.items()):
            yield ("service.waits", "info", f"{name}: its new configuration waits for {window}.")


def dead(name: str, state: str) -> Finding:
    """
    Return the finding of a service that does not run.

    name, state
        Its unit; what systemd calls its state.
    """
    name = name[: -len(".service")] if name.endswith(".service") else name
    advice = f"journalctl -u {name} says why; systemctl restart {name}"
    return ("service.dead", "error", f"{name} does not run ({state}): {advice}.")


def _web_server(records: Records) -> Iterator[Finding]:
    config = records.config()
    if not netboot_run.has("nginx"):
        yield ("nginx.missing", "error", "nginx is not installed; apply the state netboot.http.")
        return
    try:
        others, _gone = netboot_nginx.beside(config)
    except CommandExecutionError as err:
        yield ("nginx.rejected", "error", str(err))
    else:
        yield from netboot_nginx.findings(others, config)
    yield from netboot_asked.findings(records)


def _network(entries: list[Entry]) -> Iterator[Finding]:
    if any(entry["nic"] for entry in entries):
        yield ("network.spanning_tree", "info", _SPANNING_TREE)
