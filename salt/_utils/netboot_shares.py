"""
What file servers export: the texts of their configuration. Pure.

Beside HTTP and TFTP there are SMB, NFS and FTP, each for the boot entries that use it.
"""

from __future__ import annotations

import re
import uuid

from netboot_shapes import Config

#: Folders below the root that clients see.
FOLDERS = ("dist", "tftp")

#: Options of Samba's [global] with the values that keep guests out (smb.conf(5)); guests can't
#: sign or encrypt, as they have no password to make a key from.
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
        Absolute paths of the loop mounts below the root. Each needs a line of its own, as a mount
        is another file system; a fixed ``fsid``, as ISO 9660 has no number that survives a reboot;
        and ``mountpoint``, so that the empty folder below is never exported.

    The folders have ``subtree_check``: without it, clients that make up file handles read whatever
    anybody may read on the file system that the folders are on (exports(5)).
    """
    lines = ["# Managed by netboot-alt: changes are lost at the next apply."]
    common = "ro,all_squash,insecure"
    for path in [*(f"{config['root']}/{folder}" for folder in FOLDERS), *sorted(mounts)]:
        options = f"{common},fsid={uuid.uuid5(uuid.NAMESPACE_URL, path)}"
        options += ",no_subtree_check,mountpoint" if path in mounts else ",subtree_check"
        lines.append(" ".join([path, *(f"{one}({options})" for one in config["nfs"]["clients"])]))
    return "\n".join(lines) + "\n"


def smb(config: Config, guests: bool) -> str:
    """
    Return the text of a file with the shares, for smb.conf to include.

    config
        The applied configuration, as ``netboot.config`` resolves it.

    guests
        Whether Samba must be told to let guests in; false when its own configuration does.
    """
    lines = ["# Managed by netboot-alt: changes are lost at the next apply."]
    settings = {}
    if guests:
        settings["map to guest"] = "Bad User"
    if config["smb"]["smb1"]:
        settings["server min protocol"] = "NT1"
    if settings:
        lines += ["[global]", *(f"    {key} = {value}" for key, value in settings.items())]
    for folder in FOLDERS:
        lines += [
            f"[{folder}]",
            f"    path = {config['root']}/{folder}",
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
        Absolute path of the file to include; empty: the inclusion is taken out.
    """
    rest = re.sub(rf"\n?{_BEGIN}\n.*?{_END}\n", "", text, flags=re.DOTALL)
    if not path:
        return rest
    if rest and not rest.endswith("\n"):
        rest += "\n"
    return f"{rest}\n{_BEGIN}\ninclude = {path}\n{_END}\n"


def smb_contradictions(text: str, effective: dict[str, str]) -> list[str]:
    """
    Say what in an admin's own smb.conf keeps the shares from being served.

    text
        Its text, without the inclusion.

    effective
        What ``testparm`` says of the options in ``FORBIDS_GUESTS``, by option.

    Returns a list of one-line texts.
    """
    found = [
        f"it has a share [{folder}] of its own; take that out, or rename it"
        for folder in FOLDERS
        if re.search(rf"^\s*\[{folder}\]", text, flags=re.MULTILINE | re.IGNORECASE)
    ]
    for option, values in FORBIDS_GUESTS.items():
        value = effective.get(option, "").strip().lower()
        # Never is also what Samba takes when nothing is said; then the shares' file says otherwise.
        said = option != "map to guest" or re.search(
            r"^\s*map\s*to\s*guest\s*=", text, flags=re.MULTILINE | re.IGNORECASE
        )
        if value in values and said:
            found.append(f"its option {option!r} is {value!r}, which keeps guests out")
    return found
