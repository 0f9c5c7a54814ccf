"""
Keep ALT's ISOs on a netboot server: fetched and verified, unpacked for booting.
"""

import os

from salt.exceptions import CommandExecutionError, SaltInvocationError

__virtualname__ = "alt_iso"


# What the pillar may say instead of the ISO: fact -> key below netboot:images:NAME.
OVERRIDES = {"arch": "alt_arch", "dialect": "dialect", "kernel": "kernel", "initrd": "initrd"}

# A hostile ISO can have any number of entries that are not unpacked; so many are worth a record.
REJECTED_SHOWN = 20

# What sum files said, for the next state of the same run.
_ASKED = "alt_iso.asked"


def __virtual__():
    return __virtualname__


def _file(path):
    """The name under which what is known of an ISO is on record."""
    return os.path.basename(path)


def _verified(path, checksum):
    """The record of a verified ISO, if the file is still the one that was hashed, else None."""
    record = __salt__["netboot_records.read"]("isos", _file(path))
    if not record or record["identity"] != __salt__["iso_fetch.identity"](path):
        return None
    if any(record["digests"].get(kind) != digest for kind, digest in checksum.items()):
        return None
    return record


def fetching(name, images, staging, at_once=4, attempts=5, stall_timeout_s=60):
    """
    Start to fetch the ISOs that are not there, several at once.

    The state ``fetched`` of each image waits for its own and reports it; without this state it
    fetches it itself. So each image has its own result, and is unpacked while others still come.

    name
        Folder of the ISOs (absolute).

    images
        The images, as ``netboot.config`` resolves them.

    staging
        Folder on the same filesystem, closed to others.

    at_once
        How many are fetched at the same time.

    attempts
        How often a source is tried that breaks off without having brought anything new.

    stall_timeout_s
        Seconds without a byte after which a source counts as broken off.

    There are no ``changes``; under ``test=True`` nothing is started.

    .. code-block:: yaml

        netboot-images-fetching:
          alt_iso.fetching:
            - name: /srv/export/dist
            - images: [...]
            - staging: /srv/export/.staging
    """
    ret = {"name": name, "result": True, "changes": {}, "comment": "All ISOs are there."}
    fetches = []
    for image in images:
        path = os.path.join(name, image["file"])
        if os.path.lexists(path) or _is_dropped(path, image, image["checksum"]):
            continue
        if __opts__["test"]:
            fetches.append({"path": path})
            continue
        try:
            checksum = image["checksum"]
            if image["sums"]:
                asked = __salt__["iso_sums.expected"](image["sources"])
                __context__.setdefault(_ASKED, {})[path] = asked
                checksum = asked["checksum"]
            fetches.append({"path": path, "sources": image["sources"], "checksum": checksum})
        except CommandExecutionError:
            continue  # the image's own state asks again and says what is wrong
    if fetches:
        files = ", ".join(_file(one["path"]) for one in fetches)
        ret["comment"] = f"{'Would be' if __opts__['test'] else 'Being'} fetched: {files}."
        if not __opts__["test"]:
            __salt__["iso_fetch.start"](fetches, staging, at_once, attempts, stall_timeout_s)
    return ret


