"""
What the boot entries of an image need on a netboot server, and whether it is there.

Records show what these states own: a tree or loop mount has an ``images`` record, an ISO has a
``source`` in its ``isos`` record, which only a fetch writes.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from salt.exceptions import CommandExecutionError

import iso_hashes
import iso_secure_boot
import iso_tree
import netboot_entries
import netboot_files
import netboot_in_use
from netboot_names import VARIANTS, has_digests
from netboot_records import Records
from netboot_shapes import Entry, Image, ImageRecord, IsoRecord


def built(records: Records) -> dict[str, Any]:
    """
    Return the boot entries of the images that are ready, see ``netboot_entries.build``.

    records
        The records of this machine.
    """
    return netboot_entries.build(records.config(), records.ready())


def offered(records: Records, foretell: bool = False) -> tuple[list[Entry], list[str], list[str]]:
    """
    Return the boot entries whose files are all there, the problems of the others, and warnings.

    records
        The records of this machine.

    foretell : False
        Whether missing ISOs count as fetched: an apply fetches them, or fails at that.
    """
    made = built(records)
    isos = {image["label"]: image.get("iso", "") for image in records.images()}
    bootable: list[Entry] = []
    problems: list[str] = made["problems"]
    for entry in made["entries"]:
        iso = isos.get(entry["label"])
        if entry["needs_iso"] and iso and not (foretell or os.path.exists(iso)):
            problems.append(f"{entry['id']}: {iso} does not exist")
        else:
            bootable.append(entry)
    return bootable, problems, made["warnings"]


def missing(records: Records) -> list[str]:
    """
    Return the names of the configured images that clients cannot boot yet, or a mirror not serve.

    records
        The records of this machine.
    """
    there = ready(records)
    return [image["name"] for image in records.config()["images"] if image["name"] not in there]


def ready(records: Records) -> list[str]:
    """
    Return the names of the configured images that clients can boot; on a mirror without clients of
    those whose ISOs are verified.

    records
        The records of this machine.
    """
    config = records.config()
    if config["mirror"] != "only":
        return [image["name"] for image in records.ready()]
    isos = [
        (image, os.path.join(config["paths"]["dist"], image["file"])) for image in config["images"]
    ]
    return [
        image["name"]
        for image, iso in isos
        if (known := records.iso(iso)) and known["identity"] == netboot_files.identity(iso)
    ]


def awaited(records: Records) -> bool:
    """
    Return whether an apply has yet to fetch or unpack anything for clients.

    records
        The records of this machine.
    """
    config = records.config()
    isos = [image for image in config["images"] if image["keep_iso"]]
    return bool(missing(records)) or not all(
        os.path.exists(os.path.join(config["paths"]["dist"], image["file"])) for image in isos
    )


def needs(records: Records, record: ImageRecord, asked: str = "") -> dict[str, Any]:
    """
    Return what the boot entries of an image need on this machine.

    records
        The records of this machine.

    record
        The image, as ``netboot.images`` lists it.

    asked : ""
        ``stages`` or ``tree``, when the pillar wants more unpacked than the entries need.

    Returns a map: ``form`` (``boot``: kernel and initrd; ``stages``: these and the stages that are
    loaded from the tree; ``tree``: everything, for an installation from the tree), ``files``, their
    paths in the image, and ``iso``, the ids of the entries that need the ISO itself.

    Raises CommandExecutionError when no applied configuration is on record.
    """
    facts = record["facts"]
    entries = netboot_entries.build(records.config(), [record])["entries"]
    stages = {_stage(record, entry) for entry in entries if entry["files"] != "boot"}
    form = "stages" if stages else "boot"
    if "tree" in [asked, *(entry["files"] for entry in entries)]:
        form = "tree"
    elif asked:
        form = asked
    if asked or form == "tree":
        stages.update(stage["path"] for stage in facts["stages"].values())
    return {
        "form": form,
        "files": sorted({facts["kernel"], facts["initrd"], *stages, *iso_secure_boot.paths(facts)}),
        "iso": [entry["id"] for entry in entries if entry["needs_iso"]],
    }


def _stage(record: ImageRecord, entry: Entry) -> str:
    facts: Any = record["facts"]
    path: str = facts["stages"][facts[VARIANTS[entry["variant"]]]["stage"]]["path"]
    return path


def needs_of(records: Records, record: ImageRecord, image: Image) -> dict[str, Any]:
    """
    Return what the boot entries of an image need, as ``needs`` does, under its name in the pillar.

    records
        The records of this machine.

    record
        The image's record.

    image
        The image, of the configuration.

    Raises CommandExecutionError when the pillar wants to remove an ISO that an entry boots.
    """
    named = record.copy()
    named["name"], named["label"] = image["name"], image["label"]
    needed = needs(records, named, image["unpack"])
    if needed["iso"] and not image["keep_iso"]:
        raise CommandExecutionError(
            f"netboot:images:{image['name']}:keep_iso is false, but {', '.join(needed['iso'])} "
            "boots the whole ISO; remove that variant from the image's variants, or keep the ISO."
        )
    return needed


def check_before_fetch(records: Records, image: Image, iso: str, checksum: dict[str, str]) -> None:
    """
    Raise as ``needs_of`` does if an ISO was unpacked before, so that it is not fetched in vain.

    records
        The records of this machine.

    image
        The image, of the configuration.

    iso
        Path of its ISO.

    checksum
        The ISO's digests in the pillar, by algorithm.
    """
    record = records.image(image["label"])
    known = records.iso(iso)
    if (
        record
        and known
        and known["digests"]["sha256"] == record["iso_sha256"]
        and has_digests(known["digests"], checksum)
    ):
        needs_of(records, record, image)


def is_current(records: Records, record: ImageRecord | None, image: Image, iso_sha256: str) -> bool:
    """
    Return whether an image's tree on record is what its ISO, the pillar and its entries require.

    records
        The records of this machine.

    record
        The image's record, or None.

    image
        The image, of the configuration.

    iso_sha256
        SHA-256 of the verified ISO.

    No file is read; files that clients fetch must have the size, times and inode on record.

    Raises CommandExecutionError as ``needs_of`` does.
    """
    if (
        not record
        or record["iso_sha256"] != iso_sha256
        or record["overrides"] != image["overrides"]
        or record["facts"]["tree"]["layout"] != iso_tree.LAYOUT
        or (record["form"] == "mount") != image["mount"]
        or _is_unread(records, record)
    ):
        return False
    if not image["mount"]:
        needed = needs_of(records, record, image)
        if record["form"] != "tree" and (
            needed["form"] == "tree" or not set(needed["files"]) <= set(record["boot_files"])
        ):
            return False
    return boot_files(record["tree"], record["boot_files"]) == record["boot_files"] and all(
        netboot_files.identity(os.path.join(record["tree"], path)) == identity
        for path, identity in record["identities"].items()
    )


def _is_unread(records: Records, record: ImageRecord) -> bool:
    """Return whether an earlier version inspected an image that now starts with Secure Boot."""
    facts = record["facts"]
    wanted = bool(records.config().get("secure_boot"))
    return wanted and "secure_boot" not in facts and facts["arch"] in iso_secure_boot.LOADERS


def boot_files(tree: str, paths: Iterable[str]) -> dict[str, int | None]:
    """
    Return the sizes in bytes of files that clients fetch from a tree, by path; None if absent.

    tree
        The directory.

    paths
        Paths below it.
    """
    sizes: dict[str, int | None] = {}
    for path in paths:
        try:
            sizes[path] = os.stat(os.path.join(tree, path)).st_size
        except (FileNotFoundError, NotADirectoryError):
            sizes[path] = None
    return sizes


def identities(records: Records) -> dict[str, Any]:
    """
    Return what shows that files which clients fetch are unchanged, see ``netboot_files.identity``.

    records
        The records of this machine.

    Returns a map by absolute path.
    """
    files: dict[str, Any] = {
        os.path.join(record["tree"], path): identity
        for record in records.ready()
        if "tree" in record
        for path, identity in record["identities"].items()
    }
    for record in records.ready():
        verified = records.iso(record["iso"]) if "iso" in record else None
        if verified and not verified.get("dropped"):
            files[record["iso"]] = verified["identity"]
    return files


def changed(records: Records) -> dict[str, float]:
    """
    Return the paths, as clients ask for them, of files that are not what was verified or unpacked,
    with the time of their last change.

    Only size, time and inode are looked at; ``netboot.verify`` hashes.

    records
        The records of this machine.
    """
    return {
        path: now["ctime_ns"] / 1e9
        for path, (now, was) in _touched(records).items()
        if netboot_files.is_written(now, was)
    }


def touched(records: Records) -> set[str]:
    """
    Return the paths, as clients ask for them, of files that may be other than what was verified or
    unpacked: of those that ``changed`` returns, and those whose rights alone changed, or their
    time back.

    records
        The records of this machine.
    """
    return set(_touched(records))


def _touched(records: Records) -> dict[str, tuple[Any, Any]]:
    """Return what there is and what was, see ``netboot_files.identity``."""
    root = records.config()["root"]
    found = {}
    for path, was in identities(records).items():
        now = netboot_files.identity(path)
        if now not in (None, was):
            found[path[len(root) :]] = (now, was)
    return found


def rotten(record: ImageRecord) -> list[str]:
    """
    Hash the kernel, initrd and stages that clients fetch from a tree.

    record
        The image's record.

    Returns the paths below the tree of files that differ from what was unpacked.
    """
    return [
        path
        for path in record["boot_files"]
        if iso_hashes.digests(os.path.join(record["tree"], path), [])["digests"]
        != {"sha256": record["facts"]["sha256"][path]}
    ]


def same_elsewhere(records: Records, image: Image, iso_sha256: str) -> ImageRecord | None:
    """
    Return the record of a tree under another name that this image can take over, or None.

    So an image that was renamed in the pillar is not unpacked again. A tree that is still in the
    pillar, or in use, stays where it is.

    records
        The records of this machine.

    image
        The image, of the configuration.

    iso_sha256
        SHA-256 of the verified ISO.
    """
    config = records.config()
    named = {one["label"] for one in config["images"]} | {image["label"]}
    for record in records.images():
        if (
            record["label"] not in named
            and not image["mount"]
            and os.path.dirname(os.path.dirname(record["tree"])) == config["paths"]["trees"]
            and is_current(records, record, image, iso_sha256)
            and not os.path.lexists(os.path.join(os.path.dirname(record["tree"]), image["label"]))
            and not netboot_in_use.in_use([record["tree"]])
        ):
            return record
    return None


def dropped(records: Records, iso: str, checksum: dict[str, str]) -> IsoRecord | None:
    """
    Return the record of an ISO that was removed after unpacking, by ``keep_iso: false``; or None.

    records
        The records of this machine.

    iso
        Its path.

    checksum
        Its digests in the pillar, by algorithm; None is returned if they are those of another ISO.
    """
    record = records.iso(iso)
    if not record or not record.get("dropped") or os.path.lexists(iso):
        return None
    return record if has_digests(record["digests"], checksum) else None


def is_enough_without_iso(
    records: Records, image: Image, iso: str, checksum: dict[str, str]
) -> bool:
    """
    Return whether an image is complete although its ISO was dropped: it need not be fetched again.

    records
        The records of this machine.

    image
        The image, of the configuration.

    iso
        Path of its ISO.

    checksum
        The ISO's digests in the pillar, by algorithm.
    """
    verified = dropped(records, iso, checksum)
    if not verified:
        return False
    sha256 = verified["digests"]["sha256"]
    record = records.image(image["label"])
    trees = records.config()["paths"]["trees"]
    if record and record["tree"].startswith(f"{trees}/"):
        if is_current(records, record, image, sha256):
            return True
    return bool(same_elsewhere(records, image, sha256))


def drop_iso(records: Records, iso: str) -> str:
    """
    Remove an ISO that is unpacked, and put that on record.

    Returns the outcome as a sentence. The ISO stays if these states did not fetch it, and while it
    is in use.

    records
        The records of this machine.

    iso
        Its path.
    """
    if not is_owned_iso(records, iso):
        return f"{iso} stays: these states did not fetch it."
    if netboot_in_use.in_use([iso]):
        return f"{iso} is in use; a later apply will remove it."
    record: Any = records.iso(iso)
    # first, so that after a kill here the next run does not fetch it again
    record["dropped"] = True
    records.write_iso(iso, record)
    os.unlink(iso)
    return f"{iso} was removed."


def is_owned_iso(records: Records, iso: str) -> bool:
    """
    Return whether a file is the very ISO that these states fetched.

    records
        The records of this machine.

    iso
        Its path.
    """
    record = records.iso(iso)
    return bool(
        record and record.get("source") and record["identity"] == netboot_files.identity(iso)
    )


def same_iso(records: Records, checksum: dict[str, str], files: list[str]) -> str | None:
    """
    Return the path of an ISO with given digests whose name is no longer needed, or None.

    records
        The records of this machine.

    checksum
        The digests, by algorithm.

    files
        Names of files that are still needed; they are ignored.
    """
    if not checksum:
        return None
    for name in records.names("isos"):
        path = os.path.join(records.config()["paths"]["dist"], name)
        record = records.iso(name)
        if (
            name not in files
            and record
            and has_digests(record["digests"], checksum)
            and is_owned_iso(records, path)
            and not netboot_in_use.in_use([path])
        ):
            return path
    return None


def rename_iso(records: Records, old: str, new: str) -> None:
    """
    Rename an ISO that these states fetched, and its record.

    records
        The records of this machine.

    old, new
        Its paths, in the same directory.
    """
    record: Any = records.iso(old)
    os.rename(old, new)
    record["identity"] = netboot_files.identity(new)  # a rename changes ctime
    records.write_iso(new, record)
    records.remove_iso(old)
