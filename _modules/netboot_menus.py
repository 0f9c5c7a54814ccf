"""
iPXE scripts: made from the boot entries by a template, kept in step with a folder.
"""

import os
import tempfile

import jinja2
from salt.exceptions import CommandExecutionError

__virtualname__ = "netboot_menus"


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

    Returns the scripts' texts by file name, one for each architecture that this machine has
    firmware for.

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
        for arch in sorted({one["arch"] for one in config["platform"]["firmware"].values()}):
            offered = [entry for entry in entries if entry["arch"] == arch]
            scripts[f"config-{arch}.ipxe"] = menu.render(
                config=config,
                arch=arch,
                entries=offered,
                default=_default(offered, config["default_image"].get(arch)),
            )
    except (OSError, jinja2.TemplateError) as err:
        raise CommandExecutionError(f"The menu template {template} is broken: {err}") from err
    return scripts


def _default(entries, image):
    """The entry that the menu starts by itself: a live system rather than an installer."""
    of_image = {entry["variant"]: entry["id"] for entry in entries if entry["image"] == image}
    for variant in ("livecd", "install", "rescue"):
        if variant in of_image:
            return of_image[variant]
    return "local"


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
    try:
        for name, change in changes.items():
            path = os.path.join(folder, name)
            if change == "removed":
                os.unlink(path)
                continue
            handle, temporary = tempfile.mkstemp(dir=staging, prefix="menu.")
            with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
                file.write(files[name])
                os.fchmod(file.fileno(), 0o644)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
    except OSError as err:
        raise CommandExecutionError(f"{folder} cannot be written: {err}") from err
