"""
Keep ALT's images on a netboot server ready for booting: unpacked or mounted, and no others.
"""

import os
import time

from salt.exceptions import CommandExecutionError, SaltInvocationError

__virtualname__ = "alt_image"


# What the pillar may say instead of the ISO: fact -> key below netboot:images:NAME.
OVERRIDES = {"arch": "alt_arch", "dialect": "dialect", "kernel": "kernel", "initrd": "initrd"}

# A hostile ISO can have any number of entries that are not unpacked; so many are worth a record.
REJECTED_SHOWN = 20


def __virtual__():
    return __virtualname__


def _verified(path, checksum):
    """The record of a verified ISO, if the file is still the one that was hashed, else None."""
    record = __salt__["netboot_records.read"]("isos", os.path.basename(path))
    if not record:
        return None
    if record["identity"] != __salt__["iso_fetch.identity"](path) and not record.get("renamed"):
        return None
    if any(record["digests"].get(kind) != digest for kind, digest in checksum.items()):
        return None
    return record


def unpacked(name, iso, image, checksum, staging):
    """
    Ensure that what the boot entries need of a verified ISO is unpacked, and its facts on record.

    How much that is follows from the entries: kernel and initrd, these and stages, or all. An image
    that was renamed in the pillar takes its tree along. With ``keep_iso: false`` the ISO is removed
    afterwards.

    name
        Folder that holds the trees of all images: the tree goes to ``<arch>/<label>`` below it.

    iso
        Path of the ISO (absolute).

    image
        The image, as ``netboot.config`` resolves it (``name``, ``label``, ``overrides``,
        ``unpack``, ``mount``, ``keep_iso``, ``verify``: ``always`` hashes what boots each time, and
        unpacks it again if it rotted).

    checksum
        Expected digests of the ISO, as for ``alt_iso.fetched``.

    staging
        Folder on the same filesystem, closed to others, for the tree while it is half built.

    ``changes`` has the folder of the tree, and the ISO when it was removed. Under ``test=True``
    nothing is read from the ISO. Needs the applied configuration on record.

    .. code-block:: yaml

        netboot-image-alt-server-11-ready:
          alt_image.unpacked:
            - name: /srv/export/tftp/netboot
            - iso: /srv/export/dist/alt-server-11.0-x86_64.iso
            - image:
                name: ALT Server 11
                label: alt_server_11
                overrides: {}
                unpack: ''
                mount: false
                keep_iso: true
                verify: changed
            - checksum: {sha256: ...}
            - staging: /srv/export/.staging
    """
    ret = {"name": name, "result": True, "changes": {}, "comment": ""}
    try:
        verified = _verified(iso, checksum) or __salt__["netboot_images.dropped"](iso, checksum)
        old = __salt__["netboot_records.read"]("images", image["label"])
        if _is_current(name, old, image, verified) and not _rotted(old, image, iso):
            ret["comment"] = f"{old['tree']} is up to date."
            record = old
        elif __opts__["test"]:
            return _foretold(ret, name, iso, image, verified)
        else:
            sha256 = _sha256(verified, iso)
            same = __salt__["netboot_images.same_elsewhere"](image, sha256, name)
            if same:
                record = _taken_over(same, image)
                ret["comment"] = f"{same['tree']} became {record['tree']}."
                ret["changes"] = {record["tree"]: f"renamed from {same['tree']}"}
            else:
                record = _unpacked(name, iso, image, sha256, staging, old)
                ret["comment"] = f"{iso} was unpacked to {record['tree']} ({record['form']})."
                ret["changes"] = {record["tree"]: f"unpacked from {iso}"}
                ret["warnings"] = _rejected(iso, record)
        _renamed(record, image, iso)
        _drop_iso(ret, iso, image)
        ret["warnings"] = ret.get("warnings", []) + record["contradictions"]
    except (CommandExecutionError, SaltInvocationError, OSError) as err:
        ret.update(result=False, changes={}, comment=str(err))
    return ret


