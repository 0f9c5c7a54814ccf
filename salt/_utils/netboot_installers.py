"""
What the installer on an image understands of answers, by its release and its own names. Pure.

Sources: public answer files of p8 to p11, and the changelogs of ALT's packages ``installer``,
``installer-alterator-pkg`` and ``alterator-vm``. What is assumed is said where it stands.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from netboot_shapes import Facts, Install

# installer 1.11.3 of 2022-08-16 unpacks install-scripts.tar, alterator-vm 0.4.29 of 2022-07-26
# knows subvolumes. Assumed: images of p10 have both from this build date on.
_P10_WITH_BOTH = "2022-09-01"
# installer 1.15.5 of 2024-04-06 runs initinstall.d from it, 1.15.6 of May is the first with the
# steps of p11. Assumed: Sisyphus' images have both from this build date on.
_SISYPHUS_LIKE_P11 = "2024-06-01"
# alterator-vm adds GRUB's own partition on disks with a GPT since 0.4.42-alt3, of October 2024 at
# the latest; up to p9 disks have no GPT on a BIOS. Assumed: images have it from this date on.
_P11_WITH_SLOT = "2025-01-01"
# mkimage-profiles puts alterator-postinstall into every installer since then.
_P9_WITH_POSTINSTALL = "2019-08-31"
_NEWEST = 11


class Installer(NamedTuple):
    """
    ``release``
        8 to 11, what is newer counts as 11; 0: not known.

    ``package_step``
        Name of the call that starts the installation of packages.

    ``remount``
        Whether the step ``/remount-destination`` exists, which newer installers no longer add by
        themselves.

    ``hooks``
        Whether it has ``/postinstall/laststate`` and ``/postinstall/firsttime``.

    ``scripts``
        Whether it unpacks ``install-scripts.tar`` by itself.

    ``early``
        Whether it also runs ``initinstall.d`` from there, before any disk is touched.

    ``hashes``
        Whether it accepts hashes of passwords, and ``real_name`` instead of ``gecos``.

    ``subvolumes``
        Whether a profile of disks may have subvolumes of btrfs.

    ``slot``
        Whether a profile for a BIOS must have GRUB's own partition.
    """

    release: int
    package_step: str
    remount: bool
    hooks: bool
    scripts: bool
    early: bool
    hashes: bool
    subvolumes: bool
    slot: bool


def of(facts: Facts) -> Installer:
    """
    Return what the installer on an image understands.

    facts
        The image's facts.
    """
    built = facts.get("build_date", "")
    names = facts.get("installer_names")
    release = _release(facts)
    both = release >= 11 or (release == 10 and built >= _P10_WITH_BOTH)
    step = "pkg-install-init" if release >= 11 else "pkg-init"
    hooks = release >= 10 or (release == 9 and built >= _P9_WITH_POSTINSTALL)
    hooks = hooks and not facts.get("branch", "").startswith("c")
    if names is not None:
        hooks = "postinstall" in names
        # Early images of p11 may still have the old name.
        step = next((one for one in ("pkg-install-init", "pkg-init") if one in names), step)
    return Installer(
        release=release,
        package_step=step,
        remount="remount-destination" in (names or ()),
        hooks=hooks,
        scripts=both,
        early=release >= 11,
        hashes=release >= 11,
        subvolumes=both,
        slot=release == 10 or (release >= 11 and built < _P11_WITH_SLOT),
    )


def _release(facts: Facts) -> int:
    branch = facts.get("branch", "")
    if branch == "sisyphus":
        return _NEWEST if facts.get("build_date", "") >= _SISYPHUS_LIKE_P11 else 0
    found = re.match("[pc]([0-9]+)", branch)
    return min(int(found.group(1)), _NEWEST) if found else 0


def why_not(facts: Facts, install: Install) -> str:
    """
    Return why an image cannot be installed unattended in this way, or an empty string.

    facts
        The image's facts.

    install
        The install.
    """
    installer = of(facts)
    branch = facts.get("branch", "")
    if not facts.get("installer"):
        return "the image has no installer"
    if re.search(r"\boem\b", facts.get("product", ""), re.IGNORECASE):
        return "its OEM setup asks at the first boot"
    if not installer.release and branch == "sisyphus":
        return f"Sisyphus is installed unattended from images built since {_SISYPHUS_LIKE_P11}"
    if not installer.release:
        return "its release is not known, and with it what its installer understands"
    if installer.release < 8:
        return f"installers of {branch} are too old: p8 is the first"
    if installer.release >= 11 and facts["arch"] == "i586":
        return f"the first stage of {branch} for i586 has no drivers of network cards"
    if not installer.hooks:
        return (
            f"the installer of {branch} lacks alterator-postinstall, without which it can neither "
            "set passwords by their hashes nor report"
        )
    if install["disk"] != "all" and not installer.early:
        return (
            f"disk must be all: up to p10 an installer wipes every disk, and this one is {branch}"
        )
    if install["layout"] == "btrfs" and not installer.subvolumes:
        return f"layout must not be btrfs: the installer of this {branch} knows no subvolumes"
    return ""
