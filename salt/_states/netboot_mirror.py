"""
ISOs for other netboot servers: found by them, their sums and what zsync needs beside them.
"""

import os

import netboot_fresh

netboot_fresh.forget_old()

import iso_delta
import iso_part
import netboot_site
import netboot_templates
from netboot_records import Records
from netboot_state import State

__virtualname__ = "netboot_mirror"


def __virtual__():
    return __virtualname__


def _site(records):
    mine = (__salt__["mine.get"], __salt__["mine.send"])
    return netboot_site.of(records, __opts__, __context__, *mine)


def listed(name):
    """
    Ensure that the sum file of a mirror has its verified ISOs.

    name
        Absolute path of the sum file.

    ``changes`` contains the difference.

    .. code-block:: yaml

        netboot-mirror-sums:
          netboot_mirror.listed:
            - name: /srv/export/dist/SHA256SUM
    """
    with State(name, f"{name} is up to date.", __opts__["test"]) as state:
        records = Records.of(__opts__, __context__)
        config = records.config()
        isos = {image["file"]: records.iso(image["file"]) for image in config["images"]}
        text = "".join(
            f"{known['digests']['sha256']}  {file}\n"
            for file, known in sorted(isos.items())
            if known
        )
        netboot_templates.in_step(state, name, text, config["paths"]["staging"])
    return state.ret


def indexed(name):
    """
    Ensure that a mirror with ``deltas`` has a control file of zsync beside each of its verified
    ISOs that is not small; one without ``deltas`` has none.

    name
        What is kept; only shown.

    ``changes`` contains the control files that were made or removed.

    .. code-block:: yaml

        netboot-mirror-deltas:
          netboot_mirror.indexed:
            - name: deltas
    """
    with State(name, "The control files are up to date.", __opts__["test"]) as state:
        records = Records.of(__opts__, __context__)
        config = records.config()
        owned = records.owned("deltas", {})
        wanted = _to_index(records) if config["deltas"] else {}
        if wanted and not state.test and not iso_delta.can_make():
            state.warn("zsyncmake is not installed here; servers fetch whole ISOs.")
            wanted = {file: sha256 for file, sha256 in wanted.items() if file in owned}
        for file in sorted(owned.keys() - wanted.keys()):
            control = os.path.join(config["paths"]["dist"], file + iso_delta.SUFFIX)
            state.done(control, "removed")
            if not state.test:
                iso_part.unlink(control)
                owned = {one: known for one, known in owned.items() if one != file}
                records.write("owned", "deltas", owned)
        for file, sha256 in wanted.items():
            iso = os.path.join(config["paths"]["dist"], file)
            control = iso + iso_delta.SUFFIX
            if owned.get(file) == sha256 and os.path.exists(control):
                continue
            state.done(control, "made")
            if not state.test:
                iso_delta.make(iso, control, config["paths"]["staging"])
                owned = {**owned, file: sha256}
                records.write("owned", "deltas", owned)
    return state.ret


def _to_index(records):
    """Return the SHA-256 of the ISOs that have a control file, by file name."""
    isos = {image["file"]: records.iso(image["file"]) for image in records.config()["images"]}
    return {
        file: known["digests"]["sha256"]
        for file, known in sorted(isos.items())
        if known and not known.get("dropped") and known["size"] >= iso_delta.LEAST
    }


def shared(name):
    """
    Send the other netboot servers the list of ISOs that they can fetch here, through the mine.

    name
        What is shared; only shown.

    Changes nothing; under ``test=True`` nothing is sent.

    .. code-block:: yaml

        netboot-images-shared:
          netboot_mirror.shared:
            - name: ISOs
    """
    with State(name, "The other servers have the list of ISOs.", __opts__["test"]) as state:
        site = _site(Records.of(__opts__, __context__))
        if state.test:
            state.comment = "The other servers would get the list of ISOs."
        elif site and not site.share():
            state.warn(
                "The list did not reach the master, as the minion of this machine does not run."
            )
    return state.ret


def unshared(name):
    """
    Ensure that the other netboot servers have no list of ISOs on this machine.

    name
        What is no longer shared; only shown.

    ``changes`` contains what was taken out of the mine of the master.

    .. code-block:: yaml

        netboot-clean-shared:
          netboot_mirror.unshared:
            - name: ISOs
    """
    with State(name, "The other servers have no list.", __opts__["test"]) as state:
        where = netboot_site.where(Records.of(__opts__, __context__).config())
        if __salt__["mine.get"](__opts__["id"], where):
            state.comment = f"The list {state.would_be} removed."
            if state.plan({where: "removed from the mine"}):
                __salt__["mine.delete"](where)
    return state.ret
