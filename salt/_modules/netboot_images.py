"""
The life of an image on a netboot server: what its boot entries need of it, whether that is there,
what is here at all, and what may go.

What these states own is on record: a tree or loop mount by its ``images`` record, an ISO by the
``source`` in its ``isos`` record, which only a fetch leaves there.
"""

import contextlib
import os
import shutil
import tempfile
import time

from salt.exceptions import CommandExecutionError

__virtualname__ = "netboot_images"

# The fact that says which stage a variant boots
STAGE_OF = {"livecd": "livecd", "install": "installer", "rescue": "rescue"}


def __virtual__():
    return __virtualname__


def needs(record, asked=""):
    """
    Say what the boot entries of an image need on this machine.

    record
        The image, as ``netboot.images`` lists it.

    asked : ""
        ``stages`` or ``tree``, when the pillar wants more unpacked than the entries need.

    Returns a map: ``form`` (``boot``: kernel and initrd; ``stages``: these and the stages that are
    loaded from the tree; ``tree``: all, which an installation from the tree needs), ``files``,
    their paths in the image, and ``iso``, the ids of the entries that need the ISO itself.

    Raises CommandExecutionError when the applied configuration isn't on record.

    CLI Example:

    .. code-block:: bash

        salt 'netboot*' netboot_images.needs '{...}' stages
    """
    facts = record["facts"]
    entries = __salt__["netboot_entries.build"](_applied(), [record])["entries"]
    stages = {
        facts["stages"][facts[STAGE_OF[entry["variant"]]]["stage"]]["path"]
        for entry in entries
        if entry["files"] != "boot"
    }
    form = "stages" if stages else "boot"
    if "tree" in [asked, *(entry["files"] for entry in entries)]:
        form = "tree"
    elif asked:
        form = asked
    if asked or form == "tree":
        stages.update(stage["path"] for stage in facts["stages"].values())
    return {
        "form": form,
        "files": sorted({facts["kernel"], facts["initrd"], *stages}),
        "iso": [entry["id"] for entry in entries if entry["needs_iso"]],
    }


def needs_of(record, image):
    """
    Say what the boot entries of an image need, as ``needs`` does, under the pillar's name for it.

    record
        The image's record.

    image
        The image, as ``netboot.config`` resolves it.

    Raises CommandExecutionError when the pillar wants the ISO removed that an entry boots.

    CLI Example:

    .. code-block:: bash

        salt 'netboot*' netboot_images.needs_of '{...}' '{...}'
    """
    named = {**record, "name": image["name"], "label": image["label"]}
    needed = needs(named, image["unpack"])
    if needed["iso"] and not image["keep_iso"]:
        raise CommandExecutionError(
            f"netboot:images:{image['name']}:keep_iso is false, but {', '.join(needed['iso'])} "
            "boots the whole ISO; leave it out of the image's variants, or keep the ISO."
        )
    return needed


def check_before_fetch(image, iso, checksum):
    """
    Raise as ``needs_of`` does if an ISO was unpacked here before, so that it isn't fetched in vain.

    image
        The image, as ``netboot.config`` resolves it.

    iso
        Path of its ISO.

    checksum
        The ISO's digests in the pillar, by algorithm.

    CLI Example:

    .. code-block:: bash

        salt 'netboot*' netboot_images.check_before_fetch '{...}' /srv/export/dist/a.iso '{...}'
    """
    record = __salt__["netboot_records.read"]("images", image["label"])
    known = __salt__["netboot_records.read"]("isos", os.path.basename(iso))
    if (
        record
        and known
        and known["digests"]["sha256"] == record["iso_sha256"]
        and all(known["digests"].get(kind) == digest for kind, digest in checksum.items())
    ):
        needs_of(record, image)


def is_current(record, image, iso_sha256):
    """
    Say whether an image's tree on record is what its ISO, the pillar and its entries ask for.

    record
        The image's record, or None.

    image
        The image, as ``netboot.config`` resolves it.

    iso_sha256
        SHA-256 of the verified ISO.

    No file is read; those that clients fetch must be there with size, times and inode on record.

    Raises CommandExecutionError as ``needs_of`` does.

    CLI Example:

    .. code-block:: bash

        salt 'netboot*' netboot_images.is_current '{...}' '{...}' 01ab...
    """
    if (
        not record
        or "form" not in record
        or record["iso_sha256"] != iso_sha256
        or record["overrides"] != image["overrides"]
        or record["facts"]["tree"]["layout"] != __salt__["alt_iso.layout"]()
        or (record["form"] == "mount") != image["mount"]
    ):
        return False
    if not image["mount"]:
        needed = needs_of(record, image)
        if record["form"] != "tree" and (
            needed["form"] == "tree" or not set(needed["files"]) <= set(record["boot_files"])
        ):
            return False
    return boot_files(record["tree"], record["boot_files"]) == record["boot_files"] and all(
        __salt__["iso_fetch.identity"](os.path.join(record["tree"], path)) == identity
        for path, identity in record.get("identities", {}).items()
    )


