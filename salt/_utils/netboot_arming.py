"""
Hosts that boot an entry once: which are armed, which have booted.

Salt keeps the record ``owned/once``: what each host is armed for. The program ``netboot-once``,
which sees in the web server's log that a host has booted, keeps ``once/HOST``: the arming of that
boot; Salt copies it when a host is renamed. So neither undoes what the other wrote. While a host is
armed, it has a script that only nginx serves; without the script it boots from its own disk.

A host that is new to a server is not armed: it may have been installed by another one. Its arming
then has the time 0, and a boot on record to match, so that earlier versions take it for installed.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import time
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from salt.exceptions import CommandExecutionError, SaltInvocationError

import netboot_files
import netboot_grub
import netboot_installing
import netboot_machine
from netboot_answering import Answers, installs_of, remove_answers
from netboot_host_checks import typed
from netboot_host_scripts import armed_script
from netboot_minion_keys import finger
from netboot_names import in_order, iso8601, matching, nearest, some
from netboot_records import Records
from netboot_shapes import Arming, Boot, Config, OnceHost

# Nobody guesses it (RFC 4086 asks for 49 bits against guesses over a network).
_TOKEN_BYTES = 16

Armings = dict[str, Arming]
Boots = dict[str, "Boot | None"]


@contextlib.contextmanager
def _locked(records: Records) -> Iterator[None]:
    """Lock records and scripts against netboot-once."""
    directory = records.directory_of("once")
    os.makedirs(directory, mode=0o700, exist_ok=True)
    with open(os.path.join(directory, "lock"), "w", encoding="ascii") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _is_booted(arming: Arming, boot: Boot | None) -> bool:
    return boot is not None and boot["arming"] == arming["arming"]


def _new_arming(host: Any) -> Arming:
    arming: Any = {
        **host,
        "arming": secrets.token_hex(_TOKEN_BYTES),
        "armed_at": int(time.time()),
        "dropped": False,
    }
    return arming  # type: ignore[no-any-return]


def _never_booted(arming: Arming) -> Boot:
    return {"arming": arming["arming"], "entry": arming["entry"], "booted_at": 0}


class _Folder(NamedTuple):
    """Where scripts of armed hosts lie; ``shown``: what precedes their names in changes."""

    path: str
    ending: str
    staging: str
    shown: str
    scripts: dict[str, str]

    def files(self, keys: Iterable[str]) -> list[str]:
        return [f"{key}{self.ending}" for key in keys]

    def difference(self, keys: Iterable[str]) -> dict[str, str]:
        """Return the changes that it needs, of scripts of these hosts."""
        return netboot_files.difference(self.path, self.scripts, self.files(keys))

    def carry_out(self, changes: dict[str, str]) -> None:
        if changes and self.shown:
            netboot_files.make_directory(self.path)
        netboot_files.carry_out(self.path, self.scripts, changes, self.staging)


def _folders(config: Config, armed: Armings) -> list[_Folder]:
    """Return the folders with the scripts of armed hosts: iPXE's, and those of GRUB."""
    paths, url = config["paths"], config["http"]["url"]
    once = paths["once_scripts"]
    ipxe = {f"{key}.ipxe": armed_script(arming, url) for key, arming in armed.items()}
    folders = [_Folder(once, ".ipxe", once, "", ipxe)]
    if "grub_once" in paths:  # not on record of earlier versions
        grub = {
            f"{key}.cfg": netboot_grub.armed_script(arming)
            for key, arming in armed.items()
            if netboot_grub.arms(config, arming)
        }
        folders.append(_Folder(paths["grub_once"], ".cfg", paths["staging"], "grub/once/", grub))
    return folders


def reconcile(records: Records, hosts: dict[str, OnceHost], test: bool) -> dict[str, str]:
    """
    Put new hosts on record, and leave the others as they are: armed, booted, or new.

    New hosts are armed if the configuration has ``arm_new``, but not by the first apply of a
    server: whatever it is to install may have been installed by another one.

    If the pillar changes the entry, an armed host boots the new entry, but a host that has booted
    is not armed again: a new image for a group must not install all its machines again. Nor must a
    pillar that lost its hosts for a while, so a host's record stays. A host that was armed for
    something else is disarmed when the pillar says that it is to be installed unattended.

    records
        The records of this machine.

    hosts
        All hosts with ``once``, see ``netboot_host_scripts.once``.

    test
        Only return what would change.

    Returns a map of changes: of hosts (by key) ``not armed``, ``armed``, ``disarmed``, ``changed``
    (another entry), ``renamed``, ``dropped`` or ``back``; of scripts (by file name) ``new``,
    ``changed`` or ``removed``.
    """
    if test or not (hosts or records.armings()):
        return _reconcile(records, hosts, test)
    with _locked(records):
        return _reconcile(records, hosts, test)


