"""
Metrics for Prometheus, in its text format: what ``netboot_live`` found, and what firmware asked
dnsmasq for. Pure.

The log that they come from is cut, so a counter would go back: numbers of boots are gauges over the
last 24 hours. The values of all labels are bounded in number, whatever clients send.
"""

from __future__ import annotations

import calendar
import re
import statistics
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from netboot_causes import CAUSES, STATES
from netboot_journal import Journal
from netboot_live import Live, Seen

DAY_S = 86400
# Of names from the pillar: entries, images, services.
_MOST = 200
_PLATFORMS = {"efi": "efi", "pcbios": "bios", "bios": "bios"}
_STEPS = ("script", "menu", "chosen", "host", "kernel", "initrd", "boot", "local", "failed")
# A file of that size is a stage or an ISO, not a kernel.
_LARGE = 64 << 20
_IMAGE_STATES = ("ready", "fetching", "missing", "left over")
_SEVERITIES = ("error", "warning", "info")


def text(live: Live, now: float) -> str:
    """
    Return the text of the file.

    live
        What ``netboot_live.look`` returned.

    now
        Seconds since 1970.
    """
    status = live.status
    boots = [one for one in live.boots if one.boot.started > now - DAY_S]
    made = _Metrics()
    made.add(
        "info", "The version of netboot-alt that was applied.", {(status["version"],): 1}, "version"
    )
    made.add(
        "boots_last_24h",
        "Boots that began in the last 24 hours. A gauge: the log that it is counted from is cut.",
        Counter(_boot(one, status) for one in boots),
        *("firmware", "entry", "result"),
    )
    made.add(
        "stopped_last_24h",
        "Boots that began in the last 24 hours and stopped, by cause, see docs/troubleshooting.md."
        " Of another DHCP or PXE server: offer-not-taken and file-not-asked.",
        Counter((one.how.cause,) for one in boots if one.how.cause in CAUSES),
        "cause",
    )
    made.add(
        "step_seconds_last_24h",
        "Seconds from a step of a boot to the next one, over the boots of the last 24 hours; stage:"
        " how long its download took.",
        _steps(boots),
        *("step", "statistic"),
    )
    made.add(
        "sent_bytes_last_24h",
        "Bytes of kernels, stages and ISOs that were sent to clients in the boots of the last 24"
        " hours.",
        {(): sum(one.boot.bytes for one in boots)},
    )
    states = status["clients"]["states"]
    made.add(
        "clients",
        "Clients that were seen in the last 7 days, by what their last boot came to.",
        {(state,): states.get(state, 0) for state in STATES},
        "state",
    )
    made.add(
        "offers_last_24h",
        "Boot files that dnsmasq offered to firmware in the last 24 hours, by kind of firmware.",
        _offers(live.asked, live.snapshot["boot_files"], now),
        "firmware",
    )
    # Of a server that never asked, nothing is known.
    if others := live.snapshot.get("others"):
        made.add(
            "other_servers",
            "Other DHCP and PXE servers that offered boots when netboot.bootable or netboot.check"
            " probe=True asked last.",
            {(): len(others["servers"])},
        )
        made.add(
            "other_servers_age_seconds",
            "Seconds since that was asked.",
            {(): now - others["at"]},
        )
    counted = Counter(image["state"] for image in status["images"])
    made.add(
        "images",
        "Images by state: ready to boot, being fetched, missing, or no longer in the pillar.",
        {(state,): counted[state] for state in _IMAGE_STATES},
        "state",
    )
    made.add(
        "image_verified_age_seconds",
        "Seconds since the ISO of an image was verified.",
        {
            (image["name"],): now - _seconds(image["verified"])
            for image in status["images"][:_MOST]
            if image["verified"]
        },
        "image",
    )
    made.add(
        "hosts",
        "Hosts of the pillar; those with once: true that are new, armed, or have booted since.",
        {(state,): number for state, number in status["hosts"].items()},
        "state",
    )
    made.add(
        "service_up",
        "Whether a service of this server runs.",
        {(one["name"],): one["state"] == "active" for one in status["services"][:_MOST]},
        "service",
    )
    severities = Counter(one["severity"] for one in status["findings"]["list"])
    made.add(
        "findings",
        "What netboot.check found at the end of the last apply, by severity.",
        {(one,): severities[one] for one in _SEVERITIES},
        "severity",
    )
    made.add(
        "last_apply_failed_states",
        "States that failed in the last apply that changed something.",
        {(): len(status["applied"]["failed"])},
    )
    made.add(
        "last_apply_timestamp_seconds",
        "When the states were applied last.",
        {(): _seconds(status["applied"]["at"])},
    )
    made.add("timestamp_seconds", "When this file was written.", {(): int(now)})
    return made.text()


def _boot(one: Seen, status: dict[str, Any]) -> tuple[str, str, str]:
    known = {entry["id"] for entry in status["entries"][:_MOST]} | {"local"}
    entry = "local" if one.how.state == "local disk" else one.boot.entry
    firmware = _PLATFORMS.get(one.boot.facts.get("firmware", ""), "other")
    return firmware, entry if entry in known else "other" if entry else "none", one.how.state


def _steps(boots: Iterable[Seen]) -> dict[tuple[str, str], float]:
    took: dict[str, list[float]] = {}
    for one in boots:
        steps = [step for step in one.boot.steps if step.kind in _STEPS]
        for step, after in zip(steps, steps[1:]):
            took.setdefault(step.kind, []).append(max(0, after.at - step.at))
        for fetch in one.boot.fetches:
            if fetch.whole and fetch.method == "GET" and fetch.sent > _LARGE:
                took.setdefault("stage", []).append(fetch.seconds)
    found = {}
    for kind, seconds in took.items():
        found[kind, "median"] = round(statistics.median(seconds), 3)
        found[kind, "max"] = round(max(seconds), 3)
    return found


def _offers(asked: Journal, files: Mapping[str, str], now: float) -> dict[tuple[str], int]:
    """Return the numbers by kind of firmware, as the names of their boot loaders show it."""
    kinds = (
        files.get(one.file.rpartition("/")[2], "other")
        for questions in asked.dhcp.values()
        for one in questions
        if one.file and one.at > now - DAY_S
    )
    counted = Counter(kinds)
    return {(kind,): counted[kind] for kind in sorted({*files.values(), *counted})}


def _seconds(at: str) -> int:
    return calendar.timegm(time.strptime(at, "%Y-%m-%dT%H:%M:%SZ"))


class _Metrics:
    """The text, metric by metric."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def add(self, name: str, help_: str, values: Mapping[Any, float], *labels: str) -> None:
        """Add a gauge: its values by those of its labels."""
        name = f"netboot_{name}"
        self._lines += [f"# HELP {name} {help_}", f"# TYPE {name} gauge"]
        for key, value in values.items():
            pairs = ",".join(f'{label}="{_escaped(one)}"' for label, one in zip(labels, key))
            self._lines.append(
                f"{name}{{{pairs}}} {value:.12g}" if pairs else f"{name} {value:.12g}"
            )

    def text(self) -> str:
        return "".join(f"{line}\n" for line in self._lines)


def _escaped(value: str) -> str:
    return re.sub(r'["\\]', r"\\\g<0>", value.encode("utf-8", "replace").decode()).replace(
        "\n", "\\n"
    )
