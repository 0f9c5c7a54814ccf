"""
Hosts that are being installed: whom their answers are served to, what they reported, how long.

The answers of an armed host lie in ``armed/KEY.TOKEN/answers`` of the directory of answers, where
Salt writes them and only root reads them. When its machine has read its script, they are copied to
``served/ADDRESS/KEY.TOKEN``, where nginx finds them by the address of the client that asks. The
copy appears and goes at once, whole. What happened is on record in ``installs/KEY.json``, which
``netboot-once`` writes alone. Without Salt, as that program runs without it.
"""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import time
import urllib.parse
import zlib
from collections.abc import Iterator
from typing import Any

Maps = dict[str, Any]

#: What a machine reports while it is installed, in this order; or ``failed-`` and one of these.
STEPS = (
    "started",
    "answers",
    "disk",
    "packages",
    "bootloader",
    "installed",
    "first-boot",
    "minion",
)
#: Reports of an arming are taken so much longer than its answers are served, in seconds.
LATE_S = 24 * 3600
#: After so many seconds without a report an install is silent: packages of a workstation take most
#: of that on a slow disk.
SILENT_S = 3600

# What the installed system reports by itself.
_OWN = ("first-boot", "minion")
# An address with a machine that asks again and again for new ones fills no disk.
_ADDRESSES = 8
_WHY = 240
# A log comes in pieces, log-10 to log-73: nginx writes no longer arguments than 800 characters.
_LOG = re.compile(r"log-[1-7][0-9]")
_PIECE = 800
_LOG_BYTES = 1 << 17
_REPORT = re.compile(r"/host/([^/]+)\.([0-9a-f]{32})/did/((?:failed-)?[a-z-]{1,20}|log-[1-7][0-9])")


def report(path: str) -> tuple[str, str, str] | None:
    """
    Return the host, token and step of a report, or None. The step may be a piece of a log.

    path
        The path that was asked for.
    """
    found = _REPORT.fullmatch(path)
    if not found or not (found[3].removeprefix("failed-") in STEPS or _LOG.fullmatch(found[3])):
        return None
    return found[1], found[2], found[3]


def why(args: str, step: str = "") -> str:
    """
    Return why a step failed, as its report says it: printable, short. Or a piece of a log.

    args
        The arguments of the report's URL.

    step
        The step.
    """
    found = urllib.parse.parse_qs(args, errors="replace").get("y", [""])[0]
    most = _PIECE if _LOG.fullmatch(step) else _WHY
    return "".join(filter(str.isprintable, found))[:most].strip()


def log_lines(install: Maps | None) -> list[str]:
    """
    Return the lines of the logs that a machine sent while it was installed, printable.

    install
        What is on record of the install, or None.
    """
    pieces = (install or {}).get("log")
    if not isinstance(pieces, dict):
        return []
    packed = "".join(str(pieces[number]) for number in sorted(pieces)).rstrip(".")
    try:
        data = base64.b64decode(packed + "=" * (-len(packed) % 4), altchars=b"-_")
        text = zlib.decompressobj(wbits=31).decompress(data, _LOG_BYTES)
    except (ValueError, zlib.error):
        return []
    lines = text.decode(errors="replace").splitlines()
    return ["".join(filter(str.isprintable, line.expandtabs())) for line in lines]


def macs(told_by: object) -> set[str]:
    """
    Return the MAC addresses, without separators, of what identifies a host.

    told_by
        See ``netboot_shapes.OnceHost``.
    """
    told = told_by if isinstance(told_by, list) else []
    return {one[4:] for one in told if isinstance(one, str) and one.startswith("mac=")}


def state(arming: Maps | None, install: Maps | None, now: float) -> tuple[str, str, float]:
    """
    Return how far a host's install is.

    arming
        Its arming while it is armed, else None.

    install
        What is on record of its last install, or None.

    now
        The time.

    Returns ``armed``, ``booting`` (it has read its script), ``installing``, ``installed``,
    ``failed``, ``silent`` (no report for an hour) or an empty string, also if it was disarmed
    before it reported anything; the last step that it reported, or that failed; and since when, in
    seconds since 1970.
    """
    if arming and (not install or install["arming"] != arming["arming"]):
        return "armed", "", arming["armed_at"]
    if not install:
        return "", "", 0
    step, at = install["steps"][-1][:2] if install["steps"] else ("", install["served_at"])
    if step.startswith("failed-"):
        return "failed", step[7:], at
    if step and STEPS.index(step) >= STEPS.index("installed"):
        return "installed", step, at
    # Disarmed in mid-boot: it got no answers. If it had them already, a report will tell.
    if not step and 0 < install["done_at"] < at + SILENT_S:
        return "", "", 0
    if now - at > SILENT_S:
        return "silent", step, at
    return ("installing" if step else "booting"), step, at