def _renamed(old: Armings, booted: Boots, hosts: dict[str, OnceHost]) -> dict[str, str]:
    """Move the records of renamed machines to their new names; return these with the old ones."""
    names = {
        told: key for key, arming in old.items() if key not in hosts for told in arming["told_by"]
    }
    renamed: dict[str, str] = {}
    for key, host in hosts.items():
        before = next((names[told] for told in host["told_by"] if told in names), None)
        if before is not None and before in old and key not in old:
            renamed[key] = before
            old[key] = old.pop(before)
            booted[key] = booted.pop(before, None)
    return renamed


def _reconcile(records: Records, hosts: dict[str, OnceHost], test: bool) -> dict[str, str]:
    old, booted = records.armings(), records.boots()
    keys = set(old)
    # A new name must not install a machine again.
    renamed = _renamed(old, booted, hosts)
    config = records.config()
    known = records.read("owned", "once") is not None
    arm_new = config["arm_new"] and config["arms"] and known
    armings, changes = _armings(old, booted, hosts, arm_new)
    never = [key for key, change in changes.items() if change in ("not armed", "disarmed")]
    here = {"identity": netboot_machine.identity(), "network": config["network"]}
    if not config["arms"] or records.owned("machine", here) != here:
        # What another server may have installed meanwhile is not armed when this one arms again;
        # nor what a copy of a machine finds on record, or one that was moved to other clients.
        waiting = [key for key, one in armings.items() if not _is_booted(one, booted.get(key))]
        changes |= dict.fromkeys(set(waiting) - set(never), "disarmed")
        never = waiting
    for key in never:
        armings[key]["armed_at"] = 0
        booted[key] = _never_booted(armings[key])
    changes = {**dict.fromkeys(renamed, "renamed"), **changes}
    armed = {
        key: arming
        for key, arming in armings.items()
        if not arming["dropped"] and not _is_booted(arming, booted.get(key))
    }
    answers = Answers(records)
    ready = {key: arming for key, arming in armed.items() if not answers.why_not(arming)}
    folders = _folders(config, ready)
    wanted = [folder.difference(keys | set(armings)) for folder in folders]
    files = {
        f"{folder.shown}{name}": way
        for folder, changed in zip(folders, wanted)
        for name, way in changed.items()
    }
    if test:
        written = [key for key, arming in armed.items() if answers.write(key, arming, test)]
    else:
        # Afterwards nothing tells that these scripts are owned.
        for folder, changed in zip(folders, wanted):
            gone = set(folder.files(renamed.values())) & set(changed)
            folder.carry_out(dict.fromkeys(gone, "removed"))
            for name in gone:
                del changed[name]
        for key in renamed:
            # Before the arming: without its boot record the host would be armed.
            if booted[key]:
                records.write("once", key, booted[key])
        for key in never:
            records.write("once", key, booted[key])
        # Even if there is no host: from now on a host is new, not the server.
        for key, arming in armed.items():
            if arming.get("install"):
                arming["minion"] = answers.minion(key, arming)
        if records.owned("machine", {}) != here:
            records.write("owned", "machine", here)
        if armings != old or renamed or not known:
            # Before the scripts: after a kill here, the next run must know which scripts it owns.
            records.write("owned", "once", armings)
        # Answers are there before the script, and go after it.
        written = [key for key, arming in armed.items() if answers.write(key, arming)]
        for folder, changed in zip(folders, wanted):
            folder.carry_out(changed)
        if "grub_once" in config["paths"] and not netboot_grub.served(config):
            with contextlib.suppress(OSError):
                os.rmdir(config["paths"]["grub_once"])
        answers.sweep(armed)
        if files:
            netboot_files.sweep_directory(config["paths"]["once_scripts"])
    told = [key for key in written if f"{key}.ipxe" not in files]
    return {**dict.fromkeys(told, "answers changed"), **changes, **files}