def fetched(name, image, staging, attempts=5, stall_timeout_s=60):
    """
    Ensure that an ISO is there and is the one that its digests name.

    A file that was verified is not read again while its size, times and inode are what they were,
    unless the image says ``verify: always``. One that rotted or was changed is taken out of
    service at once and fetched again; one that is merely not the newest any more stays in service
    until its successor has come. A client that is reading the old file reads it to its end.

    name
        Path of the ISO (absolute).

    image
        The image, as ``netboot.config`` resolves it: ``sources`` (addresses, tried in order),
        ``checksum`` (digests by algorithm, all are checked) or ``sums`` (they are taken from the
        sum file beside the ISO), ``refresh`` (that one is asked each time), ``verify``,
        ``keep_iso``.

    staging
        Folder on the same filesystem, closed to others, for the file while it is unverified.

    attempts
        How often a source is tried that breaks off without having brought anything new.

    stall_timeout_s
        Seconds without a byte after which a source counts as broken off.

    ``changes`` has the path with old and new SHA-256. Under ``test=True`` nothing is fetched and
    nothing is hashed; with ``refresh`` the server is asked for its sum file.

    .. code-block:: yaml

        netboot-image-alt-server-11-fetched:
          alt_iso.fetched:
            - name: /srv/export/dist/alt-server-11.0-x86_64.iso
            - image:
                label: alt_server_11
                sources: [http://example.org/alt-server-11.0-x86_64.iso]
                checksum: {sha256: ...}
                sums: false
                refresh: false
                verify: changed
                keep_iso: true
            - staging: /srv/export/.staging
    """
    ret = {"name": name, "result": True, "changes": {}, "comment": f"{name} is verified."}
    try:
        known = __salt__["netboot_records.read"]("isos", _file(name)) or {}
        # What ``fetching`` started counts as not there, although it may have come meanwhile.
        coming = __salt__["iso_fetch.is_started"](name)
        there = None if coming else __salt__["iso_fetch.identity"](name)
        same = there is not None and there == known.get("identity")
        dropped = not there and known.get("dropped")
        sums = _sums(name, image, known, same or dropped, ret)
        wanted = image["checksum"] or sums.get("checksum") or known.get("digests", {})
        if dropped and _is_dropped(name, image, wanted):
            ret["comment"] = f"{name} was removed once it was unpacked."
            return ret
        right = same and _has(known, wanted)
        if right and image["verify"] != "always":
            if sums and sums != known.get("sums") and not __opts__["test"]:
                __salt__["netboot_records.write"]("isos", _file(name), {**known, "sums": sums})
            return ret
        if __opts__["test"]:
            return _foretold(ret, image, there, right, same and _contradicts(known, wanted))
        record = None
        if there and not (same and _contradicts(known, wanted)):
            record = _checked(ret, known, wanted, staging)
        if not record:
            record = __salt__["iso_fetch.fetch"](
                image["sources"], name, wanted, staging, attempts, stall_timeout_s
            )
            ret["comment"] = f"{name} was fetched and verified ({record['size']} bytes)."
        if sums:
            record["sums"] = sums
        __salt__["netboot_records.write"]("isos", _file(name), record)
        old, new = known.get("digests", {}).get("sha256"), record["digests"]["sha256"]
        if name in ret["changes"]:
            ret["changes"][name]["new"] = f"sha256 {new}"
        elif not right or old != new:
            ret["changes"][name] = {"old": old and f"sha256 {old}", "new": f"sha256 {new}"}
    except (CommandExecutionError, SaltInvocationError, OSError) as err:
        ret.update(result=False, comment=f"{name}: {err}")
    return ret


def _sums(name, image, known, settled, ret):
    """What the sum file says of an ISO, asked if need be; what it said before if it is away."""
    before = known.get("sums") or {}
    if not image["sums"]:
        return {}
    asked = __context__.get(_ASKED, {}).pop(name, None)
    if not asked and (__opts__["test"] or settled) and not (settled and image["refresh"]):
        return before
    try:
        sums = asked or __salt__["iso_sums.expected"](image["sources"], before or None)
    except CommandExecutionError as err:
        if not before:
            raise
        ret["warnings"] = [f"Whether {name} is still the newest cannot be told: {err}"]
        return before
    if not {"sha512", "sha256"} & set(sums["checksum"]):
        ret["warnings"] = [f"{sums['url']} can be forged, as MD5 does not protect against it."]
    return sums


def _is_dropped(path, image, wanted):
    return not image["keep_iso"] and __salt__["netboot_images.is_enough_without_iso"](
        image, path, wanted
    )


def _has(record, wanted):
    """Whether a record has these digests."""
    return all(record["digests"].get(kind) == digest for kind, digest in wanted.items())


def _contradicts(record, wanted):
    """Whether a record tells that the file is another one."""
    return any(record["digests"].get(kind, digest) != digest for kind, digest in wanted.items())


def _foretold(ret, image, there, right, outdated):
    name = ret["name"]
    if right:
        ret["comment"] = f"{name} would be verified again."
        return ret
    url = __salt__["iso_sources.shown"](image["sources"][0])
    what = "be verified" if there and not outdated else f"be fetched from {url}"
    ret.update(result=None, changes={name: f"would {what}"}, comment=f"{name} would {what}.")
    return ret


