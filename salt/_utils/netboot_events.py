"""
What clients do, as a queue of events: ``netboot-status`` adds to it, a minion sends it to a master.

The queue is one file, which is replaced at once, so that no step is in it twice. Each event has a
number; the minion keeps the last one that it sent. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from netboot_host_checks import colons
from netboot_live import Seen, cleaned
from netboot_names import iso8601

#: Of events that were not sent yet the newest so many are kept.
MOST = 500
#: Lines of the log that are younger may come in another order.
_SETTLED_S = 5
# What ended longer ago is no news, though it may look different now, as when its entry went.
_LATE_S = 7200
# Steps; what comes to an end is an event by the state that it came to.
_STEPS = ("script", "menu", "chosen", "host", "kernel", "initrd", "boot")
_ENDS = ("running", "local disk", "failed", "gone silent")


def added(queue: dict[str, Any], boots: Iterable[Seen], now: float) -> dict[str, Any]:
    """
    Return the queue with what clients did since it was made.

    queue
        What this returned last; an empty one begins now: what was before is no news.

    boots
        The boots, the oldest first.

    now
        Seconds since 1970.
    """
    until = now - _SETTLED_S
    since = queue.get("until", until)
    before: dict[str, str] = queue.get("states", {})
    states: dict[str, str] = {}
    found: list[tuple[float, dict[str, Any]]] = []
    for one in boots:
        boot = one.boot
        if not boot.mac:
            continue
        for step in boot.steps:
            if step.kind in _STEPS and since < step.at <= until:
                found.append((step.at, _event(one, step.kind, step.at)))
        key, state = f"{boot.mac}@{boot.started}", one.how.state
        states[key] = state
        changed = before.get(key, state) != state and boot.last > since - _LATE_S
        new = changed or (key not in before and boot.last > since)
        if state in _ENDS and new:
            found.append((boot.last, _event(one, state, boot.last)))
    number = queue.get("number", 0)
    events = list(queue.get("events", ()))
    for _at, event in sorted(found, key=lambda item: item[0]):
        number += 1
        events.append({"number": number, **event})
    series = queue.get("series") or int(now)
    return {
        "series": series,
        "until": until,
        "number": number,
        "events": events[-MOST:],
        "states": states,
    }


def due(queue: dict[str, Any], sent: dict[str, Any]) -> tuple[list[dict[str, Any]], int]:
    """
    Return the events that were not sent yet, and how many were dropped since, as there were too
    many.

    queue
        The queue.

    sent
        ``series`` and ``number`` of the last event that was sent; an empty map if none was.
    """
    number = sent["number"] if sent.get("series") == queue["series"] else 0
    events = [event for event in queue["events"] if event["number"] > number]
    first = events[0]["number"] if events else queue["number"] + 1
    return events, first - number - 1


def tag(event: dict[str, Any]) -> str:
    """
    Return the tag of an event.

    event
        The event.
    """
    return f"netboot/client/{event['mac']}/{event['step'].replace(' ', '-')}"


def _event(one: Seen, step: str, at: float) -> dict[str, Any]:
    boot, host, how = one
    ended = step in _ENDS
    event = {
        "mac": colons(boot.mac),
        "host": host,
        "address": boot.address,
        "step": step,
        "at": iso8601(at),
        "entry": boot.entry,
        "model": boot.facts.get("model", ""),
        "firmware": boot.facts.get("firmware", ""),
        "cause": how.cause if ended else "",
        "text": how.text if ended else "",
        "advice": how.advice if ended else "",
    }
    return cleaned(event)  # type: ignore[no-any-return]