def _armings(
    old: Armings, booted: Boots, hosts: dict[str, OnceHost], arm_new: bool
) -> tuple[Armings, dict[str, str]]:
    """Return the new armings and the changes, by host."""
    armings: Armings = {}
    changes: dict[str, str] = {}
    for key, arming in old.items():
        armings[key] = arming.copy()
        armings[key]["dropped"] = True
        if key not in hosts and not arming["dropped"]:
            changes[key] = "dropped"
    for key, host in hosts.items():
        before = old.get(key)
        if not before:
            armings[key] = _new_arming(host)
            changes[key] = "armed" if arm_new else "not armed"
            continue
        same = before["entry"] == host["entry"]
        if same or _is_booted(before, booted.get(key)):
            # The path that shows a boot is only known while the entry exists.
            path = host["path"] or (before["path"] if same else "")
            kept: Any = {**before, **host, "path": path, "dropped": False}
            armings[key] = kept
        else:
            # A boot of the old entry that is in progress must not count for the new entry.
            armings[key] = {**_new_arming(host), "armed_at": before["armed_at"]}
        if _gets_wiped(before, host, booted.get(key)):
            changes[key] = "disarmed"
        elif before["dropped"]:
            changes[key] = "back"
        elif not same:
            changes[key] = "changed"
    return armings, changes


def _gets_wiped(before: Arming, host: OnceHost, boot: Boot | None) -> bool:
    """Return whether somebody armed a host for what wipes nothing, and its disk would be wiped."""
    return bool(host.get("install")) and not before.get("install") and not _is_booted(before, boot)


def moved(records: Records, test: bool) -> list[str]:
    """
    Move the scripts of armed hosts from where earlier versions had them: below the TFTP root.

    records
        The records of this machine.

    test
        Only return what would be moved.

    Returns the old paths.
    """
    paths = records.config()["paths"]
    old, new = paths["once_before"], paths["once_scripts"]
    with contextlib.nullcontext() if test else _locked(records):
        names = [f"{key}.ipxe" for key in records.armings()]
        texts = {name: netboot_files.read(os.path.join(old, name)) for name in names}
        there = {name: text for name, text in texts.items() if text is not None}
        if not test:
            changes = netboot_files.difference(new, there)
            netboot_files.carry_out(new, there, changes, new)
            for name in there:
                os.unlink(os.path.join(old, name))
    if os.path.isdir(old) and not test:
        with contextlib.suppress(OSError):
            os.rmdir(old)  # foreign files keep it
    return [os.path.join(old, name) for name in there]


def arm(
    records: Records, host: object, group: object = None, hours: object = None, test: bool = False
) -> list[dict[str, Any]]:
    """
    Arm hosts again: they boot their entry one more time.

    records
        The records of this machine.

    host
        Name of the host in the pillar, or a pattern such as ``lab*``; or a list of these.

    group : None
        Instead, or of these only those of this group.

    hours : None
        For how long, of hosts that are installed unattended. Default: ``arm_days``.

    test : False
        Only return what would be done.

    Returns these hosts as ``listing`` does, with ``disk``, what is wiped of it, and ``until``.

    Raises SaltInvocationError when no host of that name has ``once: true``, or a group or pattern
    takes in hosts that are being installed, CommandExecutionError when this server cannot arm hosts
    now; then nobody is armed.
    """
    config = records.config()
    directory = config["paths"]["once_scripts"]
    if not config["arms"]:
        there = f"; run this on {config['armed_by']}" if config["armed_by"] else ""
        raise SaltInvocationError(f"This server arms no hosts (netboot:arms){there}.")
    if not os.path.isdir(directory):
        raise CommandExecutionError(f"{directory} does not exist; apply the states first.")
    lasts_s = _hours(hours) * 3600 or config.get("arm_days", 7) * 86400
    with _locked(records):
        armings = records.armings()
        again: Armings = {
            key: _new_arming({**armings[key], "until": int(time.time()) + lasts_s})
            for key in _found(records, armings, host, group)
        }
        before = _refuse_running(records, again, host)
        answers = Answers(records)
        wrong: dict[str, list[str]] = {}
        for arming in again.values():
            if why := answers.why_not(arming):
                of = why.removeprefix(f"netboot:hosts:{arming['host']}:")
                wrong.setdefault(of, []).append(arming["host"])
        if wrong:
            told = [
                f"netboot:hosts:{names[0]}:{why}"
                + (f", and so for {some(names[1:])}" if names[1:] else "")
                for why, names in wrong.items()
            ]
            raise CommandExecutionError(f"Nobody is armed: {'; '.join(told)}.")
        if not test:
            for key, arming in again.items():
                arming["minion"] = answers.minion(key, arming)
            # Answers first: on a full disk nobody is armed, also not by the next apply.
            for key, arming in again.items():
                answers.write(key, arming)
            records.write("owned", "once", {**armings, **again})
            for folder in _folders(config, again):
                folder.carry_out(folder.difference(again))
            remove_answers(records, [armings[key] for key in again])
    return [
        {
            **_shown(arming, None),
            **({"armed": None} if test else {}),
            "disk": config["installs"][arming["install"]]["disk"] if arming.get("install") else "",
            "until": iso8601(arming["until"]) if arming.get("install") else None,
            "installed": before[key],
            "minion": (arming.get("minion") or {}).get("id", ""),
            "finger": finger((arming.get("minion") or {}).get("pub", "")),
        }
        for key, arming in again.items()
    ]


