"""
Exports of the file servers: the texts of their configuration. Pure.

Besides HTTP and TFTP there are SMB, NFS and FTP, each for the boot entries that use it.
"""

from __future__ import annotations

import re
import uuid

from netboot_shapes import Config

#: Directories below the root that clients see.
DIRECTORIES = ("dist", "tftp")

#: Options of Samba's [global] with the values that keep guests out (smb.conf(5)); guests cannot
#: sign or encrypt, as they have no password from which to derive a key.
FORBIDS_GUESTS = {
    "map to guest": ("never",),
    "restrict anonymous": ("2",),
    "server signing": ("mandatory", "required", "force", "forced", "enforced"),
    "server smb encrypt": ("required", "mandatory", "force", "forced", "enforced"),
}

_BEGIN, _END = "# netboot-alt begin", "# netboot-alt end"


def nfs(config: Config, mounts: list[str]) -> str:
    """
    Return the text of an exports(5) file.

    config
        The applied configuration, as ``netboot.config`` resolves it.

    mounts
        Absolute paths of the loop mounts below the root. Each needs its own line, as a mount is
        another file system; a fixed ``fsid``, as ISO 9660 has no number that survives a reboot;
        and ``mountpoint``, so that the empty directory below is never exported.

    The directories have ``subtree_check``: without it, clients with forged file handles can read
    every world-readable file on their file system (exports(5)).
    """
    lines = ["# Managed by netboot-alt: changes are lost at the next apply."]
    common = "ro,all_squash,insecure"
    for path in [*(f"{config['root']}/{directory}" for directory in DIRECTORIES), *sorted(mounts)]:
        options = f"{common},fsid={uuid.uuid5(uuid.NAMESPACE_URL, path)}"
        options += ",no_subtree_check,mountpoint" if path in mounts else ",subtree_check"
        lines.append(" ".join([path, *(f"{one}({options})" for one in config["nfs"]["clients"])]))
    return "\n".join(lines) + "\n"


def smb(config: Config, guests: bool) -> str:
    """
    Return the text of the file with the shares, to be included by smb.conf.

    config
        The applied configuration, as ``netboot.config`` resolves it.

    guests
        Whether to allow guests; False if Samba's own configuration does.
    """
    lines = ["# Managed by netboot-alt: changes are lost at the next apply."]
    settings = {}
    if guests:
        settings["map to guest"] = "Bad User"
    if config["smb"]["smb1"]:
        settings["server min protocol"] = "NT1"
    if settings:
        lines += ["[global]", *(f"    {key} = {value}" for key, value in settings.items())]
    for directory in DIRECTORIES:
        lines += [
            f"[{directory}]",
            f"    path = {config['root']}/{directory}",
            "    comment = ALT Linux network boot",
            "    read only = yes",
            "    guest ok = yes",
            "    guest only = yes",
            "    wide links = no",
        ]
    return "\n".join(lines) + "\n"


def smb_included(text: str, path: str) -> str:
    """
    Return the text of an smb.conf that includes a file at its end.

    text
        The present text, with or without the inclusion.

    path
        Absolute path of the file to include; empty: the inclusion is removed.
    """
    rest = re.sub(rf"\n?{_BEGIN}\n.*?{_END}\n", "", text, flags=re.DOTALL)
    if not path:
        return rest
    if rest and not rest.endswith("\n"):
        rest += "\n"
    return f"{rest}\n{_BEGIN}\ninclude = {path}\n{_END}\n"


def smb_contradictions(text: str, effective: dict[str, str]) -> list[str]:
    """
    Return what in an admin's own smb.conf prevents the shares from being served.

    text
        Its text, without the inclusion.

    effective
        Values of the options in ``FORBIDS_GUESTS`` according to ``testparm``, by option.

    Returns a list of one-line strings.
    """
    found = [
        f"it has its own share [{directory}]; remove or rename that"
        for directory in DIRECTORIES
        if re.search(rf"^\s*\[{directory}\]", text, flags=re.MULTILINE | re.IGNORECASE)
    ]
    for option, values in FORBIDS_GUESTS.items():
        value = effective.get(option, "").strip().lower()
        # Never is also Samba's default, which the file with the shares overrides.
        said = option != "map to guest" or re.search(
            r"^\s*map\s*to\s*guest\s*=", text, flags=re.MULTILINE | re.IGNORECASE
        )
        if value in values and said:
            found.append(f"its option {option!r} is {value!r}, which keeps guests out; change it")
    return found
