"""
Remove what these states installed on a machine.
"""

import os
import time

import netboot_fresh

netboot_fresh.forget_old()

from salt.exceptions import CommandExecutionError

import iso_delta
from netboot_names import some
from netboot_records import Records
from netboot_state import State

__virtualname__ = "netboot_clean"


def __virtual__():
    return __virtualname__


def served(name, images=False):
    """
    Ensure that the served directory contains nothing that these states wrote.

    Menus, scripts of hosts and boot loaders are removed; images stay unless requested. Files that
    these states did not write stay, and so do their directories. Records stay as long as there are
    images, as they show who owns these; boots of hosts with ``once`` stay unless images are
    requested, as hosts without them would be installed again.

    name
        Only shown; the directory is that of the configuration on record.

    images
        Remove images too: ISOs and trees that ``alt_iso`` and ``alt_image`` own.

    ``changes`` contains each removed path; the directory of the records stands for these.

    .. code-block:: yaml

        netboot-clean-served:
          netboot_clean.served:
            - name: served files
            - images: false
    """
    with State(name, "Nothing is left to remove.", __opts__["test"]) as state:
        records = Records.of(__opts__, __context__)
        config = records.on_record()
        if not config:
            return state.ret
        records.resolve(config)
        directories = _directories(config)
        if images:
            done = __states__["alt_image.pruned"]("images", keep=False)
            for path, change in done["changes"].items():
                state.done(path, change)
            if done["result"] is False:
                raise CommandExecutionError(done["comment"])
        tftp = config["paths"]["tftp"]
        files = [*records.owned("menus", []), *records.owned("firmware", [])]
        scripts = [f"{host}.ipxe" for host in records.armings()]
        paths = [os.path.join(tftp, file) for file in files]
        if "coming" in config["paths"]:  # not in those of earlier versions
            paths.append(config["paths"]["coming"])
        for directory in _once(config):
            paths += [os.path.join(directory, script) for script in scripts]
        own = [
            os.path.join(one, f"{host}.cfg") for one in _grub(config) for host in records.armings()
        ]
        paths += own
        # Of ISOs that may stay, for other servers.
        dist = config["paths"]["dist"]
        paths += [
            os.path.join(dist, file + iso_delta.SUFFIX) for file in records.owned("deltas", {})
        ]
        for path in filter(os.path.lexists, paths):
            state.done(path, "removed")
            if not state.test:
                os.unlink(path)
        _remove_empty(state, config, directories)
        if _is_needed(state, records, config, images):
            if not state.test:
                for record in ("menus", "firmware", "deltas"):
                    records.remove("owned", record)
                if not records.out_of_service():
                    run = {"at": int(time.time()), "failed": {}, "cleaned": True}
                    records.write("applied", "run", run)
        else:
            gone = records.clear(state.test)
            state.done(records.directory, "removed" if gone else "emptied, foreign files stay")
        if state.changes:
            counted = state.counted(len(state.changes), "path", "removed")
            state.comment = f"{counted[:-1]}: {some(state.changes)}."
    return state.ret


def _is_needed(state, records, config, images):
    """Return whether the records are still needed, under ``test=True`` afterwards."""
    dist = config["paths"]["dist"]
    kept = [image["tree"] for image in records.images()]
    kept += [os.path.join(dist, file) for file in records.names("isos")]
    # Admins: an account that is applying these states stays.
    return bool(
        [path for path in kept if path not in state.changes]
        or (records.names("once") and not images)
        or records.owned("admins", [])
    )


def _once(config):
    """List where scripts of armed hosts are, and where earlier versions had them."""
    paths = config["paths"]
    return [paths["once_scripts"], paths.get("once_before", f"{paths['tftp']}/once")]


def _grub(config):
    """List where armed hosts have scripts of GRUB, and the directory above it."""
    paths = config["paths"]
    return [paths[name] for name in ("grub_once", "grub") if name in paths]


def _directories(config):
    """List the directories that these states created, those below before those above."""
    paths = config["paths"]
    trees = paths["trees"]
    arches = os.listdir(trees) if os.path.isdir(trees) else []
    directories = (
        *(os.path.join(trees, arch) for arch in arches),
        *_once(config),
        *_grub(config),
        *(paths[name] for name in ("trees", "tftp", "dist", "staging")),
        config["root"],
        # It may contain foreign files, such as a certificate.
        paths["etc"],
    )
    return list(filter(os.path.isdir, directories))


def _remove_empty(state, config, directories):
    """Remove directories if they are empty and not mounted."""
    paths = config["paths"]
    # Other states of netboot.clean remove these before.
    gone = {paths["dnsmasq"], paths["passwords"], paths["vsftpd"]} if state.test else set()
    for directory in directories:
        if not os.path.isdir(directory):
            state.done(directory, "removed")  # together with the last image in it
        elif not os.path.ismount(directory):
            files = {os.path.join(directory, file) for file in os.listdir(directory)}
            if files <= {*state.changes, *gone}:
                if not state.test:
                    os.rmdir(directory)
                state.done(directory, "removed")
