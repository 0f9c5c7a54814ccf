"""
Back up the records of a netboot server to a file, and restore them on another machine.

The file has records, not ISOs, in the form of tar (gzip). It contains password hashes.
"""

from __future__ import annotations

import io
import os
import shutil
import tarfile
from typing import Any

from salt.exceptions import CommandExecutionError

import netboot_arming
import netboot_files
from netboot_records import Records

# What the states changed on the old machine alone.
_OF_THE_MACHINE = (
    *("services/", "control/"),
    *(f"owned/{name}.json" for name in ("admins", "firewalld", "machine", "nginx", "silenced")),
)
# Far more than thousands of hosts take.
_LARGEST = 256 << 20


def backup(records: Records, path: str) -> dict[str, Any]:
    """
    Write the records to a file that only root can read, see ``netboot.backup``.

    records
        The records of this machine.

    path
        Absolute path of the file; its directory must exist.
    """
    _check_path(path)
    records.config()  # something was applied
    names = records.files()
    staging = os.path.join(os.path.dirname(path), f".netboot.{os.path.basename(path)}.new")
    try:
        with open(_closed(staging), "wb") as file:
            with tarfile.open(fileobj=file, mode="w:gz") as archive:
                for name in names:
                    archive.add(os.path.join(records.directory, name), name, recursive=False)
            file.flush()
            os.fsync(file.fileno())
        os.replace(staging, path)
        netboot_files.sync_directory(os.path.dirname(path))
    except OSError as err:
        raise CommandExecutionError(f"{path} cannot be written: {err.strerror}.") from err
    return {"file": path, "records": len(names), "bytes": os.stat(path).st_size}


def restore(records: Records, path: str) -> dict[str, Any]:
    """
    Put the records of a backup in place on a machine that has none, see ``netboot.restore``.

    records
        The records of this machine.

    path
        Absolute path of the file.
    """
    _check_path(path)
    if records.files():
        raise CommandExecutionError(
            f"{records.directory} has records already; apply the state netboot.clean with "
            "clean_images: true first, or move that directory away."
        )
    texts = _read(records, path)
    # Beside, so that a kill leaves nothing half-restored, nor armed.
    staging = f"{records.directory}.restored"
    shutil.rmtree(staging, ignore_errors=True)
    os.makedirs(staging, mode=0o700)
    for name, text in texts.items():
        if name.startswith(_OF_THE_MACHINE):
            continue
        target = os.path.join(staging, name)
        os.makedirs(os.path.dirname(target), mode=0o700, exist_ok=True)
        netboot_files.write(target, text, mode=0o600)
    disarmed = netboot_arming.disarm_all(Records(staging))
    # What is there has no records, but may have files of somebody else.
    if os.path.isdir(records.directory) and not records.clear(test=False):
        shutil.rmtree(staging)
        raise CommandExecutionError(
            f"{records.directory} has files that are no records; move them away."
        )
    os.rename(staging, records.directory)
    return {"records": len(texts), "disarmed": disarmed}


def _check_path(path: str) -> None:
    if not os.path.isabs(path):
        raise CommandExecutionError(f"{path}: give an absolute path.")


def _closed(path: str) -> int:
    if os.path.lexists(path):
        os.unlink(path)
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)


def _read(records: Records, path: str) -> dict[str, str]:
    """Return the records in a backup by file name; all of them must be records."""
    texts: dict[str, str] = {}
    size = 0
    try:
        with tarfile.open(path, mode="r:gz") as archive:
            for member in archive:
                size += member.size
                if not member.isreg() or not records.is_record(member.name) or size > _LARGEST:
                    raise CommandExecutionError(
                        f"{path} is no backup of netboot records: {member.name!r} is in it."
                    )
                file: Any = archive.extractfile(member)
                with io.TextIOWrapper(file, encoding="utf-8") as text:
                    texts[member.name] = text.read()
    except (OSError, EOFError, tarfile.TarError, UnicodeDecodeError) as err:
        raise CommandExecutionError(f"{path} cannot be read: {err}") from err
    if "applied/config.json" not in texts:
        raise CommandExecutionError(f"{path} is no backup of netboot records: no configuration.")
    return texts
