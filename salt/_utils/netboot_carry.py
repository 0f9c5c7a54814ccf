"""
ISOs carried to machines without a network, on a disk: copied to a directory of it with their sums,
verified and put into place on the other machine.

Copies are fetches of ``file:`` URLs: verified while they are copied, resumed after a kill, under
their names only when complete.
"""

from __future__ import annotations

import os
import urllib.parse
from collections.abc import Collection
from typing import Any, cast

from salt.exceptions import CommandExecutionError

import iso_download
import iso_hashes
import iso_sources
import iso_sums
import netboot_answering
import netboot_files
import netboot_held
from iso_download import Fetches, How
from iso_part import part_path, room
from netboot_names import has_digests, nearest, some
from netboot_records import Records
from netboot_shapes import Config, Image, IsoRecord

#: Directory on the disk for half-copied files.
STAGING = ".netboot"
SUMS = "SHA256SUM"
README = "README.txt"
_README = """\
ISOs of ALT Linux for netboot servers (netboot-alt), copied by `./netboot export`.
On the other server, with the same images in its pillar: ./netboot import DIRECTORY, then apply.
SHA256SUM has their digests: sha256sum -c SHA256SUM.

ISO-образы ALT Linux для серверов сетевой загрузки (netboot-alt), скопированы `./netboot export`.
На другом сервере, в pillar которого те же образы: ./netboot import КАТАЛОГ, затем apply.
"""
# Their files have less than 4 GiB.
_FAT = ("vfat", "msdos")
_MOST_ON_FAT = (4 << 30) - 1
_STALL_S = 60
_RECORDED = ("size", "digests", "identity", "verified_at", "source")


def export(records: Records, directory: str, names: Collection[str] = ()) -> dict[str, Any]:
    """
    Copy verified ISOs to a directory, see ``netboot.export``.

    records
        The records of this machine.

    directory
        Its absolute path.

    names : ()
        Names of images. Default: all.
    """
    _check_directory(directory)
    chosen = _chosen(records.config(), names)
    found: dict[str, Any] = {"directory": directory, "copied": {}, "there": [], "skipped": {}}
    wanted: dict[str, IsoRecord] = {}
    sums = {}
    for image in chosen:
        iso = os.path.join(records.config()["paths"]["dist"], image["file"])
        record = records.iso(iso)
        if not record or not _is_verified(iso, record):
            found["skipped"][image["name"]] = f"{iso} is not there, or not verified: apply first"
            continue
        sums[image["file"]] = record["digests"]["sha256"]
        if _has(os.path.join(directory, image["file"]), record):
            found["there"].append(image["file"])
        else:
            wanted[iso] = record
    staging = os.path.join(directory, STAGING)
    if os.path.islink(staging):
        raise CommandExecutionError(f"{staging} is a link; remove it.")
    _check_room(directory, staging, wanted)
    try:
        os.makedirs(staging, mode=0o700, exist_ok=True)
        fetches = Fetches(How(staging, 1, _STALL_S), {})
        for iso, record in wanted.items():
            file = os.path.basename(iso)
            checksum = {"sha256": record["digests"]["sha256"]}
            fetches.fetch([_url(iso)], os.path.join(directory, file), checksum)
            found["copied"][file] = record["size"]
            _write_sums(directory, sums)
        _write_sums(directory, sums)
        netboot_files.write(os.path.join(directory, README), _README, mode=0o644)
        if not os.listdir(staging):
            os.rmdir(staging)
    except OSError as err:
        raise CommandExecutionError(f"{directory} cannot be written: {err.strerror}.") from err
    return found


def import_(records: Records, config: Config, directory: str) -> dict[str, Any]:
    """
    Put the ISOs in a directory into place, see ``netboot.import``.

    records
        The records of this machine.

    config
        The configuration that the pillar resolves to.

    directory
        Its absolute path.
    """
    _check_directory(directory)
    found: dict[str, Any] = {"imported": {}, "there": [], "missing": [], "wrong": {}}
    files = sorted(name for name in os.listdir(directory) if name.endswith(".iso"))
    known = [image["file"] for image in config["images"]]
    found["unknown"] = [name for name in files if name not in known]
    sums = _read_sums(directory)
    dist, staging = config["paths"]["dist"], config["paths"]["staging"]
    for path, mode in ((config["root"], 0o755), (dist, 0o755), (staging, 0o700)):
        os.makedirs(path, mode=mode, exist_ok=True)
    fetches = Fetches(How(staging, 1, _STALL_S), {})
    waiting = _waiting(records, config)
    for image in config["images"]:
        file, iso = image["file"], os.path.join(dist, image["file"])
        try:
            checksum = _checksum(image, sums, file in files)
            record = records.iso(iso)
            if record and _is_verified(iso, record) and has_digests(record["digests"], checksum):
                found["there"].append(file)
            elif file not in files:
                found["missing"].append(image["name"])
            else:
                _check_unused(records, image, iso)
                _check_in_service(records, waiting.get(image["label"]), image, checksum)
                source = os.path.join(directory, file)
                new = fetches.fetch([_url(source)], iso, checksum, to_be_claimed=True)
                new = cast("IsoRecord", {key: new[key] for key in _RECORDED})  # type: ignore[literal-required]
                if image["sums"]:
                    new["sums"] = {"checksum": checksum, "url": _url(source), "validator": None}
                iso_download.claim(records, iso, staging, new)
                found["imported"][file] = new["size"]
        except (CommandExecutionError, ValueError) as err:
            found["wrong"][file] = str(err)
    return found