class Installs:
    """
    The installs of a server.

    records
        Directory of the records.

    answers
        Directory of the answers.

    serve_s
        How long answers are served after the script was read, in seconds.
    """

    def __init__(self, records: str, answers: str, serve_s: int) -> None:
        self._records = os.path.join(records, "installs")
        self._armed = os.path.join(answers, "armed")
        self._served = os.path.join(answers, "served")
        self._serve_s = serve_s
        self._running: dict[str, Maps] = {}
        self._running_at: int | None = None

    def read(self, key: str) -> Maps | None:
        """Return what is on record of a host's last install, or None."""
        try:
            with open(os.path.join(self._records, f"{key}.json"), encoding="utf-8") as file:
                found = json.load(file)
            usable = isinstance(found["steps"], list) and isinstance(found["addresses"], dict)
            return found if usable and isinstance(found["arming"], str) else None
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None

    def running(self) -> Iterator[tuple[str, Maps]]:
        """Yield the hosts whose answers are served, with what is on record."""
        try:
            at = os.stat(self._records).st_mtime_ns
        except FileNotFoundError:
            return
        # Of thousands that were installed long ago, none is read again at each look.
        if at != self._running_at:
            found = {}
            for name in os.listdir(self._records):
                key, ending = os.path.splitext(name)
                one = self.read(key) if ending == ".json" else None
                if one and not one["done_at"]:
                    found[key] = one
            # Within one tick of its clock a directory changes a second time unseen.
            fresh = not 1 < time.time() - at / 1e9
            self._running, self._running_at = found, None if fresh else at
        yield from list(self._running.items())

    def script_read(self, key: str, arming: Maps, address: str, mac: str, at: float) -> bool:
        """
        Serve a host's answers to the machine that has read its script.

        A machine counts if the kernel knows its MAC address as the host's. Where neither the pillar
        nor the kernel tells, the first one to come counts, and no other.

        key, arming
            The host and its arming.

        address, mac
            The machine's; the second is empty if the kernel does not know it.

        at
            When it read the script, in seconds since 1970.

        Returns whether it counts.
        """
        source = os.path.join(self._path(self._armed, key, arming["arming"]), "answers")
        if not os.path.isdir(source):
            return False
        one = self.read(key)
        if not one or one["arming"] != arming["arming"]:
            one = {
                "arming": arming["arming"],
                "host": arming["host"],
                "entry": arming["entry"],
                "served_at": int(at),
                "addresses": {},
                "first_come": False,
                "steps": [],
                "done_at": 0,
            }
        own = macs(arming.get("told_by"))
        if one["done_at"] or (own and mac and mac not in own):
            return False
        if not (own and mac) and address not in one["addresses"]:
            if one["addresses"]:
                return False
            one["first_come"] = True
        if one["served_at"] == int(at) and address in one["addresses"]:
            return True  # the same line, read again
        one["served_at"] = int(at)
        # This boot gets what is there now, all of it: an apply may have changed the answers since
        # the boot before, and who came first then need not be the machine that is known now.
        for other in one["addresses"]:
            if other != address:
                _remove(self._path(os.path.join(self._served, other), key, one["arming"]))
        one["addresses"] = {}
        self._serve(key, one, address, mac, source)
        return True

    def over(self, armings: Maps, now: float) -> list[tuple[str, str]]:
        """
        Return hosts and tokens whose answers were served long enough, are gone, or are not
        needed any more.

        armings
            All armings, by host.

        now
            The time.
        """
        tokens = {one["arming"] for one in armings.values()}
        return [
            (key, one["arming"])
            for key, one in self.running()
            if not -LATE_S < now - one["served_at"] < self._serve_s
            or not os.path.isdir(self._path(self._armed, key, one["arming"]))
            # A host that is renamed meanwhile keeps its arming.
            or one["arming"] not in tokens
            # Its report was put on record, and then this was killed.
            or any(_ends(step[0]) for step in one["steps"])
        ]

    def follow(self, neighbours: dict[str, str], armings: Maps) -> None:
        """
        Serve the answers of running installs to the addresses that their machines have by now: an
        installer may get another one than the firmware.

        neighbours
            MAC addresses by address, as the kernel knows them.

        armings
            All armings, by host.
        """
        for key, one in list(self.running()):
            own = macs(armings.get(key, {}).get("told_by")) | set(one["addresses"].values())
            for address, mac in neighbours.items():
                if mac and mac in own and address not in one["addresses"]:
                    self._serve(key, one, address, mac, self._of_this_boot(key, one))

    def served(self, key: str, token: str, address: str, mac: str = "", step: str = "") -> bool:
        """
        Return whether the answers of an arming were served to a machine.

        key, token
            The host, and the token of the arming.

        address, mac
            The machine's; the second is empty if the kernel does not know it. An installed system
            may have another address than its installer.

        step
            What it reports. From what is installed, the token will do where nobody knows MAC
            addresses.
        """
        one = self.read(key)
        if not one or one["arming"] != token:
            return False
        known = mac if mac or step.removeprefix("failed-") in _OWN else None
        return address in one["addresses"] or known in one["addresses"].values()

    def reported(
        self,
        key: str,
        token: str,
        step: str,
        address: str,
        at: float,
        why: str = "",
        mac: str = "",
    ) -> bool:
        """
        Put a report on record, if it comes from a machine that the answers were served to.

        key, token, step
            See ``report``.

        address, mac
            The machine's, see ``served``.

        at
            When, in seconds since 1970.

        why
            Why it failed, if it did; or the piece of the log.

        Returns whether it counts and is a new step.
        """
        one = self.read(key)
        if not one or not self.served(key, token, address, mac, step):
            return False
        if not 0 <= at - one["served_at"] < self._serve_s + LATE_S:
            return False
        if _LOG.fullmatch(step):
            log = {**one.get("log", {}), step: why}
            if log != one.get("log"):
                self._write(key, {**one, "log": log})
            return False
        if any(done[0] == step for done in one["steps"]):
            return False
        one["steps"].append([step, int(at), address, *([why] if why else [])])
        if step == "installed":
            one.pop("log", None)
        self._write(key, one)
        if _ends(step) and not one["done_at"]:
            self.end(key, token, at)
        return True

    def end(self, key: str, token: str, now: float) -> None:
        """
        Remove the answers of an arming from the disk. Its script must be gone before.

        key, token
            The host, and the token of its arming.

        now
            The time.
        """
        self.remove({token})
        one = self.read(key)
        if one and one["arming"] == token:
            self._write(key, {**one, "done_at": int(now)})

    def remove(self, tokens: set[str]) -> None:
        """Remove the answers of armings, whoever they are served to, and if a host was renamed."""
        for directory in (*(f"{self._served}/{one}" for one in _names(self._served)), self._armed):
            for name in _names(directory):
                if name.rpartition(".")[2] in tokens:
                    _remove(os.path.join(directory, name))

    def sweep(self, armed: set[str]) -> None:
        """
        Remove answers of all but armed hosts and running installs, and what a killed run left.

        armed
            ``KEY.TOKEN`` of the armed hosts.
        """
        keep = armed | {f"{key}.{one['arming']}" for key, one in self.running()}
        for directory in (self._armed, *(f"{self._served}/{one}" for one in _names(self._served))):
            for name in _names(directory):
                if name not in keep:
                    _remove(os.path.join(directory, name))

    def _of_this_boot(self, key: str, one: Maps) -> str:
        """Return the directory of the answers that a machine already has in this boot."""
        copies = [
            self._path(os.path.join(self._served, address), key, one["arming"])
            for address in one["addresses"]
        ]
        armed = os.path.join(self._path(self._armed, key, one["arming"]), "answers")
        return next(filter(os.path.isdir, copies), armed)

    def _serve(self, key: str, one: Maps, address: str, mac: str, source: str) -> None:
        if len(one["addresses"]) >= _ADDRESSES:
            return
        directory = os.path.join(self._served, address)
        final = self._path(directory, key, one["arming"])
        os.makedirs(directory, exist_ok=True)
        new = os.path.join(directory, f".new.{key}")
        shutil.rmtree(new, ignore_errors=True)
        _copy(source, new)
        _remove(final)
        os.rename(new, final)
        # After the copy: what is on record is there.
        one["addresses"][address] = mac
        self._write(key, one)

    @staticmethod
    def _path(directory: str, key: str, token: str) -> str:
        return os.path.join(directory, f"{key}.{token}")

    def _write(self, key: str, value: Maps) -> None:
        self._running_at = None
        os.makedirs(self._records, mode=0o700, exist_ok=True)
        temporary = os.path.join(self._records, "new")
        with open(temporary, "w", encoding="utf-8") as file:
            json.dump(value, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, os.path.join(self._records, f"{key}.json"))


