"""Follow hosts that are installed unattended until each is installed, has failed or is silent."""

import shutil
import sys
import time

from . import views

_EVERY_S = 5
# What an install ends with; a minion reports one step more than others.
_OVER = ("installed", "failed", "silent")
# In this order, where the terminal has lines for the last of them alone.
_LAST = ("installed", "not armed", "armed", "booting", "installing", "silent", "failed")


def follow(asker, group):
    """
    Print the table again and again, and a summary at the end. Return whether all are installed.

    asker
        Whom to ask.

    group
        The group to follow; None: all hosts.
    """
    before = []
    try:
        while True:
            hosts = _installs(asker.ask("netboot.hosts"), group)
            lines = _fitting(hosts) if hosts else []
            if lines != before:
                _draw(lines, len(before))
            before = lines
            if all(one["state"] in _OVER for one in hosts):
                break
            time.sleep(_EVERY_S)
    except KeyboardInterrupt:
        print()
    print("\n".join(summary(hosts)))
    return all(one["state"] == "installed" for one in hosts)


def _installs(answers, group):
    """The hosts that are or were armed to be installed, of all servers."""
    return [
        one
        for hosts in answers.values()
        for one in hosts
        if one["state"] and group in (None, one["group"])
    ]


def _fitting(hosts):
    """What fits on the terminal, as more could not be drawn over: the hosts where most happens."""
    lines = views.hosts(hosts)
    rows = shutil.get_terminal_size((120, 24)).lines - 2
    if not sys.stdout.isatty() or len(lines) <= rows:
        return lines
    lines = views.hosts(sorted(hosts, key=lambda one: _LAST.index(one["state"])))
    left_out = len(lines) - rows + 1
    told = f"... {left_out} more ({summary(hosts)[0].rstrip('.')}): ./netboot hosts"
    return [lines[0], told, *lines[left_out + 1 :]]


def _draw(lines, over):
    """Over the lines from before on a terminal, else below them."""
    if sys.stdout.isatty() and over:
        print(f"\x1b[{over}A\x1b[J", end="")
    print("\n".join(lines), flush=True)


def summary(hosts):
    """How many are in which state; the table says who needs somebody."""
    if not hosts:
        return ["No host is armed to be installed; ./netboot arm HOST or --group NAME does that."]
    counts = {}
    for one in hosts:
        counts[one["state"]] = counts.get(one["state"], 0) + 1
    return [", ".join(f"{counts[state]} {state}" for state in counts) + "."]
