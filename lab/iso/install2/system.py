"""The installed system: the stage's own Debian, copied, and what the answers say of it."""

import os
import shutil
from pathlib import Path

from .console import output, run
from .disks import DESTINATION, disks, fstab, uuid_of
from .scheme import Refused

STAGE = Path("/.stage")  # where the stage is mounted, without what was written since
# What only an installer needs.
INSTALLER = (
    "usr/lib/grub",
    "usr/lib/install2-standin",
    "usr/lib/alterator",
    "usr/share/install2",
    "usr/share/netboot-test",
    "var/cache/alterator",
    "usr/sbin/install2-init",
    "usr/sbin/install2-init-functions",
    "usr/sbin/cp-metadata",
    "usr/lib/systemd/system/install2.target",
)


def copy(table):
    """Copies the system to DESTINATION and makes what /etc says of its file systems.

    table: list of Mounted.
    """
    run("cp", "-a", f"{STAGE}/.", DESTINATION)
    for name in INSTALLER:
        path = DESTINATION / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    (DESTINATION / "etc/fstab").write_text(fstab(table))
    # Empty, as "uninitialized" lets systemd enable all services of its presets, sshd too.
    (DESTINATION / "etc/machine-id").write_text("")
    # Where rpm has what it knows of packages: scripts look whether there is anything.
    (DESTINATION / "var/lib/rpm").mkdir(parents=True, exist_ok=True)
    (DESTINATION / "var/lib/rpm/standin").touch()
    key = DESTINATION / "etc/ssh/ssh_host_ed25519_key"
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key)
    run("chroot", DESTINATION, "systemctl", "enable", "firsttime.service", "installed.service")
    for name in ("proc", "sys", "dev"):
        run("mount", "--bind", f"/{name}", DESTINATION / name)


def set_language(locales):
    """locales: the first one is the system's."""
    _write("etc/locale.conf", f"LANG={locales[0]}.UTF-8\n")


def set_keyboard(layout):
    """layout: an option of XKB's group grp."""
    _write("etc/default/keyboard", f'XKBLAYOUT=us,ru\nXKBOPTIONS="grp:{layout}"\n')


def set_time(zone, utc):
    """zone: its name. utc: whether the clock runs in UTC. Raises Refused for an unknown zone."""
    if not (DESTINATION / "usr/share/zoneinfo" / zone).is_file():
        raise Refused(f"/datetime-installer: there is no time zone {zone}")
    link = DESTINATION / "etc/localtime"
    link.unlink(missing_ok=True)
    link.symlink_to(f"/usr/share/zoneinfo/{zone}")
    _write("etc/timezone", f"{zone}\n")
    _write("etc/adjtime", f"0.0 0 0.0\n0\n{'UTC' if utc else 'LOCAL'}\n")


def set_password(user, keys):
    """Sets what passwd_1 says, which iscrypted makes a hash."""
    how = ["--encrypted"] if keys.get("iscrypted") else []
    run("chroot", DESTINATION, "chpasswd", *how, stdin=f"{user}:{keys['passwd_1']}\n")


def make_user(keys):
    """An account as /users/create_account describes it; who may use su is in the group wheel."""
    run("chroot", DESTINATION, "groupadd", "--force", "--system", "wheel")
    comment = keys.get("gecos", keys.get("real_name"))
    groups = ["--groups", "wheel"] if keys["allow_su"] else []
    words = ["--create-home", "--shell", "/bin/bash", "--comment", comment, *groups]
    run("chroot", DESTINATION, "useradd", *words, keys["new_name"])
    set_password(keys["new_name"], keys)


def set_network(calls, features):
    """Files for systemd-networkd, one for each card that /net-eth names, and the host's name.

    calls: of /net-eth, checked. Cards that it does not name get DHCP where NetworkManager rules.
    """
    folder = DESTINATION / "etc/systemd/network"
    addresses = {c.keys["name"]: c.keys for c in calls if "addip" in c.keys}
    cards = [call.keys for call in calls if "configuration" in call.keys]
    for keys in cards:
        lines = [f"[Match]\nName={keys['name']}\n\n[Network]\n"]
        if keys["configuration"] == "dhcp":
            lines.append("DHCP=ipv4\n")
        else:
            address = addresses[keys["name"]]
            lines.append(f"Address={address['addip']}/{address['addmask']}\n")
            lines.append(f"Gateway={keys['default']}\n" if keys.get("default") else "")
        lines += [f"DNS={address}\n" for address in keys.get("dns", "").split()]
        lines.append(f"Domains={keys['search']}\n" if keys.get("search") else "")
        (folder / f"50-{keys['name']}.network").write_text("".join(lines))
        if "computer_name" in keys:
            _write("etc/hostname", f"{keys['computer_name']}\n")
    controllers = {keys["controlled"] for keys in cards if "controlled" in keys}
    if controllers == {"NetworkManager"} or (not controllers and features.default_dhcp):
        text = "[Match]\nType=ether\n\n[Network]\nDHCP=ipv4\n"
        (folder / "90-others.network").write_text(text)


def check_loader(device, efi, names):
    """Raises Refused where ALT's installer would go on, and the machine not start from its disk.

    device: what /grub says. efi: whether this machine starts by UEFI. names: of its disks.
    """
    if device.startswith("efi") != efi:
        way = "UEFI" if efi else "BIOS"
        raise Refused(f"/grub: device is {device}, but this machine starts by {way}")
    if not efi and device.removeprefix("/dev/") not in names:
        raise Refused(f"/grub: there is no whole disk {device}, only {', '.join(names)}")


def install_boot_loader(device, efi, table, command_line):
    """GRUB on a disk or in the EFI system partition, with one entry that starts by itself.

    device: what /grub says.
    """
    check_loader(device, efi, disks())
    root = table[0]
    modules = "normal linux search search_fs_uuid ext2 btrfs part_gpt part_msdos fat"
    words = [f"--boot-directory={DESTINATION}/boot", f"--install-modules={modules}", "--no-floppy"]
    if efi:
        where = f"--efi-directory={DESTINATION}/boot/efi"
        words += ["--target=x86_64-efi", where, "--removable", "--no-nvram"]
    else:
        words += ["--target=i386-pc", device]
    run("grub-install", *words)
    uuid, options, prefix = uuid_of(root.device), "", ""
    if root.file_system == "btrfs" and root.options.startswith("subvol="):
        name = root.options.removeprefix("subvol=")
        options, prefix = f" rootflags=subvol={name}", f"/{name}"
    (DESTINATION / "boot/grub").mkdir(exist_ok=True)
    _write(
        "boot/grub/grub.cfg",
        f"search --no-floppy --fs-uuid --set=root {uuid}\n"
        f"linux {prefix}/boot/vmlinuz root=UUID={uuid} rootfstype={root.file_system}{options}"
        f" {command_line}\n"
        f"initrd {prefix}/boot/initrd.img\nboot\n",
    )


def finish(answers, log):
    """Leaves answers and log in the system, unmounts it."""
    shutil.copyfile(answers, DESTINATION / "root/autoinstall.scm")
    folder = DESTINATION / "root/.install-log"
    folder.mkdir(mode=0o700, exist_ok=True)
    shutil.copyfile(log, folder / "wizard.log")
    os.sync()
    run("umount", "--recursive", DESTINATION)


def describe():
    """What is mounted where, for the log."""
    return output("findmnt", "--real", "--noheadings", "--output", "SOURCE,TARGET,FSTYPE,OPTIONS")


def _write(name, text):
    path = DESTINATION / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
