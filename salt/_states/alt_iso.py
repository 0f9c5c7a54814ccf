"""
Keep ALT ISOs on a netboot server: fetched and verified, under their names in the pillar.
"""

import difflib
import os
import shutil

import netboot_fresh

netboot_fresh.forget_old()

from salt.exceptions import CommandExecutionError

import iso_download
import iso_hashes
import iso_sources
import iso_sums
import netboot_answering
import netboot_controller
import netboot_files
import netboot_held
import netboot_images
import netboot_news
import netboot_previous
import netboot_proxy
import netboot_site
from iso_download import Fetches
from netboot_names import CONTROLLER, SAFE_DIGESTS, has_digests, shown, some
from netboot_records import Records
from netboot_state import State

__virtualname__ = "alt_iso"

# Under test=True, where nobody wants to wait.
_ASKED_WITHIN_S = 5

# Digests from sum files, for the next state of the same run.
_ASKED = "alt_iso.asked"

# Whether the host of salt-ssh cannot be reached in this run.
_NOT_FORWARDED = "alt_iso.not-forwarded"


def __virtual__():
    return __virtualname__


def _records():
    records = Records.of(__opts__, __context__)
    netboot_proxy.use(records.applied() or {})
    return records


def _site(records):
    mine = (__salt__["mine.get"], __salt__["mine.send"])
    return netboot_site.of(records, __opts__, __context__, *mine)


def _fetches(records, begins=False):
    """Return the fetches of this run; ``begins``: whether one may begin."""
    site = _site(records)
    choice, config = site and site.choice, records.config()
    seeds = _seeds(records) if begins and config.get("deltas") else {}
    return Fetches.of(config, __context__, choice, lambda path: seeds.get(path, [path]))


def _seeds(records):
    """Return paths of older revisions by path of an ISO: also under other names."""
    config = records.config()
    dist, files = config["paths"]["dist"], [image["file"] for image in config["images"]]
    # Those that the pillar no longer names, and that the end of this run removes.
    left = [name for name in records.names("isos") if name not in files]
    found = {}
    for image in config["images"]:
        path = os.path.join(dist, image["file"])
        before = records.image(image["label"]) or {}
        near = [
            os.path.join(dist, name) for name in difflib.get_close_matches(image["file"], left, 1)
        ]
        found[path] = [path, *([before["iso"]] if "iso" in before else near)]
    return found


def _news(label, what, **data):
    fire = __salt__["event.fire_master"]
    netboot_news.of_iso(__opts__, __context__, fire, label, what, data)


def _sources(records, image):
    """Return an image's URLs; the host of salt-ssh comes first if it sends ISOs to this machine."""
    url = None if __context__.get(_NOT_FORWARDED) else __pillar__.get(CONTROLLER)
    site = _site(records)
    return netboot_controller.sources(image, url, site is not None and site.asks())


def _check_controller(state, fetches):
    """Warn if ssh does not forward the port of the host that sends ISOs; fail if all need it."""
    warned = netboot_controller.left_out(fetches, __pillar__.get(CONTROLLER), _ASKED_WITHIN_S)
    if warned:
        __context__[_NOT_FORWARDED] = True
        state.warn(warned)


def fetching(name):
    """
    Start fetching the missing ISOs, several at once.

    The state ``fetched`` of each image waits for its ISO and reports it; without this state it
    fetches the ISO itself. So each image has its own result, and is unpacked while other ISOs are
    still being fetched.

    name
        What is fetched; only shown.

    There are no ``changes``; under ``test=True`` nothing is started.

    .. code-block:: yaml

        netboot-images-fetching:
          alt_iso.fetching:
            - name: ISOs
    """
    with State(name, "No ISO is missing.", __opts__["test"]) as state:
        records = _records()
        config = records.config()
        fetches = []
        coming = filter(None, map(netboot_held.coming, config["images"]))
        for image in [*config["images"], *coming]:
            try:
                iso = os.path.join(config["paths"]["dist"], image["file"])
                fetches += _wanted(records, image, iso)
            except CommandExecutionError:
                continue  # the image's own state reports the problem
        if fetches:
            _check_controller(state, fetches)
            files = ", ".join(os.path.basename(one["path"]) for one in fetches)
            state.comment = f"{'Would be' if state.test else 'Being'} fetched: {files}."
            if not state.test:
                if site := _site(records):
                    # Before others ask: what an earlier run claimed is not claimed any more.
                    site.share()
                _fetches(records, begins=True).start(fetches, config["fetch"]["at_once"])
    return state.ret