def _is_current(folder, old, image, verified):
    if not (verified and old and old["tree"].startswith(f"{folder}/")):
        return False
    return __salt__["netboot_images.is_current"](old, image, verified["digests"]["sha256"])


def _rotted(record, image, iso):
    """Whether a tree is not what was unpacked; looked at only if the pillar wants it each time."""
    if image["verify"] != "always" or __opts__["test"]:
        return False
    rotten = __salt__["netboot_images.rotten"](record)
    if rotten and not os.path.lexists(iso):
        # It isn't current any more, for the next apply to fetch the ISO.
        record["identities"].update(dict.fromkeys(rotten))
        __salt__["netboot_records.write"]("images", image["label"], record)
        raise CommandExecutionError(
            f"{record['tree']} rotted ({', '.join(rotten)}); apply again, which fetches {iso}."
        )
    return bool(rotten)


def _foretold(ret, folder, iso, image, verified):
    same = verified and __salt__["netboot_images.same_elsewhere"](
        image, verified["digests"]["sha256"], folder
    )
    ret["result"] = None
    if same:
        # as ``pruned`` will find it
        record = {**same, "label": image["label"]}
        __salt__["netboot_records.foretell"]("images", same["label"], record)
        ret["changes"] = {image["label"]: f"would be renamed from {same['tree']}"}
        ret["comment"] = f"{same['tree']} would become {image['label']}."
    else:
        ret["changes"] = {image["label"]: f"would be unpacked from {iso}"}
        ret["comment"] = f"{iso} would be unpacked below {folder}."
    return ret


def _sha256(verified, iso):
    if not verified:
        raise CommandExecutionError(f"{iso} is not there or not verified; it is not unpacked.")
    return verified["digests"]["sha256"]


def _keep_foreign(tree, staging):
    """Move a folder out of the way that these states did not make, and that is not empty."""
    owned = __salt__["netboot_records.read"]("owned", "trees") or []
    owned += [image["tree"] for image in __salt__["netboot.images"]()]
    if tree not in owned:
        if os.path.ismount(tree):
            # With other options than ours: perhaps clients may not read all of it.
            raise CommandExecutionError(
                f"Something is mounted on {tree} that these states did not mount; unmount it and "
                "take its line out of /etc/fstab."
            )
        if os.path.isdir(tree) and os.listdir(tree):
            # Under a name that alt_iso.sweep doesn't know.
            aside = f"foreign.{os.path.basename(tree)}.{int(time.time())}"
            os.rename(tree, os.path.join(staging, aside))
        # Before anything lies there: a run that is killed still knows whose it is.
        __salt__["netboot_records.write"]("owned", "trees", sorted({*owned, tree}))


def _unpacked(folder, iso, image, sha256, staging, old):
    """Unpack what the entries need, and put it on record."""
    record = _inspected(folder, iso, image, sha256)
    needed = __salt__["netboot_images.needs_of"](record, image)
    _unmount(old)
    os.makedirs(os.path.dirname(record["tree"]), mode=0o755, exist_ok=True)
    _keep_foreign(record["tree"], staging)
    names = None if needed["form"] == "tree" else needed["files"]
    facts = __salt__["alt_iso.unpack"](
        iso, record["tree"], staging, image["name"], _overrides(image), names
    )
    record["facts"] = {**facts, "rejected": facts["rejected"][:REJECTED_SHOWN]}
    record["form"] = needed["form"]
    record["boot_files"] = _boot_files(record["tree"], needed["files"])
    record["identities"] = {
        path: __salt__["iso_fetch.identity"](os.path.join(record["tree"], path))
        for path in needed["files"]
    }
    __salt__["netboot_records.write"]("images", image["label"], record)
    if old and old["tree"] != record["tree"] and old["tree"].startswith(f"{folder}/"):
        # Its arch in the pillar is another now.
        __salt__["alt_iso.set_aside"](old["tree"], staging)
        __salt__["alt_iso.sweep"](staging, None)  # parts of ISOs stay
    return record