def _checked(ret, known, wanted, staging):
    """The record of a file that was hashed, or None; a wrong one is taken out of service."""
    name = ret["name"]
    found = __salt__["iso_fetch.digests"](name, sorted(wanted))
    sha256 = found["digests"]["sha256"]
    as_before = sha256 == known.get("digests", {}).get("sha256")
    if _has(found, wanted):
        ret["comment"] = f"{name} was there already, and was verified."
        if as_before and "source" in known:
            found["source"] = known["source"]  # which says that these states brought it
        return found
    if as_before:
        return None
    if known.get("source"):
        os.unlink(name)
        done = "removed"
    else:
        # Somebody else's file: perhaps the checksum is what is wrong. Out of service, not lost.
        aside = os.path.join(staging, f"{_file(name)}.{sha256[:12]}")
        os.replace(name, aside)
        done = f"moved to {aside}"
    __salt__["netboot_records.remove"]("isos", _file(name))
    ret["changes"][name] = {"old": f"sha256 {sha256}, which was wrong", "new": done}
    return None


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
        ``unpack``, ``mount``, ``keep_iso``).

    checksum
        Expected digests of the ISO, as for ``fetched``.

    staging
        Folder on the same filesystem, closed to others, for the tree while it is half built.

    ``changes`` has the folder of the tree, and the ISO when it was removed. Under ``test=True``
    nothing is read from the ISO. Needs the applied configuration on record.

    .. code-block:: yaml

        netboot-image-alt-server-11-unpacked:
          alt_iso.unpacked:
            - name: /srv/export/tftp/netboot
            - iso: /srv/export/dist/alt-server-11.0-x86_64.iso
            - image:
                name: ALT Server 11
                label: alt_server_11
                overrides: {}
                unpack: ''
                mount: false
                keep_iso: true
            - checksum: {sha256: ...}
            - staging: /srv/export/.staging
    """
    ret = {"name": name, "result": True, "changes": {}, "comment": ""}
    try:
        verified = _verified(iso, checksum) or __salt__["netboot_images.dropped"](iso, checksum)
        old = __salt__["netboot_records.read"]("images", image["label"])
        if _is_current(name, old, image, verified):
            ret["comment"] = f"{old['tree']} is up to date."
            record = old
            if not image["keep_iso"]:
                _needs(old, image)
        elif __opts__["test"]:
            ret["result"] = None
            ret["changes"] = {image["label"]: f"would be unpacked from {iso}"}
            ret["comment"] = f"{iso} would be unpacked below {name}."
            return ret
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


def _sha256(verified, iso):
    if not verified:
        raise CommandExecutionError(f"{iso} is not there or not verified; it is not unpacked.")
    return verified["digests"]["sha256"]


def _unpacked(folder, iso, image, sha256, staging, old):
    """Unpack what the entries need, and put it on record."""
    record = _inspected(folder, iso, image, sha256)
    needed = _needs(record, image)
    _unmount(old)
    os.makedirs(os.path.dirname(record["tree"]), mode=0o755, exist_ok=True)
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


def _needs(record, image):
    """What the boot entries need; an ISO that one of them boots can't be dropped."""
    needed = __salt__["netboot_images.needs"](record, image["unpack"])
    if needed["iso"] and not image["keep_iso"]:
        raise CommandExecutionError(
            f"netboot:images:{image['name']}:keep_iso is false, but {', '.join(needed['iso'])} "
            "boots the whole ISO; leave it out of the image's variants, or keep the ISO."
        )
    return needed


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
        "file": _file(iso),
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
    called = {"name": image["name"], "file": _file(iso), "iso": iso}
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
        Expected digests of the ISO, as for ``fetched``.

    staging
        Folder on the same filesystem, closed to others, for a tree that was there before.

    ``changes`` is that of ``mount.mounted``. Under ``test=True`` nothing is read from the ISO.

    .. code-block:: yaml

        netboot-image-alt-server-11-mounted:
          alt_iso.mounted:
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
    )


def _unmount(record):
    """Take back the loop mount on record, if it is one."""
    if record and record.get("form") == "mount":
        done = __states__["mount.unmounted"](record["tree"], device=record["iso"], persist=True)
        if not done["result"]:
            raise CommandExecutionError(f"{record['tree']} can't be unmounted: {done['comment']}")


def renamed(name, images):
    """
    Ensure that an ISO that is here under another file name isn't fetched again.

    An ISO that these states fetched, that the pillar no longer names and nobody is reading gets the
    name that the pillar has for the same digests.

    name
        Folder of the ISOs (absolute).

    images
        The images, as ``netboot.config`` resolves them.

    ``changes`` has the ISOs with their former names.

    .. code-block:: yaml

        netboot-images-renamed:
          alt_iso.renamed:
            - name: /srv/export/dist
            - images: [...]
    """
    ret = {"name": name, "result": True, "changes": {}, "comment": "All ISOs have their names."}
    files = [image["file"] for image in images]
    try:
        for image in images:
            path = os.path.join(name, image["file"])
            if not os.path.lexists(path):
                old = __salt__["netboot_images.same_iso"](name, image["checksum"], files)
                if old and not __opts__["test"]:
                    __salt__["netboot_images.rename_iso"](old, path)
                if old:
                    ret["changes"][path] = {"old": old, "new": path}
    except (CommandExecutionError, SaltInvocationError, OSError) as err:
        ret.update(result=False, comment=str(err))
        return ret
    if ret["changes"]:
        ret["result"] = None if __opts__["test"] else True
        would = "would be" if __opts__["test"] else "were"
        ret["comment"] = f"{len(ret['changes'])} {would} renamed instead of fetched again."
    return ret


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
          alt_iso.absent:
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
          alt_iso.pruned:
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