def _wanted(records, image, path):
    """Return what to fetch for an image, as a list: empty if its ISO exists or is not needed."""
    known = records.iso(path) or {}
    if os.path.lexists(path) or known.get("renamed"):
        return []
    if netboot_previous.is_held_at(records, image):
        return []  # it may be put back
    if _is_dropped(records, path, image, image["checksum"]):
        return []
    netboot_images.check_before_fetch(records, image, path, image["checksum"])
    checksum = image["checksum"]
    if image["sums"] and not __opts__["test"]:
        asked = _sum_file(records, image)
        __context__.setdefault(_ASKED, {})[path] = asked
        checksum = asked["checksum"]
    return [{"path": path, "sources": _sources(records, image), "checksum": checksum}]


def fetched(name):
    """
    Ensure that an image's ISO exists and matches its digests.

    A verified file is not read again while its size, times and inode are unchanged, unless the
    image has ``verify: always``. A corrupted or changed file is taken out of service at once and
    fetched again; a file that is merely outdated stays in service until its successor is complete.
    A client that is reading the old file can read it to its end.

    With ``netboot:waves`` another revision waits for its wave, outside ``netboot:window`` for that;
    what an image was before its wave is kept, and comes back without being fetched.

    name
        Label of an image of the configuration: its name in lower case, with ``_`` for spaces.

    ``changes`` contains the path with old and new SHA-256. Under ``test=True`` nothing is fetched
    and nothing is hashed; with ``refresh`` the sum file is still requested from the server.

    .. code-block:: yaml

        netboot-image-alt_server_11-fetched:
          alt_iso.fetched:
            - name: alt_server_11
    """
    with State(name, "", __opts__["test"]) as state:
        records = _records()
        image, iso = records.image_and_iso(name)
        try:
            if netboot_previous.is_held_at(records, image):
                if netboot_previous.put_back_iso(records, name, state.test):
                    sha256 = records.image(name)["iso_sha256"]
                    state.done(iso, {"old": f"sha256 {sha256}", "new": "put back"})
                    state.comment = f"{iso} {state.would_be} put back."
                    if state.test:
                        return state.ret
            if netboot_previous.is_without_iso(records, image):
                state.comment = f"{iso} was removed after unpacking."
            else:
                _keep(state, records, image, iso)
            _tell_waiting(state, records, image)
            coming = netboot_held.coming(image)
            if coming:
                kept = state.comment
                _keep(state, records, coming, os.path.join(os.path.dirname(iso), coming["file"]))
                state.comment = f"{state.comment} {kept}"
        except (CommandExecutionError, OSError) as err:
            raise CommandExecutionError(f"{iso}: {err}") from err
    return state.ret


def _tell_waiting(state, records, image):
    """Put on record, and say, whether another revision of an image waits, and what for."""
    waiting = records.owned("waiting", {})
    label = image["label"]
    others = {one["label"] for one in records.config()["images"]} - {label}
    new = {key: value for key, value in waiting.items() if key in others}
    if "held" in image and image["held"]["waits"] and _is_another(state, records, image):
        new[label] = image["held"]["waits"]
        state.comment += f" {netboot_held.text(new[label])}"
    if new != waiting:
        (records.foretell if state.test else records.write)("owned", "waiting", new)


def _is_another(state, records, image):
    """Return whether a held image's pillar, or its sum file, names another revision."""
    pillar, record = image["held"]["pillar"], records.image(image["label"])
    if netboot_previous.is_held_at(records, image):
        record = records.previous(image["label"])["image"]
    checksum = pillar["checksum"]
    if pillar["sums"]:
        if not pillar["refresh"] and pillar["file"] == image["file"]:
            return False
        try:
            checksum = _sum_file(records, pillar)["checksum"]
        except CommandExecutionError as err:
            state.warn(f"Cannot check whether {image['file']} is still the newest: {err}")
            return image["label"] in records.owned("waiting", {})
    return netboot_held.is_another(records, record, checksum)