def _inspected(folder, iso, image, sha256):
    """The record of an image as far as it can be told before it is unpacked."""
    facts = __salt__["alt_iso.inspect"](iso, image["name"])
    said = _overrides(image)
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
            (entry,) = __salt__["iso9660.find"](iso, [said[fact]])
        except CommandExecutionError as err:
            raise CommandExecutionError(f"{key} can't be used: {err}") from err
        if entry["type"] != "file":
            raise CommandExecutionError(
                f"{key} can't be used: in {iso} {said[fact]} is a {entry['type']}, not a file."
            )
    return {
        "name": image["name"],
        "label": image["label"],
        "file": os.path.basename(iso),
        "iso": iso,
        "iso_sha256": sha256,
        "overrides": image["overrides"],
        "contradictions": [
            f"netboot:images:{image['name']}:{OVERRIDES[fact]} is {value}, but {iso} says "
            f"{facts[fact]}."
            for fact, value in sorted(said.items())
            if facts[fact] not in ("", value)
        ],
        "tree": os.path.join(folder, said.get("arch", facts["arch"]), image["label"]),
        "facts": {**facts, **said},
    }


def _overrides(image):
    """The facts that the pillar gives instead of the ISO."""
    return {
        fact: image["overrides"][key].lstrip("/")
        for fact, key in OVERRIDES.items()
        if key in image["overrides"]
    }


def _what_is_missing(iso, missing, rejected):
    keys = sorted({key for key in missing.values() if key})
    text = f"{iso} does not tell its {', '.join(sorted(missing))}" + (
        f"; set {', '.join(keys)} in the pillar."
        if all(missing.values())
        else ", and is no image that can be booted over the network."
    )
    if rejected:
        path, reason = rejected[0]["path"], rejected[0]["reason"]
        text += f" Of its entries {len(rejected)} are refused, such as {path!r}: {reason}."
    return text


def _rejected(iso, record):
    return [
        f"{iso}: {one['path']!r} is not unpacked: {one['reason']}"
        for one in record["facts"]["rejected"]
    ]


def _boot_files(tree, paths):
    """The sizes in bytes of the files that clients fetch from a tree, by path below it."""
    sizes = __salt__["netboot_images.boot_files"](tree, paths)
    absent = [path for path, size in sizes.items() if size is None]
    if absent:
        raise CommandExecutionError(f"{tree} has no {absent[0]}, which the image is booted by.")
    return sizes


def _taken_over(same, image):
    """Give a tree to the new name of its image; a kill in between costs an unpacking at most."""
    tree = os.path.join(os.path.dirname(same["tree"]), image["label"])
    os.rename(same["tree"], tree)
    record = {**same, "label": image["label"], "tree": tree}
    __salt__["netboot_records.write"]("images", image["label"], record)
    __salt__["netboot_records.remove"]("images", same["label"])
    return record


def _renamed(record, image, iso):
    """Put on record what an image and its ISO are called now; their bytes are the same."""
    called = {"name": image["name"], "file": os.path.basename(iso), "iso": iso}
    if called.items() <= record.items():
        return record
    record = {**record, **called}
    if os.path.lexists(iso):
        record["facts"]["tree"]["iso"] = __salt__["alt_iso.iso"](iso)
    if not __opts__["test"]:
        __salt__["netboot_records.write"]("images", image["label"], record)
    return record


def _drop_iso(ret, iso, image):
    if image["keep_iso"] or not os.path.lexists(iso):
        return
    if __opts__["test"]:
        if __salt__["netboot_images.is_owned_iso"](iso):
            ret["result"] = None
            ret["changes"][iso] = "would be removed"
        return
    ret["comment"] += " " + __salt__["netboot_images.drop_iso"](iso)
    if not os.path.lexists(iso):
        ret["changes"][iso] = "removed"


# Loop mounts. Rock Ridge's modes can be root-only, hence overriderockperm (Linux,
# Documentation/filesystems/isofs.rst); nofail, so that a machine whose ISO is gone still boots.
MOUNT_TYPE = "iso9660"
MOUNT_SHOWN = ["ro", "nodev", "nosuid"]
MOUNT_HIDDEN = ["loop", "nofail", "overriderockperm", "mode=0444", "dmode=0555"]


