"""
Trees of images: unpacking an ISO, its record, and renaming a tree.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from typing import Any

from salt.exceptions import CommandExecutionError

import iso9660
import iso_tree
import netboot_files
import netboot_images
import netboot_previous
from netboot_names import OVERRIDES
from netboot_records import Records
from netboot_shapes import Image, ImageRecord

# A hostile ISO can have any number of entries that are not unpacked; the record has at most this.
_REJECTED_SHOWN = 20


def overrides(image: Image) -> dict[str, str]:
    """
    Return the facts that the pillar sets instead of the ISO.

    image
        The image of the configuration.
    """
    return {
        fact: image["overrides"][key].lstrip("/")
        for fact, key in OVERRIDES.items()
        if key in image["overrides"]
    }


def inspected(records: Records, iso: str, image: Image, sha256: str) -> ImageRecord:
    """
    Return the record of an image as far as it is known before unpacking.

    records
        The records of this machine.

    iso
        Path of the ISO.

    image
        The image of the configuration.

    sha256
        SHA-256 of the verified ISO.

    Raises CommandExecutionError when the ISO lacks something that the image needs to boot.
    """
    said = overrides(image)
    facts = iso_tree.inspect(iso, image["name"], said)
    _check_facts(iso, image, facts, said)
    trees = records.config()["paths"]["trees"]
    known: Any = {**facts, **said}
    return {
        "name": image["name"],
        "label": image["label"],
        "file": os.path.basename(iso),
        "iso": iso,
        "iso_sha256": sha256,
        "overrides": image["overrides"],
        "contradictions": [
            f"netboot:images:{image['name']}:{OVERRIDES[fact]} is {value}, but in {iso} it is "
            f"{facts[fact]}."
            for fact, value in sorted(said.items())
            if facts[fact] not in ("", value)
        ],
        "tree": os.path.join(trees, said.get("arch", facts["arch"]), image["label"]),
        "facts": known,
    }


def _check_facts(iso: str, image: Image, facts: dict[str, Any], said: dict[str, str]) -> None:
    missing = {
        fact: key
        for fact, key in facts["missing"].items()
        if fact in (*OVERRIDES, "stages") and fact not in said
    }
    if missing:
        raise CommandExecutionError(_what_is_missing(iso, missing, facts["rejected"]))
    for fact in sorted({"kernel", "initrd"} & set(said)):
        key = f"netboot:images:{image['name']}:{OVERRIDES[fact]}"
        try:
            (entry,) = iso9660.find(iso, [said[fact]])
        except CommandExecutionError as err:
            raise CommandExecutionError(f"{key} cannot be used: {err}") from err
        if entry["type"] != "file":
            raise CommandExecutionError(
                f"{key} cannot be used: in {iso} {said[fact]} is a {entry['type']}, not a file."
            )


def _what_is_missing(iso: str, missing: dict[str, str], rejected: list[dict[str, str]]) -> str:
    keys = sorted({key for key in missing.values() if key})
    text = f"{iso} does not contain its {', '.join(sorted(missing))}" + (
        f"; set {', '.join(keys)} in the pillar."
        if all(missing.values())
        else " and is not an image that can boot over the network."
    )
    if rejected:
        path, reason = rejected[0]["path"], rejected[0]["reason"]
        text += f" {len(rejected)} of its entries were rejected, such as {path!r}: {reason}."
    return text


def rejected(record: ImageRecord) -> list[str]:
    """
    Return the entries of an ISO that are not unpacked, one line each.

    record
        The image's record.
    """
    return [
        f"{record['iso']}: {one['path']!r} is not unpacked: {one['reason']}"
        for one in record["facts"]["rejected"]
    ]


def unpack(
    records: Records,
    record: ImageRecord,
    needed: dict[str, Any],
    image: Image,
    old: ImageRecord | None,
) -> None:
    """
    Unpack what the boot entries of an image need, and put it on record.

    records
        The records of this machine.

    record
        The result of ``inspected``; it is completed.

    needed
        The result of ``netboot_images.needs_of``.

    image
        The image of the configuration.

    old
        Its previous record, or None.
    """
    paths = records.config()["paths"]
    tree, staging = record["tree"], paths["staging"]
    netboot_files.make_directory(os.path.dirname(tree))
    keep_foreign(records, tree)
    names = None if needed["form"] == "tree" else needed["files"]
    kept = None
    if netboot_previous.is_due(records, record, image, old):
        netboot_previous.keep(records, image["label"])
        kept = netboot_previous.place(records, image["label"])
    facts: Any = iso_tree.unpack(
        record["iso"], tree, staging, image["name"], overrides(image), names, kept
    )
    facts["rejected"] = facts["rejected"][:_REJECTED_SHOWN]
    record["facts"] = facts
    record["form"] = needed["form"]
    record["boot_files"] = boot_files(tree, needed["files"])
    record["identities"] = {
        path: netboot_files.identity(os.path.join(tree, path)) for path in needed["files"]
    }
    records.write("images", image["label"], record)
    if old and old["tree"] != tree and old["tree"].startswith(f"{paths['trees']}/"):
        # Its arch in the pillar has changed.
        if kept:
            os.rename(old["tree"], kept)
        iso_tree.set_aside(old["tree"], staging)
        iso_tree.sweep(staging, None)  # parts of ISOs stay


def opened(records: Records, record: ImageRecord, test: bool) -> dict[str, str]:
    """
    Let services enter the directories of a tree's boot files; see ``netboot_files.opened``.

    records
        The records of this machine.

    record
        The image's record.

    test
        Only return what would be done.
    """
    top, tree = records.config()["paths"]["trees"], record["tree"]
    found = {os.path.dirname(tree)}
    for file in [] if record["form"] == "mount" else record["boot_files"]:
        directory = os.path.dirname(os.path.join(tree, file))
        while directory.startswith(f"{top}/"):
            found.add(directory)
            directory = os.path.dirname(directory)
    return netboot_files.opened(sorted(found), test)


def keep_foreign(records: Records, tree: str) -> None:
    """
    Move a non-empty directory out of the way that these states did not create.

    records
        The records of this machine.

    tree
        Its path, which these states own from now on.

    Raises CommandExecutionError when something is mounted there.
    """
    owned = [*records.owned("trees", []), *(image["tree"] for image in records.images())]
    if tree in owned:
        return
    if os.path.ismount(tree):
        # Its mount options are unknown: perhaps clients cannot read all of it.
        raise CommandExecutionError(
            f"Something is mounted on {tree} that these states did not mount; unmount it and "
            "remove its line from /etc/fstab."
        )
    if os.path.isdir(tree) and os.listdir(tree):
        # Under a name that iso_tree.sweep ignores.
        aside = f"foreign.{os.path.basename(tree)}.{int(time.time())}"
        os.rename(tree, os.path.join(records.config()["paths"]["staging"], aside))
    # Before it has any content: after a kill, the next run must know that it owns the tree.
    records.write("owned", "trees", sorted({*owned, tree}))


def boot_files(tree: str, paths: Iterable[str]) -> dict[str, int]:
    """
    Return the sizes in bytes of files that clients fetch from a tree, by path below it.

    tree
        Its path.

    paths
        Paths below it.

    Raises CommandExecutionError when one of them is not there.
    """
    sizes = netboot_images.boot_files(tree, paths)
    absent = [path for path, size in sizes.items() if size is None]
    if absent:
        raise CommandExecutionError(f"{tree} has no {absent[0]}, which the image needs to boot.")
    return {path: size or 0 for path, size in sizes.items()}


def taken_over(records: Records, same: ImageRecord, image: Image) -> ImageRecord:
    """
    Move a tree to the new name of its image; a kill in between costs one unpacking at most.

    records
        The records of this machine.

    same
        The record under the old name.

    image
        The image of the configuration.
    """
    tree = os.path.join(os.path.dirname(same["tree"]), image["label"])
    os.rename(same["tree"], tree)
    record = same.copy()
    record["label"], record["tree"] = image["label"], tree
    records.write("images", image["label"], record)
    records.remove("images", same["label"])
    return record


def renamed(
    records: Records, record: ImageRecord, image: Image, iso: str, test: bool
) -> ImageRecord:
    """
    Put the current names of an image and its ISO on record; their content is unchanged.

    records
        The records of this machine.

    record
        The image's record.

    image
        The image of the configuration.

    iso
        Path of its ISO.

    test
        Only return the record.
    """
    called = {"name": image["name"], "file": os.path.basename(iso), "iso": iso}
    if called.items() <= record.items():
        return record
    record = record.copy()
    record["name"], record["file"], record["iso"] = image["name"], os.path.basename(iso), iso
    if os.path.lexists(iso):
        record["facts"]["tree"]["iso"] = iso_tree.iso(iso)
    if not test:
        records.write("images", image["label"], record)
    return record
