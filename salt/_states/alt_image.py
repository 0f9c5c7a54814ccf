"""
Keep ALT images on a netboot server ready to boot: unpacked or mounted; remove all others.
"""

import os

import netboot_fresh

netboot_fresh.forget_old()

from salt.exceptions import CommandExecutionError

import iso_secure_boot
import iso_tree
import netboot_files
import netboot_held
import netboot_images
import netboot_in_use
import netboot_left_over
import netboot_previous
import netboot_trees
from netboot_names import has_digests, some
from netboot_records import Records
from netboot_state import State

__virtualname__ = "alt_image"

# Loop mounts. Rock Ridge's modes can be root-only, hence overriderockperm (Linux,
# Documentation/filesystems/isofs.rst); nofail, so that the machine boots without the ISO too.
MOUNT_TYPE = "iso9660"
MOUNT_SHOWN = ["ro", "nodev", "nosuid"]
MOUNT_HIDDEN = ["loop", "nofail", "overriderockperm", "mode=0444", "dmode=0555"]


def __virtual__():
    return __virtualname__


def _records():
    return Records.of(__opts__, __context__)


def _verified(records, iso, checksum):
    """Return the record of a verified ISO if the file is still the same, otherwise None."""
    record = records.iso(iso)
    if not record or not has_digests(record["digests"], checksum):
        return None
    same = record["identity"] == netboot_files.identity(iso) or record.get("renamed")
    return record if same else None


def _sha256(verified, iso):
    if not verified:
        raise CommandExecutionError(f"{iso} is missing or not verified, so it was not unpacked.")
    return verified["digests"]["sha256"]


def _is_current(records, old, image, verified):
    trees = records.config()["paths"]["trees"]
    if not (verified and old and old["tree"].startswith(f"{trees}/")):
        return False
    return netboot_images.is_current(records, old, image, verified["digests"]["sha256"])


def unpacked(name):
    """
    Ensure that what the boot entries need from a verified ISO is unpacked and on record.

    The entries determine how much that is: kernel and initrd, these and stages, or everything. An
    image that was renamed in the pillar keeps its tree. With ``keep_iso: false`` the ISO is removed
    afterwards. With ``verify: always`` the boot files are hashed each time, and unpacked again if
    they are corrupted.

    name
        Label of an image of the configuration: its name in lower case, with ``_`` for spaces.

    ``changes`` contains the directory of the tree, and the ISO if it was removed. Under
    ``test=True`` nothing is read from the ISO.

    .. code-block:: yaml

        netboot-image-alt_server_11-ready:
          alt_image.unpacked:
            - name: alt_server_11
    """
    with State(name, "", __opts__["test"]) as state:
        records = _records()
        image, iso = records.image_and_iso(name)
        checksum = image["checksum"]
        verified = _verified(records, iso, checksum)
        verified = verified or netboot_images.dropped(records, iso, checksum)
        if netboot_previous.is_held_at(records, image):
            if netboot_previous.is_ahead(records, name) and state.test:
                state.comment = f"{name} would be what it was before."
                state.plan({name: "would be put back"})
                return state.ret
            if netboot_previous.put_back_tree(records, name, state.test):
                state.done(records.image(name)["tree"], "put back")
        record = records.image(name)
        current = _is_current(records, record, image, verified)
        if not current or _rotted(records, record, image, iso):
            if state.test:
                _foretell(state, records, image, iso, verified)
                return state.ret
            record = _made(state, records, image, iso, _sha256(verified, iso), record)
        else:
            state.comment = f"{record['tree']} is up to date."
        netboot_trees.renamed(records, record, image, iso, state.test)
        _open(state, records, record)
        _drop_iso(state, records, image, iso)
        _settle(state, records, name)
        state.warn(*record["contradictions"])
    return state.ret


def _settle(state, records, label):
    """Say what an image waits for; keep nothing of what it was if it is that again."""
    waits = records.owned("waiting", {}).get(label)
    if waits:
        state.comment += f" {netboot_held.text(waits)}"
    if not state.test and netboot_previous.is_needless(records, label):
        netboot_previous.forget(records, label)


def _open(state, records, record):
    """Repair modes that keep services out of a tree."""
    for path, mode in netboot_trees.opened(records, record, state.test).items():
        state.done(path, mode)


def _rotted(records, record, image, iso):
    """Return whether a tree is corrupted; checked only with ``verify: always``."""
    if image["verify"] != "always" or __opts__["test"]:
        return False
    rotten = netboot_images.rotten(record)
    if rotten and not os.path.lexists(iso):
        # Mark it as not current, so that the next apply fetches the ISO.
        record["identities"].update(dict.fromkeys(rotten))
        records.write("images", image["label"], record)
        raise CommandExecutionError(
            f"{record['tree']} is corrupted ({', '.join(rotten)}); apply again to fetch {iso}."
        )
    return bool(rotten)


