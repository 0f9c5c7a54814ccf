"""What the installers of ALT's generations can do.

From change logs of ALT's packages: the date on which a change was made there, as an ISO's date
tells whether it can have it. A branch may get a change later or never, so this is derived.
"""

from dataclasses import dataclass

# Controllers of a network, by what alterator-net-eth of that branch has.
ETCNET, NETWORK_MANAGER, NETWORKD = "etcnet", "NetworkManager", "systemd-networkd"
OLD_BRANCHES = ("p8", "p9")


@dataclass(frozen=True)
class Features:
    """What an installer knows.

    package_step: the call that begins with packages. crypted: passwords as hashes. person: the key
    for a user's full name. remount: a step /remount-destination. postinstall: laststate and
    firsttime. scripts_tar: install-scripts.tar; initinstall: its scripts before partitioning.
    subvolumes: of btrfs. gpt_on_bios: the kind of partition table. bios_boot: it adds the slot that
    GRUB needs there. esp_mib: the size of the EFI system partition (assumed; doubled 2023-10).
    controllers: of networks. default_dhcp: a card without settings gets DHCP.
    """

    package_step: str
    crypted: bool
    person: str
    remount: bool
    postinstall: bool
    scripts_tar: bool
    initinstall: bool
    subvolumes: bool
    gpt_on_bios: bool
    bios_boot: bool
    esp_mib: int
    controllers: tuple
    default_dhcp: bool


def features_of(generation, date):
    """Features of an installer.

    generation: as in lab/iso/generations.py, "p10.1" for example. date: of its ISO, "2022-10-05".
    """
    branch = generation.replace("-", ".").split(".")[0]
    old, newest = branch in OLD_BRANCHES, branch not in (*OLD_BRANCHES, "p10")
    controllers = [ETCNET]
    if branch != "p8":
        controllers.append(NETWORK_MANAGER)
    if not old and date >= "2021-10":
        controllers.append(NETWORKD)
    return Features(
        package_step="pkg-install-init" if newest else "pkg-init",
        crypted=newest,
        person="real_name" if newest else "gecos",
        remount=newest and date >= "2023-04",
        postinstall=branch != "p8" and date >= "2019-08-31",
        scripts_tar=not old and date >= "2022-08-16",
        initinstall=newest and date >= "2024-04-06",
        subvolumes=not old and date >= "2022-07-26",
        gpt_on_bios=not old,
        bios_boot=newest and date >= "2025",
        esp_mib=512 if date >= "2023-10-19" and not old else 256,
        controllers=tuple(controllers),
        default_dhcp=not old,
    )