def _ends(step: str) -> bool:
    """
    Return whether nobody needs answers after this report. That of the installer may have been lost:
    what the installed system says counts too.
    """
    return step == "installed" or step.removeprefix("failed-") in _OWN


def _names(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _copy(source: str, target: str) -> None:
    """
    Copy a directory, for the web server's group to read.

    Raises OSError if Salt replaced it meanwhile: half of each would be neither's answers.
    """
    found = os.stat(source)
    for directory, _, names in os.walk(source):
        there = os.path.join(target, os.path.relpath(directory, source))
        os.makedirs(there, 0o750, exist_ok=True)
        for name in names:
            file = os.path.join(there, name)
            shutil.copyfile(os.path.join(directory, name), file)
            os.chmod(file, 0o640)
    if not os.path.samestat(found, os.stat(source)):
        raise OSError("answers were replaced while they were copied")


def _remove(path: str) -> None:
    """Remove a directory; at once for whoever reads below it."""
    gone = os.path.join(os.path.dirname(path), f".gone.{os.path.basename(path)}")
    try:
        os.rename(path, gone)
    except FileNotFoundError:
        pass
    except OSError:
        shutil.rmtree(gone, ignore_errors=True)
        os.rename(path, gone)
    shutil.rmtree(gone, ignore_errors=True)