def _refuse_running(records: Records, again: Armings, host: object) -> dict[str, str | None]:
    """
    Return when each host was installed before, or None.

    Raises SaltInvocationError if a group or a pattern takes in hosts that are being installed.
    Armed now, they would be installed a second time: what they report does not count any more.
    """
    installs, named = installs_of(records), host if isinstance(host, list) else [host]
    busy, before = [], {}
    for key, arming in again.items():
        one = installs.read(key)
        state, step, since = netboot_installing.state(None, one, time.time())
        before[key] = iso8601(int(since)) if state == "installed" else None
        if state == "installing" and one and not one["done_at"] and arming["host"] not in named:
            busy.append(f"{arming['host']} ({step})")
    if busy:
        raise SaltInvocationError(
            f"Nobody is armed: {some(busy)} would be installed a second time, as "
            f"{'it is' if len(busy) == 1 else 'they are'} being installed now. Name the others, or "
            "these one by one if that is meant."
        )
    return before


def _hours(hours: object) -> int:
    """Return a number of hours that somebody typed; 0: none."""
    if hours is None:
        return 0
    if isinstance(hours, bool) or not isinstance(hours, int) or not 1 <= hours <= 8760:
        raise SaltInvocationError(f"hours must be from 1 to 8760, not {hours!r}.")
    return hours


def disarm(records: Records, host: object, group: object = None) -> list[dict[str, Any]]:
    """
    Disarm hosts: they boot from their own disks until they are armed again.

    records, host, group
        See ``arm``.

    Answers are removed from the disk, of hosts that are being installed too.

    Returns the hosts that were armed as ``listing`` does.

    Raises SaltInvocationError when no host of that name has ``once: true``.
    """
    with _locked(records):
        armings, booted = records.armings(), records.boots()
        found = _found(records, armings, host, group)
        armed = [key for key in found if not _is_booted(armings[key], booted.get(key))]
        for key in armed:
            records.write("once", key, _never_booted(armings[key]))
            armings[key]["armed_at"] = 0
        if armed:
            records.write("owned", "once", armings)
        for folder in _folders(records.config(), {}):
            folder.carry_out(folder.difference(armed))
        # Of those that are being installed too.
        remove_answers(records, [armings[key] for key in found])
    return [_shown(armings[key], None) for key in armed]


def _found(records: Records, armings: Armings, host: object, group: object) -> list[str]:
    """Return the keys of the hosts that names, patterns and a group mean, in natural order."""
    names = {arming["host"]: key for key, arming in armings.items() if not arming["dropped"]}
    if group is not None:
        groups = {name: one.get("group", "") for name, one in records.hosts().items()}
        names = {name: key for name, key in names.items() if groups.get(name) == typed(group)}
        if not names:
            hint = nearest(typed(group), [one for one in groups.values() if one])
            raise SaltInvocationError(
                f"No host with install or once: true is in a group {typed(group)!r}{hint or '.'}"
            )
    elif host is None:
        raise SaltInvocationError("Name a host or a group: host=pc1, host='lab*', group=room12.")
    keys: list[str] = []
    for one in host if isinstance(host, list) else ["*" if host is None else host]:
        found = matching(names, typed(one))
        if not found:
            hint = nearest(typed(one), list(names))
            if typed(one) in {each.get("group") for each in records.hosts().values()}:
                hint = f"; the group is group={typed(one)}."
            raise SaltInvocationError(
                f"This machine has no host {typed(one)!r} with install or once: true{hint or '.'} "
                "A host that is new in the pillar must be applied first."
            )
        keys += [names[name] for name in found]
    return sorted(dict.fromkeys(keys), key=in_order)