def _foretell(state, records, image, iso, verified):
    same = verified and netboot_images.same_elsewhere(records, image, verified["digests"]["sha256"])
    label = image["label"]
    if same:
        # so that ``pruned`` finds it
        records.foretell("images", same["label"], {**same, "label": label})
        state.plan({label: f"would be renamed from {same['tree']}"})
        state.comment = f"{same['tree']} would be renamed to {label}."
    else:
        state.plan({label: f"would be unpacked from {iso}"})
        state.comment = f"{iso} would be unpacked below {records.config()['paths']['trees']}."


def _made(state, records, image, iso, sha256, old):
    """Take over a tree under another name, or unpack the image; return its record."""
    same = netboot_images.same_elsewhere(records, image, sha256)
    if same:
        record = netboot_trees.taken_over(records, same, image)
        state.comment = f"{same['tree']} was renamed to {record['tree']}."
        state.done(record["tree"], f"renamed from {same['tree']}")
        return record
    record = netboot_trees.inspected(records, iso, image, sha256)
    needed = netboot_images.needs_of(records, record, image)
    _unmount(old)
    netboot_trees.unpack(records, record, needed, image, old)
    state.comment = f"{iso} was unpacked to {record['tree']} ({record['form']})."
    state.done(record["tree"], f"unpacked from {iso}")
    state.warn(*netboot_trees.rejected(record))
    return record


def _drop_iso(state, records, image, iso):
    if image["keep_iso"] or not os.path.lexists(iso):
        return
    if state.test:
        if netboot_images.is_owned_iso(records, iso):
            state.plan({iso: "would be removed"})
        return
    state.comment += " " + netboot_images.drop_iso(records, iso)
    if not os.path.lexists(iso):
        state.done(iso, "removed")


def mounted(name):
    """
    Ensure that a verified ISO is loop-mounted for clients, also after a reboot.

    Instead of unpacking: it takes no disk space. The mount is read-only, without devices and
    setuid, and listed in /etc/fstab. An ISO with entries that would not be unpacked (links out of
    the tree and so on) is not mounted, as the kernel would show them.

    name
        Label of an image of the configuration, see ``unpacked``.

    ``changes``: see ``mount.mounted``. Under ``test=True`` nothing is read from the ISO.

    .. code-block:: yaml

        netboot-image-alt_server_11-ready:
          alt_image.mounted:
            - name: alt_server_11
    """
    with State(name, "", __opts__["test"]) as state:
        records = _records()
        image, iso = records.image_and_iso(name)
        verified = _verified(records, iso, image["checksum"])
        old = records.image(name)
        if _is_current(records, old, image, verified):
            record = netboot_trees.renamed(records, old, image, iso, state.test)
            state.adopt(_mount(record))
            _open(state, records, record)
        elif state.test:
            state.plan({name: f"{iso} would be mounted"})
            state.comment = f"{iso} would be mounted below {records.config()['paths']['trees']}."
            return state.ret
        else:
            record = netboot_trees.inspected(records, iso, image, _sha256(verified, iso))
            _check_mountable(record)
            if netboot_previous.is_due(records, record, image, old):
                netboot_previous.keep(records, name)
            state.adopt(_mount_new(records, record, old))
        _settle(state, records, name)
        state.warn(*record["contradictions"])
    return state.ret


def _check_mountable(record):
    rejected = netboot_trees.rejected(record)
    if rejected:
        raise CommandExecutionError(
            f"{record['iso']} was not mounted, as clients must not see all of it: {rejected[0]}. "
            f"Remove netboot:images:{record['name']}:mount."
        )


def _mount_new(records, record, old):
    """Mount an ISO in place of the old tree; return the result of Salt's own state."""
    facts, tree = record["facts"], record["tree"]
    iso_secure_boot.without_inside(facts)
    files = {facts["kernel"], facts["initrd"], *(s["path"] for s in facts["stages"].values())}
    files.update(iso_secure_boot.paths(facts))
    facts["sha256"] = iso_tree.digests(record["iso"], facts)
    facts["tree"] = {
        "directory": tree,
        "layout": iso_tree.LAYOUT,
        "iso": iso_tree.iso(record["iso"]),
    }
    record["form"] = "mount"
    record["identities"] = {}
    _unmount(old)
    netboot_trees.keep_foreign(records, tree)
    aside = iso_tree.set_aside(tree, records.config()["paths"]["staging"])
    done = _mount(record)
    if done["result"]:
        record["boot_files"] = netboot_trees.boot_files(tree, sorted(files))
        records.write("images", record["label"], record)
    elif aside:
        os.rmdir(tree)
        os.rename(aside, tree)
    return done


