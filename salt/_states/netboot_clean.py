"""
Remove what these states installed on a machine.
"""

import os
import shutil

import netboot_fresh

netboot_fresh.forget_old()

from netboot_records import Records
from netboot_state import State
from salt.exceptions import CommandExecutionError

__virtualname__ = "netboot_clean"


def __virtual__():
    return __virtualname__


def served(name, images=False):
    """
    Ensure that the served directory contains nothing that these states wrote.

    Menus, scripts of hosts and boot loaders are removed; images stay unless requested. Files that
    these states did not write stay, and so do their directories. Records are removed together with
    the images, as they show who owns these.

    name
        Only shown; the directory is that of the configuration on record.

    images
        Remove images too: ISOs and trees that ``alt_iso`` and ``alt_image`` own.

    ``changes`` contains each removed path.

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
        paths += [os.path.join(config["paths"]["once_scripts"], script) for script in scripts]
        for path in filter(os.path.lexists, paths):
            state.done(path, "removed")
            if not state.test:
                os.unlink(path)
        if not state.test:
            # Boots of hosts with ``once`` stay on record as long as there are records.
            for record in ("menus", "firmware"):
                records.remove("owned", record)
            _remove_empty(state, config)
            kept = records.images() or records.names("isos")
            # Or the account that is applying these states.
            if not kept and not records.owned("admins", []):
                shutil.rmtree(records.directory)
                state.done(records.directory, "removed")
        if state.changes:
            would = "would be" if state.test else "were"
            state.comment = f"{len(state.changes)} {would} removed."
    return state.ret


def _remove_empty(state, config):
    """Remove the directories that these states created if they are empty and not mounted."""
    paths = config["paths"]
    trees = paths["trees"]
    arches = os.listdir(trees) if os.path.isdir(trees) else []
    for directory in (
        *(os.path.join(trees, arch) for arch in arches),
        *(paths[name] for name in ("trees", "once_scripts", "tftp", "dist", "staging")),
        config["root"],
        # It may contain foreign files, such as a certificate.
        paths["etc"],
    ):
        if os.path.isdir(directory) and not os.path.ismount(directory) and not os.listdir(directory):
            os.rmdir(directory)
            state.done(directory, "removed")