def mounted(name, iso, image, checksum, staging):
    """
    Ensure that a verified ISO is loop-mounted for clients, after each boot too.

    Instead of unpacking: it costs no disk space. The mount is read-only, without devices and
    setuid, and stands in /etc/fstab. An ISO with entries that would not be unpacked (links out of
    the tree and so on) is not mounted, as the kernel would show them.

    name
        Folder that holds the trees of all images: the mount point is ``<arch>/<label>`` below it.

    iso
        Path of the ISO (absolute).

    image
        The image, as for ``unpacked``.

    checksum
        Expected digests of the ISO, as for ``alt_iso.fetched``.

    staging
        Folder on the same filesystem, closed to others, for a tree that was there before.

    ``changes`` is that of ``mount.mounted``. Under ``test=True`` nothing is read from the ISO.

    .. code-block:: yaml

        netboot-image-alt-server-11-ready:
          alt_image.mounted:
            - name: /srv/export/tftp/netboot
            - iso: /srv/export/dist/alt-server-11.0-x86_64.iso
            - image:
                name: ALT Server 11
                label: alt_server_11
                overrides: {}
                unpack: ''
                mount: true
                keep_iso: true
            - checksum: {sha256: ...}
            - staging: /srv/export/.staging
    """
    ret = {"name": name, "result": True, "changes": {}, "comment": ""}
    try:
        verified = _verified(iso, checksum)
        old = __salt__["netboot_records.read"]("images", image["label"])
        if _is_current(name, old, image, verified):
            record = _renamed(old, image, iso)
            return {**_mount(record), "name": name, "warnings": old["contradictions"]}
        if __opts__["test"]:
            ret["result"] = None
            ret["changes"] = {image["label"]: f"{iso} would be mounted"}
            ret["comment"] = f"{iso} would be mounted below {name}."
            return ret
        record = _inspected(name, iso, image, _sha256(verified, iso))
        facts = record["facts"]
        if facts["rejected"]:
            raise CommandExecutionError(
                f"{iso} is not mounted, as clients must not see all of it: "
                f"{_rejected(iso, record)[0]}. Leave netboot:images:{image['name']}:mount out."
            )
        files = sorted(
            {facts["kernel"], facts["initrd"], *(s["path"] for s in facts["stages"].values())}
        )
        facts["sha256"] = __salt__["alt_iso.digests"](iso, facts)
        facts["tree"] = {
            "directory": record["tree"],
            "layout": __salt__["alt_iso.layout"](),
            "iso": __salt__["alt_iso.iso"](iso),
        }
        record["form"] = "mount"
        _unmount(old)
        _keep_foreign(record["tree"], staging)
        aside = __salt__["alt_iso.set_aside"](record["tree"], staging)
        done = _mount(record)
        if done["result"]:
            record["boot_files"] = _boot_files(record["tree"], files)
            __salt__["netboot_records.write"]("images", image["label"], record)
        elif aside:
            os.rmdir(record["tree"])
            os.rename(aside, record["tree"])
        return {**done, "name": name, "warnings": record["contradictions"]}
    except (CommandExecutionError, SaltInvocationError, OSError) as err:
        ret.update(result=False, changes={}, comment=str(err))
    return ret


def _mount(record):
    return __states__["mount.mounted"](
        record["tree"],
        device=record["iso"],
        fstype=MOUNT_TYPE,
        opts=[*MOUNT_HIDDEN, *MOUNT_SHOWN],
        hidden_opts=MOUNT_HIDDEN,
        mkmnt=True,
        persist=True,
        match_on="name",  # the line in fstab is the mount point's, whatever its ISO is called
    )


def _unmount(record):
    """Take back the loop mount on record, if it is one."""
    if record and record.get("form") == "mount":
        __salt__["netboot_readers.nfs_let_go"]()
        done = __states__["mount.unmounted"](record["tree"], device=record["iso"], persist=True)
        if not done["result"]:
            raise CommandExecutionError(f"{record['tree']} can't be unmounted: {done['comment']}")