def boot_files(tree, paths):
    """
    Return the sizes in bytes of files that clients fetch from a tree, by path; None if absent.

    tree
        The folder.

    paths
        Paths below it.

    CLI Example:

    .. code-block:: bash

        salt 'netboot*' netboot_images.boot_files /srv/export/tftp/netboot/x86_64/a '[live]'
    """
    sizes = {}
    for path in paths:
        try:
            sizes[path] = os.stat(os.path.join(tree, path)).st_size
        except (FileNotFoundError, NotADirectoryError):
            sizes[path] = None
    return sizes


def rotten(record):
    """
    Hash the kernel, initrd and stages that clients fetch from a tree.

    record
        The image's record.

    Returns the paths below the tree of those that are not what was unpacked.

    CLI Example:

    .. code-block:: bash

        salt 'netboot*' netboot_images.rotten '{...}'
    """
    return [
        path
        for path in record["boot_files"]
        if __salt__["iso_fetch.digests"](os.path.join(record["tree"], path), [])["digests"]
        != {"sha256": record["facts"]["sha256"][path]}
    ]


def same_elsewhere(image, iso_sha256, folder):
    """
    Return the record of another name's tree that this image can take over, or None.

    So an image that was renamed in the pillar is not unpacked again. A tree that the pillar still
    names, or that somebody is reading, stays where it is.

    image
        The image, as ``netboot.config`` resolves it.

    iso_sha256
        SHA-256 of the verified ISO.

    folder
        The folder of all trees: others are not looked at.

    CLI Example:

    .. code-block:: bash

        salt 'netboot*' netboot_images.same_elsewhere '{...}' 01ab... /srv/export/tftp/netboot
    """
    named = {one["label"] for one in _applied()["images"]} | {image["label"]}
    for record in __salt__["netboot.images"]():
        if (
            record["label"] not in named
            and not image["mount"]
            and os.path.dirname(os.path.dirname(record["tree"])) == folder
            and is_current(record, image, iso_sha256)
            and not os.path.lexists(os.path.join(os.path.dirname(record["tree"]), image["label"]))
            and not __salt__["netboot_readers.in_use"]([record["tree"]])
        ):
            return record
    return None


def dropped(iso, checksum):
    """
    Return the record of an ISO that was removed once it was unpacked, as the pillar had asked.

    iso
        Its path.

    checksum
        Its digests in the pillar, by algorithm: None is returned when they are of another ISO.

    CLI Example:

    .. code-block:: bash

        salt 'netboot*' netboot_images.dropped /srv/export/dist/a.iso '{sha256: ...}'
    """
    record = __salt__["netboot_records.read"]("isos", os.path.basename(iso))
    if not record or not record.get("dropped") or os.path.lexists(iso):
        return None
    if any(record["digests"].get(kind) != digest for kind, digest in checksum.items()):
        return None
    return record


def is_enough_without_iso(image, iso, checksum):
    """
    Say whether an image is whole although its ISO was dropped, so that it isn't fetched again.

    image
        The image, as ``netboot.config`` resolves it.

    iso
        Path of its ISO.

    checksum
        The ISO's digests in the pillar, by algorithm.

    CLI Example:

    .. code-block:: bash

        salt 'netboot*' netboot_images.is_enough_without_iso '{...}' /srv/export/dist/a.iso '{...}'
    """
    verified = dropped(iso, checksum)
    if not verified:
        return False
    sha256 = verified["digests"]["sha256"]
    record = __salt__["netboot_records.read"]("images", image["label"])
    folder = os.path.join(_applied()["root"], "tftp/netboot")
    if record and record["tree"].startswith(f"{folder}/") and is_current(record, image, sha256):
        return True
    return bool(same_elsewhere(image, sha256, folder))


def drop_iso(iso):
    """
    Remove an ISO that is unpacked, and remember which one it was.

    Returns what came of it in one sentence. It stays when these states did not fetch it, and while
    somebody reads it.

    iso
        Its path.

    CLI Example:

    .. code-block:: bash

        salt 'netboot*' netboot_images.drop_iso /srv/export/dist/alt-server-11.0-x86_64.iso
    """
    if not is_owned_iso(iso):
        return f"{iso} stays, as these states did not fetch it."
    if __salt__["netboot_readers.in_use"]([iso]):
        return f"{iso} is being read, and will be removed by a later apply."
    name = os.path.basename(iso)
    record = __salt__["netboot_records.read"]("isos", name)
    # first, so that a run that is killed here isn't followed by another fetch
    __salt__["netboot_records.write"]("isos", name, {**record, "dropped": True})
    os.unlink(iso)
    return f"{iso} was removed."


def is_owned_iso(iso):
    """
    Say whether a file is the very ISO that these states fetched.

    iso
        Its path.

    CLI Example:

    .. code-block:: bash

        salt 'netboot*' netboot_images.is_owned_iso /srv/export/dist/alt-server-11.0-x86_64.iso
    """
    record = __salt__["netboot_records.read"]("isos", os.path.basename(iso))
    return bool(
        record
        and record.get("source")
        and record["identity"] == __salt__["iso_fetch.identity"](iso)
    )


