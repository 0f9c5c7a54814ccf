"""
The waves of a roll, and how it is told: what ``netboot_waves`` does without a master. Not a runner.
"""

import re
import time

from salt.exceptions import CommandExecutionError

_LINES, _WIDE = 20, 120
_WAITS = re.compile("waits for (the window|another wave)")


def __virtual__():
    return False, "netboot_waves imports it"


def percents_of(waves):
    waves = waves if isinstance(waves, (list, tuple)) else str(waves).split(",")
    try:
        numbers = [float(one) for one in waves]
    except ValueError:
        numbers = [0]
    if not all(0 < one <= 100 for one in numbers):
        raise CommandExecutionError("waves must be per cents of the sites, such as [1, 5, 20].")
    return numbers


def waves(found, percents, first):
    """
    Return the waves, each with ``name`` and ``sites``: the ids of servers, by site.

    found
        ``site`` and ``mirror`` by id of a server.

    percents
        Of the sites in each wave; the rest is the last.

    first
        Sites that come first.
    """
    mirrors = sorted((id_ for id_, one in found.items() if one["mirror"]), key=natural)
    sites = {}
    for id_ in sorted(found, key=natural):
        if id_ not in mirrors:
            sites.setdefault(found[id_]["site"], []).append(id_)
    order = [site for site in first if site in sites]
    order += sorted((site for site in sites if site not in order), key=natural)
    waves = [{"name": "mirrors", "sites": {id_: [id_] for id_ in mirrors}}] if mirrors else []
    left = order
    for percent in percents:
        size = max(1, round(len(order) * percent / 100))
        now, left = left[:size], left[size:]
        if now:
            waves.append({"name": f"{percent:g} %", "sites": {site: sites[site] for site in now}})
    if left:
        waves.append({"name": "the rest", "sites": {site: sites[site] for site in left}})
    return waves


def chosen(sites, servers):
    """
    Return by site and server which other minion looks at it.

    sites
        Ids of minions that answer, by site.

    servers
        The servers of the roll, by id.
    """
    chosen = {}
    for id_, server in servers.items():
        others = [one for one in sites.get(server["site"], ()) if one != id_]
        others.sort(key=lambda one: (one in servers, natural(one)))
        if others:
            chosen.setdefault(server["site"], {})[id_] = others[0]
    return chosen


def why_not_applied(said):
    """Return why an apply was not good, in a line; or an empty string."""
    if isinstance(said, list):
        return first_line(said[0]) if said else "returned nothing"
    if not isinstance(said, dict) or not said:
        return first_line(said or "") or "returned nothing"
    ended = [one for one in said.values() if isinstance(one, dict)]
    ended.sort(key=lambda one: one.get("__run_num__", 0))
    for one in ended:
        comment = str(one.get("comment", ""))
        if one.get("result") is False and "requisite failed" not in comment:
            return first_line(f"{one.get('__id__', '')}: {comment}")
    for one in ended:
        comment = str(one.get("comment", ""))
        waits = _WAITS.search(comment)
        if one.get("result") is False or waits:
            return first_line(comment[waits.start() if waits else 0 :])
    return ""


def why_not_good(said):
    """Return the first error that a check found, in a line; or an empty string."""
    if not isinstance(said, list):
        return first_line(said) or "the check returned nothing"
    wrong = [one for one in said if isinstance(one, dict) and one.get("severity") == "error"]
    return first_line(wrong[0].get("text", "")) if wrong else ""


