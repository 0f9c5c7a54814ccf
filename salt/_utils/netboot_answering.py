"""
Answers of armed hosts that are installed unattended: made, and written where only root reads them.

``netboot_installing`` has what happens to them after that. A host's answers are there before its
script, so that no installer starts without them: it would take those of its medium.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import tarfile
from typing import Any

from salt.exceptions import CommandExecutionError

import netboot_answers
import netboot_files
import netboot_images
import netboot_installers
import netboot_run
from netboot_answers import PLATFORMS
from netboot_installing import Installs
from netboot_names import host_key
from netboot_records import Records
from netboot_shapes import Arming, ImageRecord, InstallMachine


def remove_answers(records: Records, armings: list[Arming]) -> None:
    """
    Remove the answers of armings from the disk. Their scripts must be gone before.

    records
        The records of this machine.

    armings
        The armings.
    """
    installs_of(records).remove({arming["arming"] for arming in armings})


def installs_of(records: Records) -> Installs:
    """
    Return the installs of this machine.

    records
        The records of this machine.
    """
    config = records.config()
    # Of a version without installs, until the next apply.
    hours = config.get("answer_hours", 0)
    return Installs(records.directory, f"{records.directory}-answers", hours * 3600)


def _masked(text: str, arming: Arming) -> str:
    text = re.sub(r"\$[a-z0-9]{1,3}\$(?=[\w./])[^\s\"':]+", "(hash)", text)
    # Up to p10 a password that nobody knows stands in for the hash.
    text = re.sub(r'(passwd_[12] ")[0-9a-f]{32}"', r'\1(unknown)"', text)
    return text.replace(arming["arming"], "(token)")


def installed_from(records: Records, label: str) -> list[str]:
    """
    Return the names of the hosts that are being installed from an image now.

    records
        The records of this machine.

    label
        The image's label.
    """
    return sorted(
        one["host"]
        for _, one in installs_of(records).running()
        if re.fullmatch(rf"{re.escape(label)}-install(-.+)?", str(one.get("entry")))
    )


class Answers:
    """
    The answers of a server's armed hosts.

    records
        The records of this machine.
    """

    def __init__(self, records: Records) -> None:
        self._config = records.config()
        self._installs = installs_of(records)
        self._armed = os.path.join(f"{records.directory}-answers", "armed")
        self._records = records
        self._images: dict[str, ImageRecord] | None = None

    def why_not(self, arming: Arming) -> str:
        """Return why an armed host has no answers, or an empty string."""
        if not arming.get("install"):
            return ""
        key = f"netboot:hosts:{arming['host']}"
        install = self._config.get("installs", {}).get(arming["install"])
        if install is None:
            return f"{key}:install: netboot:installs has no {arming['install']!r} any more"
        image = self._image(arming)
        if image is None:
            return f"{key}:image: is not ready, so the answers of its installer are not known yet"
        wrong = netboot_answers.why_not(image["facts"], install)
        return wrong and f"{key}:install: {wrong}"

    def files(self, arming: Arming, pair: dict[str, str]) -> dict[str, bytes]:
        """
        Return the answers of an armed host, by path: ``PLATFORM/NAME``.

        arming
            Its arming; ``why_not`` has nothing against it.

        pair
            What ``netboot_shapes.MinionKeys`` has besides ``id``, or nothing.
        """
        install = self._config["installs"][arming["install"]]
        image: Any = self._image(arming)
        prefix = f"/host/{host_key(arming['host'])}.{arming['arming']}"
        machine: InstallMachine = {
            "host": arming["host"],
            "hostname": arming["hostname"],
            "token": arming["arming"],
            "reports": f"{self._config['http']['url']}{prefix}/did",
            "network": arming["network"],
            "minion": {"id": arming["hostname"], **pair} if pair else None,  # type: ignore[typeddict-item]
        }
        return {
            f"{platform}/{name}": content
            for platform in PLATFORMS
            for name, content in netboot_answers.files(
                install, image["facts"], machine, platform
            ).items()
        }

    def minion(self, key: str, arming: Arming) -> dict[str, str]:
        """
        Return ``id`` and ``pub``, the public key, of the minion that an armed host becomes; or
        nothing.

        key, arming
            The host and its arming. Its pair of keys is made if it has none.
        """
        if not arming.get("install") or self.why_not(arming):
            return {}
        pair = self._pair(key, arming)
        return {"id": arming["hostname"], "pub": pair["pub"]} if pair.get("pub") else {}

    def write(self, key: str, arming: Arming, test: bool = False) -> list[str]:
        """
        Write the answers of an armed host.

        key, arming
            The host and its arming.

        test : False
            Only return what would change.

        Returns what changed: ``PLATFORM/NAME``. Nothing for a host that ``why_not`` refuses.

        Raises CommandExecutionError when they cannot be written; what was there stays.
        """
        if not arming.get("install") or self.why_not(arming):
            return []
        top = self._path(key, arming)
        whole, new, old = (os.path.join(top, name) for name in ("answers", "new", "old"))
        if test and not os.path.isdir(whole):
            return ["answers"]  # with keys that are not made yet
        files = self.files(arming, self._pair(key, arming))
        self._directory(key, arming)
        there = {
            os.path.join(os.path.basename(directory), name): netboot_files.read(
                os.path.join(directory, name)
            )
            for directory, _, names in os.walk(whole)
            for name in names
        }
        texts = {name: one.decode(errors="surrogateescape") for name, one in files.items()}
        changed = [name for name in {**texts, **there} if texts.get(name) != there.get(name)]
        if test:
            return changed
        for left in (new, old):
            shutil.rmtree(left, ignore_errors=True)
        if changed:
            # All of them or none: an installer that gets answers without its script of disks, or
            # with an old one, wipes what it must not.
            try:
                for name, text in texts.items():
                    path = os.path.join(new, name)
                    for directory in (new, os.path.dirname(path)):
                        os.makedirs(directory, mode=0o700, exist_ok=True)
                    netboot_files.write(path, text, mode=0o600)
            except OSError as err:
                # Without the path, which has the token.
                raise CommandExecutionError(
                    f"{self._armed} cannot be written: {err.strerror}"
                ) from None
            if os.path.isdir(whole):
                os.rename(whole, old)
            os.rename(new, whole)
            netboot_files.sync_directory(top)
            shutil.rmtree(old, ignore_errors=True)
        return changed

    def sweep(self, armed: dict[str, Arming]) -> None:
        """
        Remove the answers of all but the hosts that are armed, or are being installed.

        armed
            The armed hosts.
        """
        self._installs.sweep({f"{key}.{arming['arming']}" for key, arming in armed.items()})

    def shown(self, arming: Arming) -> dict[str, str]:
        """
        Return the answers of a host as texts without secrets, by path; an archive by its files.

        arming
            Its arming; ``why_not`` has nothing against it.
        """
        told = self._salt(arming)
        pair = {"pem": "(private key)\n", "pub": "(public key)\n", **told} if told else {}
        found = {}
        for name, content in self.files(arming, pair).items():
            if name.endswith(".tar"):
                with tarfile.open(fileobj=io.BytesIO(content)) as tar:
                    for member in filter(tarfile.TarInfo.isfile, tar):
                        file: Any = tar.extractfile(member)
                        found[f"{name}/{member.name}"] = file.read().decode()
            else:
                found[name] = content.decode()
        return {name: _masked(text, arming) for name, text in found.items()}

    def _salt(self, arming: Arming) -> dict[str, str]:
        """Return master and fingerprint for a host's minion, or nothing."""
        salt = self._config["installs"][arming["install"]]["salt"]
        told = {"master": salt["master"], "master_finger": salt["master_finger"]}
        return told if salt["master"] else {}

    def _directory(self, key: str, arming: Arming) -> str:
        """Make the directory of an arming, closed to all but root."""
        top = self._path(key, arming)
        for directory in (self._armed, top):
            os.makedirs(directory, mode=0o700, exist_ok=True)
        return top

    def _path(self, key: str, arming: Arming) -> str:
        return os.path.join(self._armed, f"{key}.{arming['arming']}")

    def _pair(self, key: str, arming: Arming) -> dict[str, str]:
        """
        Return how a host becomes a minion: its keys are made with its first answers; or nothing.
        """
        told = self._salt(arming)
        if not told:
            return {}
        image: Any = self._image(arming)
        if not netboot_installers.of(image["facts"]).scripts:
            # The key would have to travel where it is logged.
            return {"pem": "", "pub": "", **told}
        path = os.path.join(self._directory(key, arming), "minion")
        private, public = netboot_files.read(f"{path}.pem"), netboot_files.read(f"{path}.pub")
        if private is None:
            private = netboot_run.output("openssl", "genrsa", "2048") + "\n"
            netboot_files.write(f"{path}.pem", private, mode=0o600)
            public = None
        if public is None:
            # Not by its path, which has the token: everybody sees the arguments of programs.
            made = netboot_run.tried("openssl", "rsa", "-pubout", text=private)
            if made.returncode:
                raise CommandExecutionError(
                    f"The key of host {arming['host']} is damaged; arm it again: netboot.arm."
                )
            public = made.stdout
            netboot_files.write(f"{path}.pub", public, mode=0o600)
        return {"pem": private, "pub": public, **told}

    def _image(self, arming: Arming) -> ImageRecord | None:
        """Return the record of the image that a host boots, if it is ready."""
        if self._images is None:
            ready = {one["label"]: one for one in self._records.ready()}
            entries = netboot_images.built(self._records)["entries"]
            self._images = {
                entry["id"]: ready[entry["label"]] for entry in entries if entry["label"] in ready
            }
        return self._images.get(arming["entry"])