def same_iso(folder, checksum, files):
    """
    Return the path of an ISO with given digests that is no longer wanted under its name, or None.

    folder
        Folder of the ISOs.

    checksum
        The digests, by algorithm.

    files
        Names of files that are still wanted, which are not looked at.

    CLI Example:

    .. code-block:: bash

        salt 'netboot*' netboot_images.same_iso /srv/export/dist '{sha256: ...}' '[]'
    """
    if not checksum:
        return None
    for name in __salt__["netboot_records.names"]("isos"):
        path = os.path.join(folder, name)
        digests = __salt__["netboot_records.read"]("isos", name)["digests"]
        if (
            name not in files
            and all(digests.get(kind) == digest for kind, digest in checksum.items())
            and is_owned_iso(path)
            and not __salt__["netboot_readers.in_use"]([path])
        ):
            return path
    return None


def rename_iso(old, new):
    """
    Rename an ISO that these states fetched, and its record.

    old, new
        Its paths, in one folder.

    CLI Example:

    .. code-block:: bash

        salt 'netboot*' netboot_images.rename_iso /srv/export/dist/a.iso /srv/export/dist/b.iso
    """
    record = __salt__["netboot_records.read"]("isos", os.path.basename(old))
    os.rename(old, new)
    record["identity"] = __salt__["iso_fetch.identity"](new)  # a rename changes ctime
    __salt__["netboot_records.write"]("isos", os.path.basename(new), record)
    __salt__["netboot_records.remove"]("isos", os.path.basename(old))


def removable(root, keep):
    """
    List what these states own and the pillar no longer names.

    root
        The folder that is served.

    keep
        Maps with ``label`` and ``file`` of the images to keep.

    Returns a list of maps: ``kind`` (``tree``, ``mount`` or ``iso``), ``path``, ``record`` (its
    name), ``bytes``, and ``why_not``: why it can't be removed now, or an empty text.

    CLI Example:

    .. code-block:: bash

        salt 'netboot*' netboot_images.removable /srv/export '[]'
    """
    labels = {image["label"] for image in keep}
    files = {image["file"] for image in keep}
    found = []
    for record in __salt__["netboot.images"]():
        if record["label"] in labels:
            files.add(record["file"])  # of an image whose new ISO is still on its way
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
    for name in __salt__["netboot_records.names"]("isos"):
        path = os.path.join(root, "dist", name)
        if name not in files and (is_owned_iso(path) or not os.path.lexists(path)):
            size = __salt__["netboot_records.read"]("isos", name)["size"]
            found.append({"kind": "iso", "path": path, "record": name, "bytes": size})
    in_use = __salt__["netboot_readers.in_use"]([one["path"] for one in found])
    since = _out_of_service([one["path"] for one in found])
    for one in found:
        wait_s = __salt__["netboot_readers.nfs_wait_s"](since[one["path"]])
        one["why_not"] = ""
        if one["path"] in in_use:
            one["why_not"] = "somebody is reading it"
        elif wait_s:
            one["why_not"] = f"NFS clients may want it for {wait_s / 3600:.0f} more hours"
    return found


def remember_out_of_service(paths):
    """
    Keep on record since when paths are no longer named, for what NFS clients are granted.

    paths
        All such paths.

    CLI Example:

    .. code-block:: bash

        salt 'netboot*' netboot_images.remember_out_of_service '[/srv/export/dist/a.iso]'
    """
    since = _out_of_service(paths)
    if since != (__salt__["netboot_records.read"]("owned", "out-of-service") or {}):
        __salt__["netboot_records.write"]("owned", "out-of-service", since)


def _out_of_service(paths):
    known = __salt__["netboot_records.read"]("owned", "out-of-service") or {}
    now = int(time.time())
    return {path: known.get(path, now) for path in paths}


def remove(item, staging):
    """
    Remove a tree or ISO that these states own, and its record. A loop mount is unmounted before.

    item
        What ``removable`` listed.

    staging
        Folder on the same filesystem, closed to others: a tree goes there first, so that no half
        of it is ever served.

    CLI Example:

    .. code-block:: bash

        salt 'netboot*' netboot_images.remove '{kind: tree, path: ..., record: ...}' /srv/x/.staging
    """
    if item["kind"] == "iso":
        with contextlib.suppress(FileNotFoundError):
            os.unlink(item["path"])
        __salt__["netboot_records.remove"]("isos", item["record"])
        return
    if os.path.ismount(item["path"]):
        raise CommandExecutionError(f"{item['path']} is still mounted; unmount it.")
    if os.path.isdir(item["path"]):
        work = tempfile.mkdtemp(prefix="unpack-", dir=staging)
        os.rename(item["path"], work)
        shutil.rmtree(work, ignore_errors=True)  # else the next sweep does it
        with contextlib.suppress(OSError):
            os.rmdir(os.path.dirname(item["path"]))  # the last one of its arch
    __salt__["netboot_records.remove"]("images", item["record"])


def _applied():
    applied = __salt__["netboot_records.read"]("applied", "config")
    if applied is None:
        raise CommandExecutionError(
            "Nothing was applied to this machine yet; apply netboot.images, which puts the "
            "configuration on record first."
        )
    return applied
