"""
What images were before their last wave: kept on the root's file system, put back without a fetch.

For each image ``root/.previous/LABEL`` has ``iso``, a second link to the ISO, and ``tree``, the
tree that the new one was exchanged with. The record (kind ``previous``) is written before anything
changes, and tells both apart from what a killed apply left by their inodes: wherever an apply is
killed, the next one finds either what is in service or what was before complete.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from typing import Any

import iso_part
import iso_tree
import netboot_files
from netboot_records import Records
from netboot_shapes import Image, ImageRecord


def keep(records: Records, label: str) -> None:
    """
    Keep what an image is now, before a wave changes it; its tree is kept when it is replaced.

    records
        The records of this machine.

    label
        Label of the image, which is in service.
    """
    record, was = records.image(label), records.previous(label)
    if not record:
        return
    if was and was["image"]["iso_sha256"] == record["iso_sha256"]:
        if was["inode"] in (0, _inode(record["tree"]), _inode(slot(records, label, "tree"))):
            return  # by an apply that was killed, or failed
    forget(records, label)
    for directory in (slot(records), slot(records, label)):
        if not os.path.isdir(directory):
            os.mkdir(directory, 0o700)
    path = os.path.join(records.config()["paths"]["dist"], record["file"])
    iso: Any = records.iso(path)
    if not iso or iso["digests"]["sha256"] != record["iso_sha256"]:
        iso = None
    elif not iso.get("dropped"):
        now = netboot_files.identity(path)
        if not now or netboot_files.is_written(now, iso["identity"]):
            iso = None
        else:
            os.link(path, slot(records, label, "iso"))
            # A link changes ctime.
            iso = {**iso, "identity": netboot_files.identity(path)}
            records.write_iso(path, iso)
    tree = 0 if record["form"] == "mount" else _inode(record["tree"]) or 0
    was = {"image": record, "iso": iso, "inode": tree, "back": False}
    records.write("previous", label, was)


def is_due(records: Records, new: ImageRecord, image: Image, old: ImageRecord | None) -> bool:
    """
    Return whether an image has to be kept before its tree is made: a wave brings another revision.

    records
        The records of this machine.

    new, old
        The image's record to be, and as it is.

    image
        The image, of the configuration of an apply.
    """
    another = old and old["iso_sha256"] != new["iso_sha256"]
    # What goes back is kept until it is there; what it leaves is not wanted.
    return bool(another and records.config()["waves"] and not is_held_at(records, image))


def place(records: Records, label: str) -> str | None:
    """
    Return where the tree of an image goes that is about to be replaced; None: it is not kept.

    records
        The records of this machine.

    label
        Label of the image.
    """
    was, tree = records.previous(label), slot(records, label, "tree")
    if not was or not was["inode"] or _inode(was["image"]["tree"]) != was["inode"]:
        return None
    # What an apply that was killed before the exchange had unpacked.
    iso_tree.set_aside(tree, records.config()["paths"]["staging"])
    return tree


def is_held_at(records: Records, image: Image) -> bool:
    """
    Return whether an image is held at what is kept of it: it goes back, or a wave was killed.

    records
        The records of this machine.

    image
        The image, of the configuration of an apply.
    """
    was = records.previous(image["label"])
    sha256 = {"sha256": was["image"]["iso_sha256"]} if was else {}
    return "held" in image and bool(was) and image["checksum"] == sha256


def is_ahead(records: Records, label: str) -> bool:
    """
    Return whether an image on record is another revision than what is kept of it.

    records
        The records of this machine.

    label
        Label of the image.
    """
    was, now = records.previous(label), records.image(label)
    return bool(was and now and now["iso_sha256"] != was["image"]["iso_sha256"])


def is_needless(records: Records, label: str) -> bool:
    """
    Return whether an image is again what is kept of it.

    records
        The records of this machine.

    label
        Label of the image.
    """
    return bool(records.previous(label)) and not is_ahead(records, label)


def is_without_iso(records: Records, image: Image) -> bool:
    """
    Return whether an image is held at what is kept of it, whose ISO was removed after unpacking.

    records
        The records of this machine.

    image
        The image, of the configuration of an apply.
    """
    was = records.previous(image["label"])
    iso = was["iso"] if was and is_held_at(records, image) else None
    return bool(iso and iso.get("dropped")) and is_there(records, image["label"])


def put_back_iso(records: Records, label: str, test: bool) -> bool:
    """
    Put the ISO back that an image had; return whether that changed anything.

    records
        The records of this machine.

    label
        Label of the image, which is held at what it was before.

    test
        Only return whether it would.
    """
    was = records.previous(label)
    if not was:
        return False
    if not was["back"] and not test:
        # First: after a kill the next apply ends it.
        records.write("previous", label, {**was, "back": True})
    known, path = was["iso"], os.path.join(records.config()["paths"]["dist"], was["image"]["file"])
    if not known:
        return False
    if known.get("dropped"):
        if not test and _is_ours(records, path):
            os.unlink(path)  # of the wave, which was killed or could not drop it
        if not test and not os.path.lexists(path):
            records.write_iso(path, known)
        return False
    inode = (known["identity"] or {}).get("inode")
    changed = _inode(path) != inode
    if changed:
        kept = slot(records, label, "iso")
        if _inode(kept) != inode:
            return False
        if test:
            return True
        link = f"{kept}.back"
        with contextlib.suppress(FileNotFoundError):
            os.unlink(link)
        os.link(kept, link)
        os.rename(link, path)
        netboot_files.sync_directory(os.path.dirname(path))
    now = records.iso(path)
    if test:
        return False
    if changed or not now or now["digests"] != known["digests"]:
        identity = netboot_files.identity(path)
        if identity and not netboot_files.is_written(identity, known["identity"] or {}):
            records.write_iso(path, {**known, "identity": identity})
    return changed


def put_back_tree(records: Records, label: str, test: bool) -> bool:
    """
    Put the tree back that an image had, in one step; return whether that changed anything.

    records
        The records of this machine.

    label
        Label of the image, which is held at what it was before.

    test
        Do nothing.
    """
    was, now = records.previous(label), records.image(label)
    if test or not was or not was["inode"] or (now and now["form"] == "mount"):
        return False
    record = was["image"]
    kept = slot(records, label, "tree")
    changed = _inode(record["tree"]) != was["inode"]
    if changed:
        if _inode(kept) != was["inode"]:
            return False
        iso_tree.exchange(kept, record["tree"])
    if now and now["iso_sha256"] != record["iso_sha256"]:
        records.write("images", label, record)
        if now["tree"] != record["tree"]:
            iso_tree.set_aside(now["tree"], records.config()["paths"]["staging"])
    return changed


def forget(records: Records, label: str) -> None:
    """
    Remove what an image was before. A tree in use goes later.

    records
        The records of this machine.

    label
        Label of the image.
    """
    top, was = slot(records, label), records.previous(label)
    records.remove("previous", label)
    if not os.path.isdir(top):
        return
    files = [one["file"] for one in (was and was["image"], records.image(label)) if one]
    paths = {os.path.join(records.config()["paths"]["dist"], file) for file in files}
    isos: Any = {path: records.iso(path) for path in paths}
    same = {
        path: iso
        for path, iso in isos.items()
        if iso and iso["identity"] == netboot_files.identity(path)
    }
    iso_tree.set_aside(os.path.join(top, "tree"), records.config()["paths"]["staging"])
    shutil.rmtree(top)
    for path, iso in same.items():
        # One link less is another ctime.
        identity = netboot_files.identity(path)
        if identity != iso["identity"]:
            iso["identity"] = identity
            records.write_iso(path, iso)
    with contextlib.suppress(OSError):
        os.rmdir(os.path.dirname(top))


def forgettable(records: Records, through: bool, keep: list[Any]) -> list[str]:
    """
    List the labels of images of which nothing needs to be kept any more.

    records
        The records of this machine.

    through
        Whether the last wave is through.

    keep
        The images of the configuration that stay.
    """
    labels = [] if through else [image["label"] for image in keep]
    slots = os.listdir(slot(records)) if os.path.isdir(slot(records)) else []
    known = {label for label in records.names("previous") if label in labels}
    return sorted({*records.names("previous"), *slots} - known)


def is_there(records: Records, label: str) -> bool:
    """
    Return whether an image can go back: its record tells of something that was kept.

    records
        The records of this machine.

    label
        Label of the image.
    """
    was = records.previous(label)
    if not was:
        return False
    places = (was["image"]["tree"], slot(records, label, "tree"))
    iso = was["iso"] and (was["iso"].get("dropped") or os.path.exists(slot(records, label, "iso")))
    return was["inode"] in map(_inode, places) if was["inode"] else bool(iso)


def slot(records: Records, *names: str) -> str:
    """
    Return where what images were is kept.

    records
        The records of this machine.

    names
        Label of the image, and ``iso`` or ``tree``.
    """
    config = records.config()
    # Not in the paths of earlier versions.
    top = config["paths"].get("previous", f"{config['root']}/.previous")
    return os.path.join(top, *names)


def _is_ours(records: Records, path: str) -> bool:
    """Return whether these states fetched an ISO, by its record or the note of a killed run."""
    record = records.iso(path)
    now = netboot_files.identity(path)
    if not now:
        return False
    if record and record.get("source") and record["identity"] == now:
        return True
    part = iso_part.part_path(records.config()["paths"]["staging"], path)
    return iso_part.read_note(part).get("inode") == now["inode"]


def _inode(path: str) -> int | None:
    try:
        return os.lstat(path).st_ino
    except (FileNotFoundError, NotADirectoryError):
        return None
