"""
The timer that applies these states where no minion does: what it runs, when, and how it went.
"""

from __future__ import annotations

import datetime
import os
import re
import sys
import time
from collections.abc import Mapping
from typing import Any

from salt.utils.path import which

import netboot_run
from netboot_names import iso8601
from netboot_records import Records

#: Name of the units, without ``.service`` and ``.timer``.
NAME = "netboot-apply"
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# systemd.time(7), as systemctl shows time spans.
_SECONDS = {
    **{"y": 31557600, "month": 2629800, "w": 604800, "d": 86400, "h": 3600, "min": 60, "s": 1},
    **{"ms": 1e-3, "us": 1e-6},
}
# It waits while somebody applies by hand. Not True: that leaves the apply to a minion's daemon,
# which is not there, and reports success (_check_queue in Salt 3008.3, 3007.15 and 3006.28).
_QUEUE = "queue=9"


def command(opts: Mapping[str, Any]) -> dict[str, str]:
    """
    Return what applies these states again on this machine as it applies them now, for a unit.

    opts
        ``__opts__`` of the Salt that runs.

    Returns a map: ``words`` (for ``ExecStart=``), ``directory`` (for ``WorkingDirectory=``) and
    ``path`` (for ``PATH``).
    """
    config_dir = os.path.abspath(opts.get("config_dir") or os.path.dirname(opts["conf_file"]))
    checkout = os.path.dirname(os.path.realpath(config_dir))
    launcher = os.path.join(checkout, "netboot")
    roots = [root for roots in opts["file_roots"].values() for root in roots]
    salt_call = _salt_call()
    beside = os.path.dirname(salt_call)
    if (
        os.path.basename(config_dir) == "conf"
        and os.access(launcher, os.X_OK)
        and f"{checkout}/salt" in map(os.path.realpath, roots)
    ):
        # It checks the pillar's YAML, and makes .venv again after an update.
        words, directory = [launcher, "apply", "--yes", _QUEUE], checkout
    else:
        words = [sys.executable, salt_call, "--local", f"--config-dir={config_dir}"]
        # Only a highstate syncs the modules of these states by itself.
        words += ["--state-verbose=False", "state.apply", "netboot", "sync_mods=all", _QUEUE]
        # Relative paths in the configuration.
        directory = "/" if all(map(os.path.isabs, roots)) else os.getcwd()
    own = beside.startswith(checkout + "/") or beside in _PATH.split(":")
    return {
        # Of the program's own path systemd replaces no variables.
        "words": " ".join(
            [_quoted(words[0]), *(_quoted(one).replace("$", "$$") for one in words[1:])]
        ),
        "directory": directory.replace("%", "%%"),
        "path": _quoted("PATH=" + (_PATH if own else f"{beside}:{_PATH}")),
    }


def _salt_call() -> str:
    """The path of the ``salt-call`` that runs, or that belongs to the daemon that runs."""
    program = os.path.join(os.path.dirname(os.path.abspath(sys.argv[0])), "salt-call")
    return program if os.path.exists(program) else which("salt-call") or "/usr/bin/salt-call"


def _quoted(word: str) -> str:
    """A word as systemd reads it back unchanged, see systemd.service(5)."""
    word = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{word}"' if re.search(r"[\s\"'\\;]", word) else word


def schedule(records: Records, jobs: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """
    Return by what these states are applied regularly, see ``netboot.status``.

    records
        The records of this machine.

    jobs
        The schedule of the minion that runs, by the names of jobs.
    """
    wanted = records.config()["schedule"]
    interval = {unit: wanted[unit] for unit in ("hours", "minutes") if unit in wanted}
    if interval and records.read("services", f"{NAME}.timer"):
        return {"by": "timer", "interval": interval, **_timer(), **last_run()}
    if interval and "netboot" in (jobs or {}):
        # Of its runs a minion tells nothing; netboot.status has the last apply.
        none = {"next": None, "last": None, "failed": False}
        return {"by": "minion", "interval": interval, **none}
    return None


def last_run() -> dict[str, Any]:
    """
    Return how the service's last run since the machine started went.

    Returns a map: ``last`` (when it began, as ISO 8601 in UTC, or None), ``failed``.
    """
    shown = _shown(f"{NAME}.service", "InactiveExitTimestamp", "ActiveState")
    return {
        "last": _point(shown.get("InactiveExitTimestamp", "")),
        "failed": shown.get("ActiveState") == "failed",
    }


def _timer() -> dict[str, Any]:
    shown = _shown(f"{NAME}.timer", "NextElapseUSecMonotonic", "ActiveState")
    left = _span(shown.get("NextElapseUSecMonotonic", ""))
    if left is None or shown.get("ActiveState") != "active":
        return {"next": None}
    return {"next": iso8601(time.time() + left - time.clock_gettime(time.CLOCK_MONOTONIC))}


def _shown(unit: str, *properties: str) -> dict[str, str]:
    """Properties of a unit; none where systemd does not run."""
    if not netboot_run.has("systemctl"):
        return {}
    wanted = [f"--property={name}" for name in properties]
    shown = netboot_run.tried("systemctl", "show", *wanted, unit, TZ="UTC")
    return dict(line.split("=", 1) for line in shown.stdout.splitlines() if "=" in line)


def _point(text: str) -> str | None:
    """A time as systemctl shows it in the zone UTC: Thu 2026-11-26 03:04:01 UTC."""
    try:
        # Without the day of the week, which strptime would read in the language of the locale.
        there = datetime.datetime.strptime(text.partition(" ")[2], "%Y-%m-%d %H:%M:%S UTC")
    except ValueError:
        return None  # it never was
    return f"{there:%Y-%m-%dT%H:%M:%SZ}"


def _span(text: str) -> float | None:
    """Seconds of a time span as systemctl shows it: 1d 2h 3min 4.5s."""
    parts = re.findall(r"([\d.]+)(y|month|w|d|h|min|s|ms|us)(?:\s|$)", text)
    return sum(float(number) * _SECONDS[unit] for number, unit in parts) if parts else None