def _mount(record):
    return __states__["mount.mounted"](
        record["tree"],
        device=record["iso"],
        fstype=MOUNT_TYPE,
        opts=[*MOUNT_HIDDEN, *MOUNT_SHOWN],
        hidden_opts=MOUNT_HIDDEN,
        mkmnt=True,
        persist=True,
        match_on="name",  # the line in fstab belongs to the mount point, whatever the ISO's name
    )


def _unmount(record):
    """Undo the loop mount of a record, if it is a mount."""
    if record and record["form"] == "mount":
        netboot_in_use.nfs_let_go()
        done = __states__["mount.unmounted"](record["tree"], device=record["iso"], persist=True)
        if not done["result"]:
            raise CommandExecutionError(f"{record['tree']} cannot be unmounted: {done['comment']}")


def absent(name):
    """
    Ensure that an image is not on the machine: its tree or mount, its ISO and its records.

    An ISO that these states did not fetch stays. What is in use stays until a later apply. The
    menus offer the image until they are applied.

    name
        The image's name or label.

    ``changes`` contains each removed path.

    .. code-block:: yaml

        netboot-image-alt_server_10-absent:
          alt_image.absent:
            - name: ALT Server 10
    """
    with State(name, f"There is no image {name}.", __opts__["test"]) as state:
        records = _records()
        images = records.images()
        gone = [image for image in images if name in (image["name"], image["label"])]
        keep = [image for image in images if image not in gone]
        files = {image["file"] for image in gone}
        found = [
            item
            for item in netboot_left_over.removable(records, keep)
            if item["kind"] != "iso" or item["record"] in files
        ]
        _remove(state, records, found)
    return state.ret


def pruned(name, remove=True, keep=True):
    """
    Ensure that these states own nothing here that is no longer in the pillar.

    They own ISOs that they fetched, trees, loop mounts, and what killed runs left in the staging
    directory. Other files are left alone; what is in use stays until a later apply.

    name
        What is pruned; only shown.

    remove : True
        False: images are only listed, and the staging directory alone is swept.

    keep : True
        False: remove the images that are in the pillar too.

    ``changes`` contains each removed path. Under ``test=True`` nothing is.

    .. code-block:: yaml

        netboot-images-pruned:
          alt_image.pruned:
            - name: images
            - remove: false
    """
    with State(name, "Nothing is left over.", __opts__["test"]) as state:
        records = _records()
        config = records.config()
        images = config["images"] if keep else []
        found = netboot_left_over.removable(records, images)
        if remove:
            _remove(state, records, found)
        elif found:
            size = sum(item["bytes"] for item in found)
            paths = ", ".join(item["path"] for item in found)
            state.comment = (
                f"No longer in the pillar: {paths} ({size / 1e9:.1f} GB); "
                "set netboot:prune: true to remove them."
            )
        # What netboot.clean reads, on record, has no wave, and perhaps is of an earlier version.
        given = config.get("given", {}).get("wave")
        through = given == "through" or not config.get("waves")
        for label in netboot_previous.forgettable(records, through, images):
            slot = netboot_previous.slot(records, label)
            state.done(slot, "would be removed" if state.test else "removed")
            if not state.test:
                netboot_previous.forget(records, label)
        staging = config["paths"]["staging"]
        if not state.test and os.path.isdir(staging):
            files = [image["file"] for image in images]
            files += [one["file"] for one in filter(None, map(netboot_held.coming, images))]
            swept = iso_tree.sweep(staging, files)
            for left in swept["removed"]:
                state.done(os.path.join(staging, left), "removed")
    return state.ret


def _remove(state, records, found):
    """Remove the items from ``netboot_left_over.removable`` that are not in use."""
    later = [item for item in found if item["why_not"]]
    now = [item for item in found if not item["why_not"]]
    for item in now:
        if not state.test:
            if item["kind"] == "mount":
                _unmount(records.image(item["record"]))
            netboot_left_over.remove(records, item)
        state.done(item["path"], "would be removed" if state.test else "removed")
    if not state.test:
        netboot_left_over.remember_out_of_service(records, [item["path"] for item in later])
    words = [f"{some(item['path'] for item in now)} {state.would_be} removed."] if now else []
    words += [f"A later apply will remove {item['path']}: {item['why_not']}." for item in later]
    if words:
        state.comment = "\n".join(words)
