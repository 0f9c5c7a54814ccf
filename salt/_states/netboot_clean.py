"""
Take back what these states put on a machine.
"""

import os
import shutil

from salt.exceptions import CommandExecutionError, SaltInvocationError

__virtualname__ = "netboot_clean"


def __virtual__():
    return __virtualname__


def served(name, images=False):
    """
    Ensure that the folder that clients see holds nothing that these states wrote.

    Menus, scripts of hosts and boot loaders go; images stay unless asked. Files that these states
    did not write stay, and so do the folders that hold any. What is on record goes with the images,
    as it tells whose they are.

    name
        Only shown; the folder is that of the configuration on record.

    images
        Remove images too: what ``alt_iso`` and ``alt_image`` call their own.

    ``changes`` has each path that was removed.

    .. code-block:: yaml

        netboot-clean-served:
          netboot_clean.served:
            - name: served files
            - images: false
    """
    ret = {"name": name, "result": True, "changes": {}, "comment": "Nothing of ours is left."}
    try:
        applied = __salt__["netboot_records.read"]("applied", "config")
        if not applied:
            return ret
        root = applied["root"]
        if images:
            done = __states__["alt_image.pruned"](root, [], os.path.join(root, ".staging"))
            ret["changes"].update(done["changes"])
            ret["comment"] = done["comment"]
            if done["result"] is False:
                ret["result"] = False
                return ret
        tftp = os.path.join(root, "tftp")
        files = [*_owned("menus"), *_owned("firmware")]
        files += [f"once/{key}.ipxe" for key in _owned("once")]
        for path in (os.path.join(tftp, file) for file in files):
            if os.path.lexists(path):
                ret["changes"][path] = "removed"
                if not __opts__["test"]:
                    os.unlink(path)
        if not __opts__["test"]:
            # Who has booted once stays on record as long as there are records.
            for record in ("menus", "firmware"):
                __salt__["netboot_records.remove"]("owned", record)
            _remove_empty_folders(root, ret["changes"])
            kept = __salt__["netboot.images"]() or __salt__["netboot_records.names"]("isos")
            # Or an account that is applying this.
            if not kept and not _owned("admins"):
                records = __salt__["netboot_records.directory"]()
                shutil.rmtree(records)
                ret["changes"][records] = "removed"
    except (CommandExecutionError, SaltInvocationError, OSError) as err:
        ret.update(result=False, comment=str(err))
        return ret
    if ret["changes"]:
        ret["result"] = None if __opts__["test"] else True
        ret["comment"] = (
            f"{len(ret['changes'])} {'would be' if __opts__['test'] else 'were'} removed."
        )
    return ret


def _owned(record):
    return __salt__["netboot_records.read"]("owned", record) or []


def _remove_empty_folders(root, changes):
    """Remove the folders that these states made, as far as they are empty and not mounted."""
    netboot = os.path.join(root, "tftp", "netboot")
    arches = os.listdir(netboot) if os.path.isdir(netboot) else []
    for folder in (
        *(os.path.join(netboot, arch) for arch in arches),
        *(os.path.join(root, below) for below in ("tftp/netboot", "tftp/once", "tftp", "dist")),
        os.path.join(root, ".staging"),
        root,
        # Others may have put theirs there: a certificate.
        "/etc/netboot",
    ):
        if os.path.isdir(folder) and not os.path.ismount(folder) and not os.listdir(folder):
            os.rmdir(folder)
            changes[folder] = "removed"