def _keep(state, records, image, iso):
    """Bring the ISO in step with its record, the disk and the wanted digests."""
    state.comment = f"{iso} is verified."
    known = records.iso(iso) or {}
    if known.get("renamed"):
        state.comment = f"{iso} would be renamed from another name."
        return
    # A new mode is a new identity, so that the file is read again.
    for path, mode in netboot_files.opened([iso], state.test).items():
        state.done(path, {"new": mode})
    # A fetch that ``fetching`` started counts as missing, although it may be complete by now.
    coming = _fetches(records).is_started(iso)
    there = None if coming else netboot_files.identity(iso)
    same = there is not None and there == known.get("identity")
    dropped = not there and known.get("dropped")
    sums = _sums(state, records, image, iso, known, same or dropped)
    wanted = image["checksum"] or sums.get("checksum") or known.get("digests", {})
    if dropped and _is_dropped(records, iso, image, wanted):
        state.comment = f"{iso} was removed after unpacking."
        return
    right = same and has_digests(known["digests"], wanted)
    if right and image["verify"] != "always":
        if sums and sums != known.get("sums") and not state.test:
            records.write_iso(iso, {**known, "sums": sums})
        return
    netboot_images.check_before_fetch(records, image, iso, wanted)
    outdated = same and _contradicts(known, wanted)
    hosts = netboot_answering.installed_from(records, image["label"]) if outdated else []
    if hosts:
        state.warn(f"{iso} is outdated. It stays, as {some(hosts)} is being installed from it.")
        return
    if state.test:
        _foretell(state, records, image, iso, there, right, outdated)
        return
    found = _checked(state, records, iso, known, wanted) if there and not outdated else None
    if not found:
        _keep_previous(records, image, wanted)
    try:
        record = found or _fetches(records, begins=True).fetch(
            _sources(records, image), iso, wanted, to_be_claimed=True
        )
    except CommandExecutionError as err:
        _news(image["label"], "failed", file=image["file"], error=str(err))
        raise
    if not found:
        size, source = f"{record['size'] / 1e9:.2f} GB", shown(record["source"])
        reused = record.pop("reused")
        state.comment = f"{iso} was fetched from {source} and verified ({reused or size})."
        state.warn(*record.pop("skipped"))
    if sums:
        record["sums"] = sums
    iso_download.claim(records, iso, records.config()["paths"]["staging"], record)
    old, new = known.get("digests", {}).get("sha256"), record["digests"]["sha256"]
    if not found:
        what = "refreshed" if old not in (None, new) else "fetched"
        told = {"file": image["file"], "size": record["size"], "source": shown(record["source"])}
        _news(image["label"], what, **told, sha256=new, before=old or "")
    if iso in state.changes:
        state.changes[iso]["new"] = f"sha256 {new}"
    elif old != new or not found:
        state.done(iso, {"old": old and f"sha256 {old}", "new": f"sha256 {new}"})


def _keep_previous(records, image, wanted):
    """Keep what an image was, before its wave brings another revision."""
    record = records.image(image["label"])
    if records.config()["waves"] and record and netboot_held.is_another(records, record, wanted):
        netboot_previous.keep(records, image["label"])


def _sum_file(records, image, before=None):
    """Return what an image's sum file says now."""
    stall_timeout_s = records.config()["fetch"]["stall_timeout_s"]
    site = _site(records)
    sources = site.urls(image) if site else _sources(records, image)
    return iso_sums.expected(sources, stall_timeout_s, before, image["file"])


def _sums(state, records, image, iso, known, settled):
    """Return an ISO's digest from the sum file; the known digest if the server is down."""
    before = known.get("sums") or {}
    if not image["sums"]:
        return {}
    asked = __context__.get(_ASKED, {}).pop(iso, None)
    if not asked and (state.test or settled) and not (settled and image["refresh"]):
        return before
    try:
        sums = asked or _sum_file(records, image, before or None)
    except CommandExecutionError as err:
        if not before:
            raise
        state.warn(f"Cannot check whether {iso} is still the newest: {err}")
        return before
    if not set(SAFE_DIGESTS) & set(sums["checksum"]):
        state.warn(f"{shown(sums['url'])} does not protect against forgery, as it has MD5 digests.")
    return sums


