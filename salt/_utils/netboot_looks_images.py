"""
Looks of ``netboot.doctor`` at what clients fetch: ISOs, trees, menus, boot loaders.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import netboot_files
import netboot_images
import netboot_looks
import netboot_secure_boot
from netboot_looks import Case
from netboot_names import iso8601, some
from netboot_shapes import Finding

_OLD_S = 180 * 86400
_MOUNTINFO = "/proc/self/mountinfo"
_BLOCK = "/sys/block"


def _isos(case: Case) -> Iterator[Finding]:
    if not case.applied:
        return
    for image in case.applied["images"]:
        record = case.records.iso(image["file"])
        path = os.path.join(case.applied["paths"]["dist"], image["file"])
        if not record or record.get("dropped"):
            continue
        if not os.path.exists(path):
            if image["keep_iso"]:
                text = f"{path} is gone: state.apply netboot.images fetches it again."
                yield ("iso.gone", "error", text)
        elif record["verified_at"] < case.now - _OLD_S:
            text = (
                f"{path} was last verified on {iso8601(record['verified_at'])[:10]}: "
                f"./netboot verify '{image['name']}'."
            )
            yield ("iso.old_digest", "info", text)


def _changed(case: Case) -> Iterator[Finding]:
    if not case.applied:
        return
    root = case.applied["root"]
    paths = [f"{root}{path}" for path in netboot_images.changed(case.records)]
    if paths:
        text = f"{some(paths)}: not what was verified or unpacked; apply the states again."
        yield ("image.changed", "error", text)
    gone = [
        os.path.join(record["tree"], path)
        for record in case.records.ready()
        if record.get("form") not in (None, "mount") and os.path.isdir(record["tree"])
        for path in record["boot_files"]
        if not os.path.exists(os.path.join(record["tree"], path))
    ]
    if gone:
        text = f"{some(gone)}: gone from the image; state.apply netboot.images unpacks it again."
        yield ("image.incomplete", "error", text)


def _mounts(case: Case) -> Iterator[Finding]:
    mounted = netboot_looks.mounts(netboot_files.read(_MOUNTINFO) or "")
    for record in case.records.ready() if case.applied else ():
        tree = record.get("tree", "")
        if record.get("form") == "mount" and tree not in mounted:
            text = f"{tree} is not mounted: mount {tree}, or state.apply netboot.images."
            yield ("mount.missing", "error", text)
        elif tree in mounted and _is_stale(tree, mounted[tree]):
            text = f"{tree} is a stale mount: umount {tree}, then state.apply netboot.images."
            yield ("mount.stale", "error", text)


def _is_stale(tree: str, device: str) -> bool:
    """Return whether a mount cannot be read, or is of an ISO that was removed since."""
    try:
        os.listdir(tree)
    except OSError:
        return True
    iso = netboot_files.read(f"{_BLOCK}/{os.path.basename(device)}/loop/backing_file") or ""
    # drivers/block/loop.c writes it by d_path(9).
    return iso.rstrip("\n").endswith(" (deleted)")


def _boot_files(case: Case) -> Iterator[Finding]:
    if not case.applied or case.records.out_of_service():
        return
    tftp = case.applied["paths"]["tftp"]
    for kind, key, step in (("menus", "menu", "menus"), ("firmware", "loader", "firmware")):
        names: list[str] = case.records.owned(kind, [])
        gone = [name for name in names if not os.path.exists(os.path.join(tftp, name))]
        if gone:
            text = f"{some(gone)}: gone from {tftp}; state.apply netboot.{step} writes it again."
            yield (f"{key}.gone", "error", text)
        empty = [
            name for name in names if name not in gone and not os.path.getsize(f"{tftp}/{name}")
        ]
        if empty:
            text = f"{some(empty)}: empty in {tftp}; state.apply netboot.{step} writes it again."
            yield (f"{key}.empty", "error", text)


def _modes(case: Case) -> Iterator[Finding]:
    if not case.applied or case.records.out_of_service():
        return
    paths = case.applied["paths"]
    served = [os.path.join(paths["tftp"], name) for name in case.records.owned("menus", [])]
    served += (os.path.join(paths["tftp"], name) for name in case.records.owned("firmware", []))
    served += (paths["dist"], paths["dnsmasq"])
    for record in case.records.ready():
        served += ([record["iso"]] if "iso" in record else []) if record else []
        if record.get("form") not in (None, "mount"):
            served += (os.path.join(record["tree"], path) for path in record["boot_files"])
    closed = dict.fromkeys(filter(None, map(netboot_looks.closed, served)))
    if closed:
        text = f"Services may not read {some(closed)}: chmod o+rX {' '.join(list(closed)[:5])}."
        yield ("mode.unreadable", "error", text)


def _secure_boot(case: Case) -> Iterator[Finding]:
    if case.applied:
        yield from netboot_secure_boot.findings(case.records)


#: By words for what is looked at.
LOOKS = {
    "the ISOs": _isos,
    "whether files are those that were verified": _changed,
    "mounted images": _mounts,
    "menus and boot loaders": _boot_files,
    "whether services may read what they serve": _modes,
    "what Secure Boot would refuse": _secure_boot,
}