def absent(name, root, staging):
    """
    Ensure that one image is not on the machine: its tree or mount, its ISO and what is on record.

    An ISO that these states did not fetch stays. What somebody is reading stays until a later
    apply. The menus show it until they are applied.

    name
        The image's name or label.

    root
        The folder that is served (absolute).

    staging
        Folder on the same filesystem, closed to others.

    ``changes`` has each path that was removed.

    .. code-block:: yaml

        netboot-image-alt-server-10-absent:
          alt_image.absent:
            - name: ALT Server 10
            - root: /srv/export
            - staging: /srv/export/.staging
    """
    ret = {"name": name, "result": True, "changes": {}, "comment": f"There is no image {name}."}
    try:
        images = __salt__["netboot.images"]()
        gone = [image for image in images if name in (image["name"], image["label"])]
        keep = [image for image in images if image not in gone]
        files = {image["file"] for image in gone}
        found = [
            item
            for item in __salt__["netboot_images.removable"](root, keep)
            if item["kind"] != "iso" or item["record"] in files
        ]
        _remove(ret, found, staging)
    except (CommandExecutionError, SaltInvocationError, OSError) as err:
        ret.update(result=False, comment=str(err))
    return ret


def pruned(name, images, staging, remove=True):
    """
    Ensure that nothing is here that these states own and the pillar no longer names.

    That are ISOs that they fetched, trees, loop mounts, and what killed runs left in the staging
    folder. Files that they did not write are left alone; what somebody is reading stays until a
    later apply.

    name
        The folder that is served (absolute).

    images
        Maps with ``label`` and ``file`` of all images that the pillar names.

    staging
        Folder on the same filesystem, closed to others.

    remove
        False: images are only told, and the staging folder alone is swept.

    ``changes`` has each path that was removed. Under ``test=True`` nothing is.

    .. code-block:: yaml

        netboot-images-pruned:
          alt_image.pruned:
            - name: /srv/export
            - images: [{label: alt_server_11, file: alt-server-11.0-x86_64.iso}]
            - staging: /srv/export/.staging
            - remove: false
    """
    ret = {"name": name, "result": True, "changes": {}, "comment": "Nothing is left over."}
    try:
        found = __salt__["netboot_images.removable"](name, images)
        if remove:
            _remove(ret, found, staging)
        elif found:
            size = sum(item["bytes"] for item in found)
            paths = ", ".join(item["path"] for item in found)
            ret["comment"] = (
                f"The pillar no longer names {paths} ({size / 1e9:.1f} GB); "
                "netboot:prune: true removes them."
            )
        if not __opts__["test"]:
            swept = __salt__["alt_iso.sweep"](staging, [image["file"] for image in images])
            for left in swept["removed"]:
                ret["changes"][os.path.join(staging, left)] = "removed"
    except (CommandExecutionError, SaltInvocationError, OSError) as err:
        ret.update(result=False, comment=str(err))
    return ret


def _remove(ret, found, staging):
    """Remove what ``netboot_images.removable`` listed, as far as nobody is reading it."""
    later = [item for item in found if item["why_not"]]
    now = [item for item in found if not item["why_not"]]
    would = "would be " if __opts__["test"] else ""
    for item in now:
        if not __opts__["test"]:
            if item["kind"] == "mount":
                _unmount(__salt__["netboot_records.read"]("images", item["record"]))
            __salt__["netboot_images.remove"](item, staging)
        ret["changes"][item["path"]] = f"{would}removed"
    if not __opts__["test"]:
        __salt__["netboot_images.remember_out_of_service"]([item["path"] for item in later])
    words = [f"{len(now)} {'would be' if would else 'were'} removed."] if now else []
    words += [
        f"{item['path']} will be removed by a later apply: {item['why_not']}." for item in later
    ]
    if words:
        ret["comment"] = "\n".join(words)
    if now and __opts__["test"]:
        ret["result"] = None