def _check_directory(directory: str) -> None:
    if not os.path.isabs(directory):
        raise CommandExecutionError(f"{directory}: give an absolute path.")
    if not os.path.isdir(directory):
        raise CommandExecutionError(f"{directory} is not a directory; is the disk mounted?")


def _chosen(config: Config, names: Collection[str]) -> list[Image]:
    by_name = {image["name"]: image for image in config["images"]}
    for name in names:
        if name not in by_name:
            near = nearest(name, by_name) or f"; there are: {', '.join(by_name) or 'none'}"
            raise CommandExecutionError(f"There is no image {name!r}{near}.")
    return [by_name[name] for name in names or by_name]


def _is_verified(iso: str, record: IsoRecord) -> bool:
    identity = netboot_files.identity(iso)
    return identity is not None and identity == record["identity"]


def _has(path: str, record: IsoRecord) -> bool:
    """Return whether a file on the disk is the ISO on record; it is read."""
    there = netboot_files.identity(path)
    if not there or there["size"] != record["size"]:
        return False
    return iso_hashes.digests(path, ["sha256"])["digests"]["sha256"] == record["digests"]["sha256"]


def _check_room(directory: str, staging: str, wanted: dict[str, IsoRecord]) -> None:
    """Refuse a disk that is too small before anything is written to it."""
    needed = 0
    for iso, record in wanted.items():
        begun = netboot_files.identity(part_path(staging, iso))
        needed += record["size"] - min(record["size"], begun["size"] if begun else 0)
    free = max(0, room(directory))
    if needed > free:
        raise CommandExecutionError(
            f"{directory} has room for {free} bytes, but {needed} are to be copied; name "
            "some images, or take a larger disk."
        )
    large = [os.path.basename(iso) for iso, one in wanted.items() if one["size"] > _MOST_ON_FAT]
    if large and _file_system(directory) in _FAT:
        raise CommandExecutionError(
            f"{directory} is on a FAT file system, where no file has 4 GiB or more, as "
            f"{some(large)} has; format the disk with exFAT or ext4."
        )


def _file_system(directory: str) -> str:
    """Return the type of the file system that a directory is on, see proc_pid_mounts(5)."""
    path, kind = os.path.realpath(directory), ""
    longest = -1
    with open("/proc/self/mounts", encoding="utf-8", errors="surrogateescape") as mounts:
        for line in mounts:
            _, at, of, *_ = line.split(" ")
            at = at.replace(r"\040", " ")
            if f"{path}/".startswith(f"{at.rstrip('/')}/") and len(at) >= longest:
                longest, kind = len(at), of
    return kind


def _url(path: str) -> str:
    return f"file://{urllib.parse.quote(path)}"


def _write_sums(directory: str, sums: dict[str, str]) -> None:
    """Write the sum file, with what it already says of other ISOs that are there."""
    path = os.path.join(directory, SUMS)
    before = _read_sums(directory).get("sha256", b"")
    lines = {}
    for name in sorted(os.listdir(directory)):
        if name.endswith(".iso"):
            digest = sums.get(name) or iso_sums.find(before, "sha256", name)
            lines[name] = f"{digest}  {name}\n" if digest else ""
    netboot_files.write(path, "".join(lines.values()), mode=0o644)


def _read_sums(directory: str) -> dict[str, bytes]:
    """Return the sum files of a directory by algorithm."""
    found = {}
    for name, kind in iso_sums.FILES.items():
        path = os.path.join(directory, name)
        try:
            # As from any stranger: a small regular file.
            read = iso_sources.text(_url(path), _STALL_S)
        except FileNotFoundError:
            continue
        except CommandExecutionError as err:
            raise CommandExecutionError(f"{path} cannot be read: {err}") from err
        if read:
            found[kind] = read[0]
    return found


def _checksum(image: Image, sums: dict[str, bytes], needed: bool) -> dict[str, str]:
    """Return what an ISO's digests must be, by the pillar and the sum files."""
    listed = {kind: iso_sums.find(text, kind, image["file"]) for kind, text in sums.items()}
    given = cast("dict[str, str]", {kind: one for kind, one in listed.items() if one})
    for kind, digest in image["checksum"].items():
        if given.get(kind, digest) != digest:
            raise CommandExecutionError(
                f"its {kind} in the sum file is not the one in netboot:images:{image['name']}:"
                "checksum: the disk or the pillar is outdated"
            )
    checksum = {**given, **image["checksum"]}
    if needed and not checksum:
        raise CommandExecutionError("neither the pillar nor a sum file has its digest")
    return checksum


def _waiting(records: Records, config: Config) -> dict[str, Image]:
    """Return the images, by label, that the next apply may leave as they are."""
    given: Any = {"waves": False, **config, "given": {"wave": "", "open": False}}
    held = netboot_held.held(records, given)["images"]
    return {image["label"]: image for image in held if "held" in image}


def _check_in_service(
    records: Records, held: Image | None, image: Image, checksum: dict[str, str]
) -> None:
    """Refuse another revision under the name of the one that the next apply has to keep."""
    record = records.image(image["label"])
    if not held or held["file"] != image["file"] or not record:
        return
    if netboot_held.is_another(records, record, checksum):
        waits = held["held"]["waits"] or "the next wave"
        raise CommandExecutionError(
            f"the revision before is in service under this name, and this one waits for {waits}; "
            f"give it a name of its own (netboot:images:{image['name']}:file), here and on the disk"
        )


def _check_unused(records: Records, image: Image, iso: str) -> None:
    if not os.path.lexists(iso) or not records.applied():
        return
    if hosts := netboot_answering.installed_from(records, image["label"]):
        raise CommandExecutionError(f"{some(hosts)} is being installed from the one before")
