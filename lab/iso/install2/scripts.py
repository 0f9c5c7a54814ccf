"""Hooks: the scripts of initinstall.d, preinstall.d and postinstall.d, laststate and firsttime."""

import os
import shutil
import tarfile
import time
from pathlib import Path, PurePosixPath

from . import metadata
from .console import run, say
from .disks import DESTINATION
from .scheme import Refused

HOOKS = Path("/usr/share/install2")
UNPACKER = "27-metadata-install-scripts.sh"
FOLDERS = ("initinstall.d", "preinstall.d", "postinstall.d")
# What firsttime.d has, by the key of /postinstall/firsttime.
FIRST_TIME = {
    "script": "99-z-auto_postinstall_script.sh",
    "run": "99-zz-auto_postinstall_run.sh",
}


def check_archive(members, features):
    """What of an install-scripts.tar goes where: (member, folder, name) of each of its files.

    members: of tarfile. Raises Refused for all that the installer would not run.
    """
    files = []
    for member in members:
        parts = PurePosixPath(member.name).parts
        if member.isdir() and len(parts) <= 1:
            continue
        where = f"install-scripts.tar: {member.name}"
        if len(parts) != 2 or parts[0] not in FOLDERS:
            raise Refused(f"{where} is not a file in {', '.join(FOLDERS)}")
        if parts[0] == "initinstall.d" and not features.initinstall:
            raise Refused(f"{where}: this installer runs none of initinstall.d from there")
        if not member.isfile() or not member.mode & 0o111:
            raise Refused(f"{where} is no executable file, so it would not run")
        if parts[0] == "initinstall.d" and parts[1] <= UNPACKER:
            raise Refused(f"{where} comes before {UNPACKER}, which unpacks it")
        files.append((member, *parts))
    return files


def unpack(archive, features):
    """Puts an install-scripts.tar (Path) over the installer's own scripts."""
    try:
        with tarfile.open(archive, "r:") as tar:
            for member, folder, name in check_archive(tar.getmembers(), features):
                target = HOOKS / folder / name
                replaced = target.exists()
                target.parent.mkdir(parents=True, exist_ok=True)
                with tar.extractfile(member) as source, target.open("wb") as file:
                    shutil.copyfileobj(source, file)
                target.chmod(0o755)
                say(f"install2: {folder}/{name}{' replaces ours' if replaced else ''}")
    except tarfile.TarError as error:
        raise Refused(f"install-scripts.tar cannot be unpacked: {error}") from error


def run_folder(folder, after=""):
    """Runs a folder's scripts by their names; those that one of them adds later run too.

    after: only what sorts after it. A script that fails is reported, and the next one runs.
    """
    while True:
        paths = sorted((HOOKS / folder).glob("*"), key=lambda path: path.name)
        path = next((path for path in paths if path.name > after), None)
        if not path:
            return
        after = path.name
        say(f"install2: {folder}/{path.name}")
        if not run(path, environment=_environment(), check=False):
            say(f"install2: {folder}/{path.name} FAILED")


def last_state(keys, answers):
    """/postinstall/laststate: a command or a fetched script, at the wizard's end.

    keys: of the call. answers: Path of autoinstall.scm, which the command finds in $AUTOINSTALL.
    """
    path = Path("/tmp/laststate.sh")
    if _write_script(keys, path):
        environment = {
            **_environment(),
            "ALTERATOR_DESTDIR": str(DESTINATION),
            "AUTOINSTALL": str(answers),
        }
        if not run(path, environment=environment, check=False):
            say("install2: laststate FAILED")


def first_time(keys):
    """/postinstall/firsttime: the same, into the installed system's firsttime.d."""
    folder = DESTINATION / "etc/firsttime.d"
    folder.mkdir(exist_ok=True)
    _write_script(keys, folder / FIRST_TIME["script" if "script" in keys else "run"])


def _write_script(keys, path):
    """Whether there is a script at path now: the command, or what its URL gave."""
    if "run" in keys:
        path.write_text(f"#!/bin/sh\n{keys['run']}\n")
    elif not _fetch_script(keys["script"], path):
        say(f"install2: {keys['script']} FAILED")
        return False
    path.chmod(0o755)
    return True


def _fetch_script(url, path):
    for attempt in range(5):
        if attempt:
            time.sleep(2)
        if metadata.download(url, path, patience=2):
            return True
    return False


def _environment():
    """For scripts: destdir comes from install2-init-functions alone."""
    return {name: value for name, value in os.environ.items() if name != "destdir"}
