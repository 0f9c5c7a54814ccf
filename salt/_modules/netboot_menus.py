"""
iPXE scripts: made from the boot entries by a template, kept in step with a folder.
"""

import os
import tempfile
from concurrent.futures import ThreadPoolExecutor

import jinja2
from salt.exceptions import CommandExecutionError

__virtualname__ = "netboot_menus"

#: Architectures that have a menu, each with those whose images it offers. A BIOS starts 64-bit
#: iPXE's script for both, and the script looks at the CPU; UEFI starts its own architecture only.
MENUS = {
    "x86_64": ("x86_64", "i586"),
    "i586": ("i586",),
    "aarch64": ("aarch64",),
    "riscv64": ("riscv64",),
    "loongarch64": ("loongarch64",),
}


def __virtual__():
    return __virtualname__


def render(template, config, entries):
    """
    Make the iPXE scripts.

    template
        Path of the template of an architecture's menu.

    config
        The applied configuration, as ``netboot.config`` resolves it.

    entries
        The boot entries, as ``netboot_entries.build`` makes them.

    Returns the scripts' texts by file name, one for each architecture.

    Raises CommandExecutionError when the template is broken.

    CLI Example:

    .. code-block:: bash

        salt 'netboot*' netboot_menus.render /tmp/menu.ipxe.jinja '{...}' '[]'
    """
    environment = jinja2.Environment(  # noqa: S701 (scripts, not HTML)
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    try:
        with open(template, encoding="utf-8") as file:
            menu = environment.from_string(file.read())
        scripts = {}
        for arch, arches in MENUS.items():
            offered = [entry for entry in entries if entry["arch"] in arches]
            scripts[f"config-{arch}.ipxe"] = menu.render(
                config=config,
                arch=arch,
                entries=offered,
                default=_default(offered, config, arch),
            )
    except (OSError, jinja2.TemplateError) as err:
        raise CommandExecutionError(f"The menu template {template} is broken: {err}") from err
    return scripts


def _default(entries, config, arch):
    """The entry that the menu starts by itself; an installer only when the pillar says so."""
    image = config["default_image"].get(arch)
    variant = config["default_variant"].get(arch, "livecd")
    fit = (one for one in entries if (one["image"], one["variant"]) == (image, variant))
    return next((one["id"] for one in fit), "local")


def unmet_defaults(config, entries):
    """
    Say which default images have entries, but none that the menu may start by itself.

    config, entries
        As of ``render``.

    Returns a list of one-line texts.

    CLI Example:

    .. code-block:: bash

        salt 'netboot*' netboot_menus.unmet_defaults '{...}' '[]'
    """
    found = []
    for arch, image in config["default_image"].items():
        of_image = [one for one in entries if one["image"] == image]
        there = [one["variant"] for one in of_image if one["arch"] in MENUS[arch]]
        if of_image and not there:
            found.append(
                f"netboot:default_image:{arch}: {image} is an image for {of_image[0]['arch']}"
            )
        variant = config["default_variant"].get(arch, "livecd")
        if there and variant not in there:
            found.append(
                f"netboot:default_image:{arch}: {image} has no {variant}; set "
                f"netboot:default_variant:{arch} to one of {', '.join(dict.fromkeys(there))} if "
                "clients shall start that when the menu's time is up"
            )
        if any(one["password"] for one in of_image if one["variant"] == variant):
            found.append(
                f"netboot:default_image:{arch}: {image}: {variant} asks for a password, so clients "
                "boot from their own disks when the menu's time is up"
            )
    return found


def difference(folder, files, owned):
    """
    Say what must change in a folder so that it holds these files.

    folder
        Absolute path.

    files
        Texts by file name.

    owned
        Names of the files there that were written before by these states, and may be removed.

    Returns a map by file name of ``new``, ``changed`` or ``removed``; empty when all is in place.

    CLI Example:

    .. code-block:: bash

        salt 'netboot*' netboot_menus.difference /srv/export/tftp '{config-x86_64.ipxe: ""}' '[]'
    """
    changes = {}
    for name, text in files.items():
        try:
            with open(os.path.join(folder, name), encoding="utf-8", newline="") as file:
                if file.read() != text:
                    changes[name] = "changed"
        except (FileNotFoundError, NotADirectoryError):
            changes[name] = "new"
        except UnicodeDecodeError:
            changes[name] = "changed"
    for name in owned:
        if name not in files and os.path.exists(os.path.join(folder, name)):
            changes[name] = "removed"
    return changes


def write(folder, files, changes, staging):
    """
    Carry out what ``difference`` said. Each file is replaced at once.

    folder, files, changes
        As of ``difference``.

    staging
        Folder on the same filesystem, closed to others, for files being written.

    Raises CommandExecutionError when the folder cannot be written.

    CLI Example:

    .. code-block:: bash

        salt 'netboot*' netboot_menus.write /srv/export/tftp '{a.ipxe: ""}' '{a.ipxe: new}' /tmp/x
    """

    def carry_out(name):
        path = os.path.join(folder, name)
        if changes[name] == "removed":
            os.unlink(path)
            return
        handle, temporary = tempfile.mkstemp(dir=staging, prefix="menu.")
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            file.write(files[name])
            os.fchmod(file.fileno(), 0o644)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)

    try:
        # Thousands of hosts have a script each: the disk takes many that wait for it at once.
        with ThreadPoolExecutor(32) as pool:
            list(pool.map(carry_out, changes))
    except OSError as err:
        raise CommandExecutionError(f"{folder} cannot be written: {err}") from err
