"""
What ALT's installer is answered when it installs a machine unattended: its files, for one host in
one arming and one kind of firmware. Pure.

The steps that wipe disks name a profile with the arming's token, which only the ``vm-profile.scm``
of this arming has: an installer takes a file that is gone from its own medium without a word.
"""

from __future__ import annotations

import hashlib
import re

import netboot_install_scripts
import netboot_installers
import netboot_vm_profile
from netboot_installers import Installer
from netboot_scheme import Symbol, written
from netboot_shapes import Facts, Install, InstallMachine, StaticAddress

#: The platforms that answers differ for, as iPXE's ``${platform}`` names them.
PLATFORMS = ("pcbios", "efi")

# Of the boot loader's menu, as each public answer file has it.
_NO_PASSWORD = {"passwd": False, "passwd_1": "*", "passwd_2": "*"}

why_not = netboot_installers.why_not


def files(
    install: Install, facts: Facts, machine: InstallMachine, platform: str
) -> dict[str, bytes]:
    """
    Return the files that the installer of a machine asks for, by name.

    install
        The install, with all keys.

    facts
        Facts of the image, which ``why_not`` has nothing against.

    machine
        The machine.

    platform
        ``pcbios`` or ``efi``.

    Raises ``ValueError`` if the image cannot be installed so, or the token is not a plain word.
    """
    wrong = why_not(facts, install)
    if wrong:
        raise ValueError(wrong)
    if platform not in PLATFORMS or not re.fullmatch(r"[A-Za-z0-9_-]+", machine["token"]):
        raise ValueError(f"{platform!r} is not a platform, or the token is not a plain word")
    installer = netboot_installers.of(facts)
    profile = f"nb-{machine['token']}"
    title = f"netboot-alt: {machine['host']}"
    return {
        "autoinstall.scm": _autoinstall(install, installer, machine, profile, platform).encode(),
        "vm-profile.scm": netboot_vm_profile.text(
            install, installer, profile, title, platform
        ).encode(),
        "install-scripts.tar": netboot_install_scripts.archive(
            install, installer, machine, profile, _grub(install, platform)
        ),
    }


def kernel_words(install: Install) -> list[str]:
    """
    Return the words of the kernel command line that an unattended install needs besides ``curl=``.

    install
        The install.
    """
    return ["ai", *(["poweroff"] if install["finish"] == "poweroff" else [])]


def _call(name: str, /, *keys: object, **more: object) -> str:
    """Return a line of ``autoinstall.scm``: keys and values in pairs."""
    pairs = [*keys, *(one for pair in more.items() for one in pair)]
    words = [Symbol(one) if place % 2 == 0 else one for place, one in enumerate(pairs)]
    return written([name, *words])


def _write(name: str, /, **more: object) -> str:
    return _call(name, "action", "write", **more)


def _autoinstall(
    install: Install, installer: Installer, machine: InstallMachine, profile: str, platform: str
) -> str:
    language = [install["language"]]
    control = "/evms/control"
    lines = [
        _write("/sysconfig-base/language", lang=language),
        _write("/sysconfig-base/kbd", language=language, layout=install["keyboard"]),
        _write(
            "/datetime-installer",
            commit=True,
            name=install["language"].partition("_")[2],
            zone=install["timezone"],
            utc=install["utc"],
        ),
        _write(control, control=Symbol("open"), installer=True),
        _write(control, control=Symbol("update")),
        _call(
            f"/evms/profiles/{profile}",
            *("action", Symbol("apply")),
            commit=False,
            clearall=True,
            exclude=[],
        ),
        _write(control, control=Symbol("commit")),
        _write(control, control=Symbol("close")),
        *([_write("/remount-destination")] if installer.remount else []),
        _write(installer.package_step),
        _write("/pkg-install", lists=" ".join(install["package_groups"]), auto=True),
        _write("/preinstall"),
        _write("/grub", device=_grub(install, platform), **_NO_PASSWORD),
        *_network(install, installer, machine),
        *_accounts(install, installer, machine["token"]),
    ]
    if not installer.early:
        lines.append(_call("/postinstall/laststate", run=netboot_install_scripts.LAST_STATE))
    if install["script"]:
        lines.append(_call("/postinstall/firsttime", script=install["script"]))
    lines.append(_call("/postinstall/firsttime", run=netboot_install_scripts.FIRST_TIME))
    return "\n".join(lines) + "\n"


def _grub(install: Install, platform: str) -> str:
    given = install["grub_device"]
    if platform == "efi":
        return given if given.startswith("efi") else "efi"
    return given if given.startswith("/dev/") else "/dev/sda"


def _network(install: Install, installer: Installer, machine: InstallMachine) -> list[str]:
    static = machine["network"]
    back_end = install["network"] or ("NetworkManager" if installer.release >= 10 else "etcnet")
    cards = [static["interface"]] if static else install["interfaces"]
    lines = [_write("/net-eth", reset=True)]
    for name in cards:
        lines.append(
            _write(
                "/net-eth",
                name=name,
                ipv="4",
                ipv_enabled=True,
                configuration="static" if static else "dhcp",
                default=static.get("gateway", "") if static else "",
                search="",
                dns=" ".join(static.get("dns", [])) if static else "",
                computer_name=machine["hostname"],
                controlled=back_end,
                **({"onboot": True} if back_end == "etcnet" else {}),
            )
        )
    lines += _address(static) if static else []
    return [*lines, _write("/net-eth", commit=True)]


def _address(static: StaticAddress) -> list[str]:
    address, _, prefix = static["address"].partition("/")
    return [
        _call(
            "/net-eth",
            *("action", "add_iface_address"),
            name=static["interface"],
            addip=address,
            addmask=prefix,
            ipv="4",
        )
    ]


def _accounts(install: Install, installer: Installer, token: str) -> list[str]:
    """Return the calls for root and users."""
    lines = [
        _call(
            "/root/change_password",
            **_password(installer, token, "root", install["root_password"]),
        )
    ]
    for name, user in install["users"].items():
        lines.append(
            _call(
                "/users/create_account",
                new_name=name,
                **{"real_name" if installer.hashes else "gecos": user["real_name"]},
                allow_su=user["admin"],
                auto=False,
                **({"autologin": user["autologin"]} if installer.hashes else {}),
                **_password(installer, token, name, user["password"]),
            )
        )
    return lines


def _password(installer: Installer, token: str, user: str, given: str) -> dict[str, object]:
    """Return the keys of a password: up to p10 one that nobody has, until a script of ours sets
    the real hash."""
    if installer.hashes:
        return {"iscrypted": True, "passwd_1": given}
    unknown = hashlib.sha256(f"{token} {user}".encode()).hexdigest()[:32]
    return {"passwd_1": unknown, "passwd_2": unknown}