def _is_dropped(records, path, image, wanted):
    return not image["keep_iso"] and netboot_images.is_enough_without_iso(
        records, image, path, wanted
    )


def _contradicts(record, wanted):
    """Return whether the record shows that the file is not the wanted file."""
    return any(record["digests"].get(kind, digest) != digest for kind, digest in wanted.items())


def _foretell(state, records, image, iso, there, right, outdated):
    if right:
        state.comment = f"{iso} would be verified again."
        return
    what = "be verified" if there and not outdated else _foreseen(state, records, image, iso)
    state.plan({iso: f"would {what}"})
    state.comment = f"{iso} would {what}."


def _foreseen(state, records, image, iso):
    """Return where an ISO would come from, and warn if it cannot."""
    refused = []
    for url in _sources(records, image):
        try:
            size = iso_sources.size(url, _ASKED_WITHIN_S)
        except (CommandExecutionError, OSError) as err:
            refused.append(f"{shown(url)}: {err}")
            continue
        root = records.config()["root"]
        while not os.path.isdir(root):
            root = os.path.dirname(root)
        free = shutil.disk_usage(root).free
        if size and size > free:
            state.warn(f"{iso} has {size} bytes, but only {free} are free.")
        controller = url.startswith(f"{__pillar__.get(CONTROLLER)}/")
        where = "the host of salt-ssh" if controller else shown(url)
        return f"be fetched from {where}" + (f" ({size / 1e9:.2f} GB)" if size else "")
    if not refused:
        return "be fetched from another server"
    state.warn(f"{iso} cannot be fetched now: {'; '.join(refused)}.")
    return f"be fetched from {shown(image['sources'][0])}"


def _checked(state, records, iso, known, wanted):
    """Hash a file and return its record, or None; a wrong file is taken out of service."""
    found = iso_hashes.digests(iso, sorted(wanted))
    sha256 = found["digests"]["sha256"]
    as_before = sha256 == known.get("digests", {}).get("sha256")
    if has_digests(found["digests"], wanted):
        state.comment = f"{iso} already existed, and was verified."
        if as_before and "source" in known:
            found["source"] = known["source"]  # which shows that these states fetched it
        return found
    if as_before:
        return None
    if known.get("source"):
        os.unlink(iso)
        done = "removed"
    else:
        # A foreign file, and perhaps the checksum is wrong: out of service, but not lost.
        staging = records.config()["paths"]["staging"]
        aside = os.path.join(staging, f"{os.path.basename(iso)}.{sha256[:12]}")
        os.replace(iso, aside)
        done = f"moved to {aside}"
    records.remove_iso(iso)
    state.done(iso, {"old": f"sha256 {sha256}, which was wrong", "new": done})
    return None


def renamed(name):
    """
    Ensure that an ISO that exists under another file name is not fetched again.

    An ISO that these states fetched, that is no longer in the pillar and not in use gets the name
    that the pillar has for the same digests.

    name
        What is renamed; only shown.

    ``changes`` contains the ISOs with their former names. Under ``test=True`` the states after it
    see the records as this state would leave them.

    .. code-block:: yaml

        netboot-images-renamed:
          alt_iso.renamed:
            - name: ISOs
    """
    with State(name, "All ISOs have their current names.", __opts__["test"]) as state:
        records = _records()
        config = records.config()
        files = [image["file"] for image in config["images"]]
        for image in config["images"]:
            path = os.path.join(config["paths"]["dist"], image["file"])
            if os.path.lexists(path):
                continue
            old = netboot_images.same_iso(records, image["checksum"], files)
            if not old:
                continue
            if state.test:
                record = {**records.iso(old), "renamed": True}
                records.foretell("isos", image["file"], record)
                records.foretell("isos", os.path.basename(old), None)
            else:
                netboot_images.rename_iso(records, old, path)
            state.done(path, {"old": old, "new": path})
        if state.changes:
            done = "renamed instead of fetched again"
            state.comment = state.counted(len(state.changes), "ISO", done)
    return state.ret
