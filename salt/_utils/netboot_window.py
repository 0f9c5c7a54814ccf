"""
Maintenance windows: when an apply may do what interrupts clients. Pure.
"""

from __future__ import annotations

import re
import time
from typing import Any

from netboot_names import nearest
from netboot_patterns import Wrong, duplicate, like, refused

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_RANGE = re.compile(rf"({'|'.join(DAYS)})-({'|'.join(DAYS)})")
_TIME = re.compile(r"([01]?[0-9]|2[0-3]):([0-5][0-9])")
_DAY = 24 * 60
Window = dict[str, Any]


@like(
    anyOf=[
        {"type": "string", "pattern": f"^({_RANGE.pattern}|{'|'.join(DAYS)})$"},
        {"type": "array", "items": {"enum": list(DAYS)}, "minItems": 1, "uniqueItems": True},
    ]
)
def days(value: Any) -> Wrong:
    """Check the days of a window."""
    if isinstance(value, str) and (value in DAYS or _RANGE.fullmatch(value)):
        return None
    if not isinstance(value, list) or not value:
        return refused(value, "must be a list of days or a range, such as [sat, sun] or mon-fri")
    for one in value:
        if one not in DAYS:
            return f"{one!r} is not one of {', '.join(DAYS)}" + nearest(one, DAYS)
    return duplicate(value)


@like(
    anyOf=[
        {"type": "string", "pattern": f"^{_TIME.pattern}$"},
        {"type": "integer", "minimum": 0, "maximum": _DAY - 1},
    ]
)
def clock(value: Any) -> Wrong:
    """Check a time of day; YAML reads 22:00 without quotes as minutes, 1320."""
    if isinstance(value, str) and _TIME.fullmatch(value):
        return None
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _DAY:
        return None
    return refused(value, "must be a time of day, such as '22:00'")


def resolved(window: Window) -> Window:
    """
    Return a window as the configuration has it, empty if the pillar has none.

    window
        ``netboot:window``, without mistakes.

    Returns a map: ``days`` (numbers, Monday is 0), ``from`` and ``to`` (minutes since midnight),
    and ``text``, as messages name it.
    """
    if "from" not in window:
        return {}
    first, last = _minutes(window["from"]), _minutes(window["to"])
    named = _numbers(window.get("days", f"{DAYS[0]}-{DAYS[-1]}"))
    text = f"{_shown(first)}-{_shown(last)}"
    if len(named) < len(DAYS):
        given = window["days"]
        text = f"{given if isinstance(given, str) else ', '.join(given)} {text}"
    return {"days": named, "from": first, "to": last, "text": text}


def is_closed(window: Window, now: float | None = None) -> bool:
    """
    Return whether what interrupts clients has to wait.

    window
        What ``resolved`` returned; empty: nothing ever waits.

    now : None
        Seconds since 1970. Default: now.
    """
    if not window:
        return False
    at = time.localtime(now)
    minute, day = at.tm_hour * 60 + at.tm_min, at.tm_wday
    first, last, named = window["from"], window["to"], window["days"]
    if first < last:
        return not (day in named and first <= minute < last)
    # It ends on the next day.
    before = (day - 1) % len(DAYS)
    return not ((day in named and minute >= first) or (before in named and minute < last))


def awaited(config: Any) -> str:
    """
    Return what an apply waits for with what interrupts clients, or an empty string.

    config
        The configuration of the apply, or on record.
    """
    window = config.get("window") or {}
    if config.get("given", {}).get("open") or not is_closed(window):
        return ""
    return f"the window ({window['text']})"


def missed(window: Window, schedule: Any) -> bool:
    """
    Return whether a schedule may never run in a window.

    window
        What ``resolved`` returned.

    schedule
        ``netboot:schedule`` of the configuration.
    """
    if not window or not schedule:
        return False
    length = (window["to"] - window["from"]) % _DAY or _DAY
    every = schedule.get("hours", 0) * 60 + schedule.get("minutes", 0)
    late = -(-schedule.get("splay_s", 0) // 60)
    whole_week = length == _DAY and len(window["days"]) == len(DAYS)
    return not whole_week and bool(every + late > length)


def _minutes(value: Any) -> int:
    found = _TIME.fullmatch(str(value))
    return int(found[1]) * 60 + int(found[2]) if found else int(value)


def _shown(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"


def _numbers(given: Any) -> list[int]:
    found = _RANGE.fullmatch(given) if isinstance(given, str) else None
    if found:
        first, last = DAYS.index(found[1]), DAYS.index(found[2])
        return sorted((first + number) % 7 for number in range((last - first) % 7 + 1))
    return sorted(DAYS.index(one) for one in ([given] if isinstance(given, str) else given))
