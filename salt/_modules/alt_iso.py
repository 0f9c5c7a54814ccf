"""
Inspect ALT ISOs.
"""

import netboot_fresh

netboot_fresh.forget_old()

import iso_tree
from netboot_records import Records

__virtualname__ = "alt_iso"


def __virtual__():
    return __virtualname__


def inspect(path, image="NAME"):
    """
    Return the facts of an ALT image, read from its own file list and boot menus.

    path
        The ISO file (absolute path).

    image : NAME
        The image's name in the pillar, for the keys in ``missing``.

    Returns a map: ``arch``, ``product``, ``version``, ``branch``, ``volume_id``, ``uuid``,
    ``build_date``, ``dialect`` (``altboot`` or ``propagator``), ``kernel``, ``initrd``,
    ``flavours``, ``stages`` with sizes in bytes, ``livecd``, ``installer``, ``rescue``,
    ``http_iso``, and ``missing``: unknown facts, with the pillar keys that set them; ``rejected``:
    entries that are never unpacked, each with its reason; ``secure_boot``: its shim, second stage
    and kernel, who signed them, and why its kernel does not start with Secure Boot; and ``sha256``:
    digests of what clients boot by path, if this very file was unpacked on this machine, otherwise
    empty.

    Raises CommandExecutionError when the file cannot be read, is not an ISO 9660 image or is
    truncated.

    CLI Example:

    .. code-block:: bash

        salt 'netboot*' alt_iso.inspect /srv/export/dist/alt-server-11.0-x86_64.iso
    """
    facts = iso_tree.inspect(path, image)
    facts["sha256"] = {}
    for record in Records.of(__opts__, __context__).images():
        if record["facts"]["tree"]["iso"] == iso_tree.iso(path):
            facts["sha256"] = record["facts"]["sha256"]
    return facts