def answers(records: Records, host: object) -> dict[str, str]:
    """
    Return what the installer of a host is answered, see ``netboot.answers``.

    records
        The records of this machine.

    host
        Its name in the pillar.
    """
    armings, made = records.armings(), Answers(records)
    (key,) = _found(records, armings, host, None)[:1]
    if not armings[key].get("install"):
        raise SaltInvocationError(f"netboot:hosts:{armings[key]['host']} has no install.")
    wrong = made.why_not(armings[key])
    if wrong:
        raise CommandExecutionError(f"{wrong}.")
    return made.shown(armings[key])


def unanswered(records: Records) -> list[str]:
    """
    Return why armed hosts do not boot, as they have no answers: a line each.

    records
        The records of this machine.
    """
    answers, booted = Answers(records), records.boots()
    return [
        why
        for key, arming in records.armings().items()
        if not arming["dropped"] and not _is_booted(arming, booted.get(key))
        for why in [answers.why_not(arming)]
        if why
    ]


def uninstallable(records: Records) -> list[str]:
    """
    Return why hosts that are not armed could not be: a line for each reason, with their names.
    Images that are not ready are no reason.

    records
        The records of this machine.
    """
    answers, booted = Answers(records), records.boots()
    hosts: dict[str, list[str]] = {}
    for key, arming in records.armings().items():
        armed = arming["armed_at"] and not _is_booted(arming, booted.get(key))
        if not arming["dropped"] and not armed:
            why = answers.why_not(arming).removeprefix(f"netboot:hosts:{arming['host']}:")
            if why.startswith("install: "):
                hosts.setdefault(why, []).append(arming["host"])
    return [f"{some(names)} ({why})" for why, names in hosts.items()]


def disarm_all(records: Records) -> list[str]:
    """
    Make all hosts new, after records were restored: what they say may have happened since.

    records
        The records of this machine.

    Returns the names of the hosts that were armed.
    """
    armed = []
    with _locked(records):
        armings, booted = records.armings(), records.boots()
        for key, arming in armings.items():
            boot = booted.get(key)
            if not _is_booted(arming, boot):
                armed.append(arming["host"])
                boot = None
            # Nobody who read the backup, or its paths in a log, knows the new ones.
            token = secrets.token_hex(_TOKEN_BYTES)
            armings[key] = {
                **arming,
                "arming": token,
                "armed_at": arming["armed_at"] if boot else 0,
            }
            records.write("once", key, {**(boot or _never_booted(arming)), "arming": token})
        records.write("owned", "once", armings)
    return armed


def listing(records: Records) -> list[dict[str, Any]]:
    """
    List the hosts that boot an entry once, see ``netboot_once.list``.

    records
        The records of this machine.
    """
    booted, installs = records.boots(), installs_of(records)
    return [
        _shown(arming, booted.get(key), installs.read(key))
        for key, arming in sorted(records.armings().items(), key=lambda item: in_order(item[0]))
        if not arming["dropped"]
    ]


def _shown(arming: Arming, boot: Boot | None, install: Any = None) -> dict[str, Any]:
    installs = bool(arming.get("install"))
    armed: Any = arming if arming["armed_at"] and not _is_booted(arming, boot) else None
    state, step, since = netboot_installing.state(armed, install, time.time())
    done = boot if boot and boot["booted_at"] and _is_booted(arming, boot) else None
    return {
        "host": arming["host"],
        "entry": arming["entry"],
        "armed": iso8601(arming["armed_at"]) if arming["armed_at"] else None,
        "booted": done and iso8601(done["booted_at"]),
        "booted_entry": done and done["entry"],
        "install": arming.get("install", ""),
        "state": state if installs else "",
        "step": step if installs else "",
        "since": iso8601(int(since)) if installs and since else None,
        "why": str(install["steps"][-1][3])
        if state == "failed" and install["steps"][-1][3:]
        else "",
        "first_come": bool(installs and install and install.get("first_come")),
    }
