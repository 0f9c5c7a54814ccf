"""
Keep ALT's ISOs on a netboot server: fetched and verified, under the names that the pillar has.
"""

import os

from salt.exceptions import CommandExecutionError, SaltInvocationError

__virtualname__ = "alt_iso"


# What sum files said, for the next state of the same run.
_ASKED = "alt_iso.asked"


def __virtual__():
    return __virtualname__


def _file(path):
    """The name under which what is known of an ISO is on record."""
    return os.path.basename(path)


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
        As for ``iso_fetch.fetch``.

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
        known = __salt__["netboot_records.read"]("isos", _file(path)) or {}
        if os.path.lexists(path) or known.get("renamed"):
            continue
        try:
            if _is_dropped(path, image, image["checksum"]):
                continue
            __salt__["netboot_images.check_before_fetch"](image, path, image["checksum"])
            if __opts__["test"]:
                fetches.append({"path": path})
                continue
            checksum = image["checksum"]
            if image["sums"]:
                asked = __salt__["iso_sums.expected"](image["sources"])
                __context__.setdefault(_ASKED, {})[path] = asked
                checksum = asked["checksum"]
            fetches.append({"path": path, "sources": image["sources"], "checksum": checksum})
        except CommandExecutionError:
            continue  # the image's own state says what is wrong
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
        As for ``iso_fetch.fetch``.

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
        if known.get("renamed"):
            ret["comment"] = f"{name} would be there by its new name."
            return ret
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
        __salt__["netboot_images.check_before_fetch"](image, name, wanted)
        if __opts__["test"]:
            return _foretold(ret, image, there, right, same and _contradicts(known, wanted))
        record = None
        if there and not (same and _contradicts(known, wanted)):
            record = _checked(ret, known, wanted, staging)
        verified = bool(record)
        if not verified:
            record = __salt__["iso_fetch.fetch"](
                image["sources"], name, wanted, staging, attempts, stall_timeout_s, True
            )
            ret["comment"] = f"{name} was fetched and verified ({record['size']} bytes)."
        if sums:
            record["sums"] = sums
        __salt__["iso_fetch.claim"](name, staging, record)
        old, new = known.get("digests", {}).get("sha256"), record["digests"]["sha256"]
        if name in ret["changes"]:
            ret["changes"][name]["new"] = f"sha256 {new}"
        elif old != new or not verified:
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


def renamed(name, config):
    """
    Ensure that an ISO that is here under another file name isn't fetched again.

    An ISO that these states fetched, that the pillar no longer names and nobody is reading gets the
    name that the pillar has for the same digests.

    name
        Folder of the ISOs (absolute).

    config
        The configuration, as ``netboot.config`` resolves it.

    ``changes`` has the ISOs with their former names. Under ``test=True`` the states after it look
    at the records as this one would leave them.

    .. code-block:: yaml

        netboot-images-renamed:
          alt_iso.renamed:
            - name: /srv/export/dist
            - config: {images: [...]}
    """
    ret = {"name": name, "result": True, "changes": {}, "comment": "All ISOs have their names."}
    files = [image["file"] for image in config["images"]]
    try:
        for image in config["images"]:
            path = os.path.join(name, image["file"])
            if not os.path.lexists(path):
                old = __salt__["netboot_images.same_iso"](name, image["checksum"], files)
                if old and __opts__["test"]:
                    record = __salt__["netboot_records.read"]("isos", _file(old))
                    record["renamed"] = True
                    __salt__["netboot_records.foretell"]("isos", _file(path), record)
                    __salt__["netboot_records.foretell"]("isos", _file(old), None)
                elif old:
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
