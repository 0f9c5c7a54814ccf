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


def fetched(name, url, checksum, staging):
    """
    Ensure that an ISO is there and is the one that its digests name.

    A file that was verified is not read again while its size, times and inode are what they were.
    One that differs stays in service until its successor has come.

    name
        Path of the ISO (absolute).

    url
        Where it is fetched from (http or https).

    checksum
        Expected digests in hexadecimal, by algorithm: sha512, sha256, sha1, md5. All are checked.

    staging
        Folder on the same filesystem, closed to others, for the file while it is unverified.

    ``changes`` has the path with old and new SHA-256. Under ``test=True`` nothing is fetched and
    nothing is hashed.

    .. code-block:: yaml

        netboot-image-alt-server-11-fetched:
          alt_iso.fetched:
            - name: /srv/export/dist/alt-server-11.0-x86_64.iso
            - url: http://example.org/alt-server-11.0-x86_64.iso
            - checksum: {sha256: ...}
            - staging: /srv/export/.staging
    """
    ret = {"name": name, "result": True, "changes": {}, "comment": f"{name} is verified."}
    try:
        if _verified(name, checksum):
            return ret
        there = __salt__["iso_fetch.identity"](name) is not None
        if __opts__["test"]:
            ret["result"] = None
            ret["changes"] = {
                name: "would be verified" if there else f"would be fetched from {url}"
            }
            ret["comment"] = f"{name} would be " + (
                "verified." if there else f"fetched from {url}."
            )
            return ret
        old = None
        if there:
            try:
                record = __salt__["iso_fetch.verify"](name, checksum)
                ret["comment"] = f"{name} was there already, and was verified."
            except CommandExecutionError as err:
                old, there = str(err), False
        if not there:
            record = __salt__["iso_fetch.fetch"](url, name, checksum, staging)
            ret["comment"] = f"{name} was fetched and verified ({record['size']} bytes)."
        __salt__["netboot_records.write"]("isos", _file(name), record)
        ret["changes"] = {name: {"old": old, "new": "sha256 " + record["digests"]["sha256"]}}
    except (CommandExecutionError, SaltInvocationError, OSError) as err:
        ret.update(result=False, changes={}, comment=str(err))
    return ret


def unpacked(name, iso, image, checksum, staging):
    """
    Ensure that a verified ISO's files are unpacked for clients, and its facts on record.

    name
        Folder that holds the trees of all images: the tree goes to ``<arch>/<label>`` below it.

    iso
        Path of the ISO (absolute).

    image
        The image, as ``netboot.config`` resolves it (``name``, ``label``, ``overrides``).

    checksum
        Expected digests of the ISO, as for ``fetched``.

    staging
        Folder on the same filesystem, closed to others, for the tree while it is half built.

    ``changes`` has the folder of the tree. Under ``test=True`` nothing is read from the ISO.

    .. code-block:: yaml

        netboot-image-alt-server-11-unpacked:
          alt_iso.unpacked:
            - name: /srv/export/tftp/netboot
            - iso: /srv/export/dist/alt-server-11.0-x86_64.iso
            - image: {name: ALT Server 11, label: alt_server_11, overrides: {}}
            - checksum: {sha256: ...}
            - staging: /srv/export/.staging
    """
    ret = {"name": name, "result": True, "changes": {}, "comment": ""}
    label = image["label"]
    try:
        verified = _verified(iso, checksum)
        old = __salt__["netboot_records.read"]("images", label)
        if verified and old and _same_tree(old, image, verified):
            ret["comment"] = f"{old['tree']} is up to date."
            return ret
        if __opts__["test"]:
            ret["result"] = None
            ret["changes"] = {label: f"would be unpacked from {iso}"}
            ret["comment"] = f"{iso} would be unpacked below {name}."
            return ret
        if not verified:
            raise CommandExecutionError(f"{iso} is not there or not verified; it is not unpacked.")
        facts = _overridden(__salt__["alt_iso.inspect"](iso, image["name"]), image)
        if facts["missing"]:
            raise CommandExecutionError(_what_is_missing(iso, facts["missing"]))
        tree = os.path.join(name, facts["arch"], label)
        os.makedirs(os.path.dirname(tree), mode=0o755, exist_ok=True)
        facts = _overridden(__salt__["alt_iso.unpack"](iso, tree, staging, image["name"]), image)
        facts["rejected"] = facts["rejected"][:REJECTED_SHOWN]
        record = {
            "name": image["name"],
            "label": label,
            "file": _file(iso),
            "iso": iso,
            "iso_sha256": verified["digests"]["sha256"],
            "overrides": image["overrides"],
            "tree": tree,
            "facts": facts,
            "boot_files": _boot_files(tree, facts),
        }
        if facts["rejected"]:
            ret["warnings"] = [
                f"{iso}: {one['path']!r} is not unpacked: {one['reason']}"
                for one in facts["rejected"]
            ]
        __salt__["netboot_records.write"]("images", label, record)
        ret["changes"] = {tree: f"unpacked from {iso}"}
        ret["comment"] = f"{iso} was unpacked to {tree}."
    except (CommandExecutionError, SaltInvocationError, OSError) as err:
        ret.update(result=False, changes={}, comment=str(err))
    return ret


def _overridden(facts, image):
    """The facts of an ISO, with what the pillar says instead."""
    said = {
        fact: image["overrides"][key]
        for fact, key in OVERRIDES.items()
        if key in image["overrides"]
    }
    said = {fact: value.lstrip("/") for fact, value in said.items()}
    missing = {fact: key for fact, key in facts["missing"].items() if fact not in said}
    return {**facts, **said, "missing": missing}


def _what_is_missing(iso, missing):
    keys = sorted({key for key in missing.values() if key})
    return f"{iso} does not tell its {', '.join(sorted(missing))}" + (
        f"; set {', '.join(keys)} in the pillar."
        if all(missing.values())
        else ", and is no image that can be booted over the network."
    )


def _boot_files(tree, facts):
    """The sizes in bytes of the files that clients fetch from a tree, by path below it."""
    sizes = {}
    for path in [facts["kernel"], facts["initrd"], *(s["path"] for s in facts["stages"].values())]:
        found = __salt__["iso_fetch.identity"](os.path.join(tree, path))
        if not found:
            raise CommandExecutionError(f"{tree} has no {path}, which the image is booted by.")
        sizes[path] = found["size"]
    return sizes


def _same_tree(record, image, verified):
    """Whether the tree on record is that of this ISO, and its boot files are still there whole."""
    if (
        record["iso_sha256"] != verified["digests"]["sha256"]
        or record["overrides"] != image["overrides"]
        or record["name"] != image["name"]
        or record["facts"]["tree"]["layout"] != __salt__["alt_iso.layout"]()
    ):
        return False
    for path, size in record["boot_files"].items():
        found = __salt__["iso_fetch.identity"](os.path.join(record["tree"], path))
        if not found or found["size"] != size:
            return False
    return True
