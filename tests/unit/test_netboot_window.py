"""Windows: tables of days and times."""

import time

import pytest

import netboot_window as window
from tests.unit.test_netboot_pillar import resolve

NIGHT = {"from": "22:00", "to": "06:00"}


def at(day, clock):
    """A time in the week of Monday, 2026-11-23, on this machine."""
    hours, minutes = map(int, clock.split(":"))
    return time.mktime((2026, 11, 23 + day, hours, minutes, 0, 0, 0, -1))


@pytest.mark.parametrize(
    ("pillar", "day", "clock", "closed"),
    [
        ({}, 0, "12:00", False),
        (NIGHT, 0, "12:00", True),
        (NIGHT, 0, "21:59", True),
        (NIGHT, 0, "22:00", False),
        (NIGHT, 6, "05:59", False),
        (NIGHT, 6, "06:00", True),
        ({**NIGHT, "from": 1320}, 0, "22:00", False),  # as YAML reads 22:00
        ({**NIGHT, "days": "sat"}, 5, "23:00", False),
        ({**NIGHT, "days": "sat"}, 6, "05:00", False),  # it began on Saturday
        ({**NIGHT, "days": "sat"}, 5, "05:00", True),
        ({**NIGHT, "days": "fri-mon"}, 1, "05:00", False),
        ({**NIGHT, "days": "fri-mon"}, 1, "23:00", True),
        ({**NIGHT, "days": ["sun", "tue"]}, 1, "23:00", False),
        ({"from": "9:00", "to": "17:00", "days": "mon-fri"}, 4, "16:59", False),
        ({"from": "9:00", "to": "17:00", "days": "mon-fri"}, 5, "12:00", True),
        ({"from": "9:00", "to": "9:00", "days": ["wed"]}, 3, "08:59", False),
    ],
)
def test_closed(pillar, day, clock, closed):
    assert window.is_closed(window.resolved(pillar), at(day, clock)) is closed


@pytest.mark.parametrize(
    ("schedule", "given", "missed"),
    [
        ({}, NIGHT, False),
        ({"hours": 7, "splay_s": 600}, NIGHT, False),
        ({"hours": 8, "splay_s": 600}, NIGHT, True),
        ({"hours": 24, "splay_s": 0}, NIGHT, True),
        ({"hours": 24, "splay_s": 0}, {}, False),
        ({"minutes": 30, "splay_s": 0}, {"from": "22:00", "to": "22:20"}, True),
        ({"hours": 1, "splay_s": 0}, {"from": "0:00", "to": "0:00"}, False),
    ],
)
def test_schedule_that_misses_it(schedule, given, missed):
    assert window.missed(window.resolved(given), schedule) is missed


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"from": "22:00"}, "netboot:window:to: is missing"),
        ({"to": "22:00"}, "netboot:window:from: is missing"),
        ({"days": "sat"}, "netboot:window:from: is missing"),
        ({**NIGHT, "days": "sat-xyz"}, "netboot:window:days: must be a list of days or a range"),
        ({**NIGHT, "days": ["Sat"]}, "netboot:window:days: 'Sat' is not one of mon"),
        ({"from": "24:00", "to": 1}, "netboot:window:from: must be a time of day"),
        ({"from": True, "to": 1}, "netboot:window:from: must be a time of day"),
    ],
)
def test_mistakes(given, problem):
    (found,) = resolve({"window": given})["problems"]
    assert found.startswith(problem)


def test_warning_and_text():
    found = resolve({"window": {**NIGHT, "days": "mon-fri"}, "schedule": {"hours": 24}})
    (warning,) = [one for one in found["warnings"] if one.startswith("netboot:schedule:")]
    assert "may never run in netboot:window (mon-fri 22:00-06:00)" in warning
    given = resolve({"window": {"open": True}})
    assert given["problems"] == []
    assert window.awaited(given["config"]) == ""