def report(told, interrupted):
    """
    Return how a roll is, in at most 20 lines.

    told
        Its state.

    interrupted
        Whether nobody works on it although it says so.
    """
    servers, waves = told["servers"], told["waves"]
    at = time.strftime("%Y-%m-%d %H:%M", time.gmtime(told["at"]))
    state = "interrupted" if interrupted else told["state"]
    in_wave = ""
    if told["wave"] < len(waves):
        name = waves[told["wave"]]["name"]
        in_wave = f" in wave {told['wave'] + 1} of {len(waves)} ({name})"
    lines = [f"Roll of {at} UTC to {told['tgt']}: {state}{in_wave}."]
    shown = waves if len(waves) <= 8 else waves[:7]
    for number, wave in enumerate(shown, 1):
        ids = ids_of(wave)
        counts = [servers[id_]["state"] for id_ in ids]
        listed = ", ".join(f"{counts.count(one)} {one}" for one in dict.fromkeys(sorted(counts)))
        lines.append(
            f"Wave {number} ({wave['name']}): {_counted(len(wave['sites']), 'site')}, "
            f"{_counted(len(ids), 'server')}: {listed}."
        )
    if len(waves) > len(shown):
        lines.append(f"{len(waves) - len(shown)} more waves.")
    by_other = sum(one.get("by", id_) != id_ for id_, one in servers.items())
    by_itself = sum(one.get("by") == id_ for id_, one in servers.items())
    if by_other or by_itself:
        lines.append(
            f"Looked at from another minion of the site: {by_other}; from itself: {by_itself}."
        )
    failing = [
        f"{site}: {id_}: {servers[id_]['why']}"
        for wave in waves
        for site, ids in wave["sites"].items()
        for id_ in ids
        if servers[id_]["why"]
    ]
    room = _LINES - len(lines) - 1
    if len(failing) > room:
        more = len(failing) - room + 1
        failing = [*failing[: room - 1], f"And {more} more servers."]
    lines += [one if len(one) <= _WIDE else f"{one[: _WIDE - 3]}..." for one in failing]
    return [*lines, _next(told, interrupted)]


def _next(told, interrupted):
    undo = "to undo: salt-run netboot_waves.back"
    if told.get("ending") and told["state"] == "stopped":
        return f"Mend what failed, then salt-run netboot_waves.{told['ending']} again."
    if told["state"] == "stopped" or interrupted:
        return f"Mend what failed, then salt-run netboot_waves.resume; {undo}."
    if told["state"] == "done":
        return f"When it has proved good: salt-run netboot_waves.through; {undo}."
    if told["state"] == "back":
        return "Servers keep what they went back to until the next roll."
    return "Nothing is left to do." if told["state"] == "through" else "It goes on."


def line(id_, said):
    """Return how a server is, from its ``netboot.status``, in a line."""
    if not isinstance(said, dict):
        return f"{id_}: {first_line(said) or 'returned nothing'}"
    images, applied = as_map(said.get("images")), as_map(said.get("applied"))
    findings = as_map(said.get("findings"))
    found = ", ".join(f"{number} {one}" for one, number in findings.items()) or "good"
    missing = images.get("missing") or []
    failed = f", {len(applied['failed'])} states failed" if applied.get("failed") else ""
    return (
        f"{id_}: {said.get('version')}, images {len(images.get('ready') or [])} ready"
        f"{f', missing {len(missing)}' if missing else ''}, check: {found}, "
        f"applied {applied.get('at') or 'never'}{failed}"
    )


def ids_of(wave):
    return [id_ for ids in wave["sites"].values() for id_ in ids]


def _counted(number, what):
    return f"{number} {what}{'' if number == 1 else 's'}"


def span(seconds):
    return f"{seconds / 3600:g} hours" if seconds >= 3600 else f"{seconds:g} s"


def first_line(value):
    lines = str(value if value is not None else "").strip().splitlines()
    return lines[0][:_WIDE] if lines else ""


def natural(name):
    """Return a key for sorting: site2 before site10."""
    digits, parts = "", []
    for char in f"{name}\0":
        if char.isdigit():
            digits += char
        else:
            if digits:
                parts.append((0, int(digits), ""))
            digits = ""
            parts.append((1, 0, char))
    return parts


def as_map(value):
    return value if isinstance(value, dict) else {}
