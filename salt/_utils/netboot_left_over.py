"""
What these states own on a netboot server but is no longer in the pillar, and its removal.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from typing import Any

from salt.exceptions import CommandExecutionError

import netboot_in_use
from netboot_answering import installed_from
from netboot_images import is_owned_iso
from netboot_names import some
from netboot_records import Records

Item = dict[str, Any]


def removable(records: Records, keep: list[Any]) -> list[Item]:
    """
    List what these states own but is no longer in the pillar.

    records
        The records of this machine.

    keep
        Maps with ``label`` and ``file`` of the images to keep.

    Returns a list of maps: ``kind`` (``tree``, ``mount`` or ``iso``), ``path``, ``record`` (its
    name), ``bytes``, and ``why_not``: why it cannot be removed now, or an empty string.
    """
    labels = {image["label"] for image in keep}
    files = {image["file"] for image in keep}
    # ISOs that wait, see netboot_held.
    files.update(image["held"]["pillar"]["file"] for image in keep if "held" in image)
    found: list[Item] = []
    for record in records.images():
        if record["label"] in labels:
            files.add(record["file"])  # of an image whose new ISO is still being fetched
        else:
            kind = "mount" if record.get("form") == "mount" else "tree"
            found.append(
                {
                    "kind": kind,
                    "path": record["tree"],
                    "record": record["label"],
                    "bytes": 0 if kind == "mount" else record["facts"]["tree"]["bytes"],
                }
            )
    for name in records.names("isos"):
        path = os.path.join(records.config()["paths"]["dist"], name)
        if name not in files and (is_owned_iso(records, path) or not os.path.lexists(path)):
            iso = records.iso(name)
            size = iso["size"] if iso else 0
            found.append({"kind": "iso", "path": path, "record": name, "bytes": size})
    in_use = netboot_in_use.in_use([one["path"] for one in found])
    since = _out_of_service(records, [one["path"] for one in found])
    for one in found:
        wait_s = netboot_in_use.nfs_wait_s(since[one["path"]])
        one["why_not"] = ""
        if one["path"] in in_use:
            one["why_not"] = "it is in use"
        elif hosts := _installed_from(records, one):
            one["why_not"] = f"{some(hosts)} {'are' if len(hosts) > 1 else 'is'} being installed"
        elif wait_s:
            one["why_not"] = f"NFS clients may need it for {wait_s / 3600:.0f} more hours"
    return found


def _installed_from(records: Records, item: Item) -> list[str]:
    if item["kind"] != "iso":
        return installed_from(records, item["record"])
    labels = [one["label"] for one in records.images() if one["file"] == item["record"]]
    return [host for label in labels for host in installed_from(records, label)]


def remember_out_of_service(records: Records, paths: list[str]) -> None:
    """
    Keep on record since when paths are no longer in the pillar, for the grace time of NFS clients.

    records
        The records of this machine.

    paths
        All such paths.
    """
    since = _out_of_service(records, paths)
    if since != records.owned("out-of-service", {}):
        records.write("owned", "out-of-service", since)


def _out_of_service(records: Records, paths: list[str]) -> dict[str, int]:
    known = records.owned("out-of-service", {})
    now = int(time.time())
    return {path: known.get(path, now) for path in paths}


def remove(records: Records, item: Item) -> None:
    """
    Remove a tree or ISO that these states own, and its record. A loop mount must be unmounted.

    A tree moves to the staging directory first, so that it is never served partially.

    records
        The records of this machine.

    item
        An item of the list from ``removable``.
    """
    if item["kind"] == "iso":
        with contextlib.suppress(FileNotFoundError):
            os.unlink(item["path"])
        records.remove("isos", item["record"])
        return
    if os.path.ismount(item["path"]):
        raise CommandExecutionError(f"{item['path']} is still mounted; unmount it first.")
    if os.path.isdir(item["path"]):
        work = tempfile.mkdtemp(prefix="unpack-", dir=records.config()["paths"]["staging"])
        os.rename(item["path"], work)
        shutil.rmtree(work, ignore_errors=True)  # otherwise the next sweep does it
        with contextlib.suppress(OSError):
            os.rmdir(os.path.dirname(item["path"]))  # if it was the last of its arch
    records.remove("images", item["record"])
