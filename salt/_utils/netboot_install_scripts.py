"""
``install-scripts.tar``: the scripts that run in ALT's installer for one machine. Pure.

Installers before p10.1 do not unpack it; a command at the end of their wizard fetches it and runs
the last script (``LAST_STATE``), so all releases share one way. Only it has keys of minions.
"""

from __future__ import annotations

import io
import json
import tarfile

import netboot_first_boot
import netboot_install_disks
from netboot_install_shell import HEAD, STATE, assignments, put
from netboot_installers import Installer
from netboot_shapes import Install, InstallMachine

#: For ``/postinstall/laststate``, run at the end of the wizard. cp-metadata fetches a file into the
#: current directory (alt-packer uses it so from p9 on).
LAST_STATE = (
    "cd $(mktemp -d) && cp-metadata install-scripts.tar && tar -xf install-scripts.tar "
    "&& sh postinstall.d/98-netboot.sh"
)
#: For ``/postinstall/firsttime``: postinstall.d/65-setup-services may undo what is enabled earlier.
FIRST_TIME = (
    f"systemctl --no-block start {netboot_first_boot.UNIT} || setsid sh {STATE}/first-boot &"
)

# The installer runs what sorts after its own 27-metadata-install-scripts.sh, and after
# postinstall.d/65-setup-services.sh.
_EARLY = "initinstall.d/28-netboot.sh"
_BEFORE = "preinstall.d/98-netboot.sh"
_AFTER = "postinstall.d/98-netboot.sh"


def archive(
    install: Install, installer: Installer, machine: InstallMachine, profile: str, grub: str
) -> bytes:
    """
    Return the archive: the same bytes for the same arguments.

    install
        The install.

    installer
        What the image's installer understands.

    machine
        The machine.

    profile
        Name of the profile of disks.

    grub
        The device that ``/grub`` names.
    """
    reports = machine["reports"]
    scripts = {
        _BEFORE: assignments({"reports": reports}) + HEAD + _TARGET + _BEFORE_TEXT,
        _AFTER: _after(install, installer, machine, grub),
    }
    if installer.early:
        scripts[_EARLY] = netboot_install_disks.script(install, reports, profile)
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name in sorted(scripts):
            folder = tarfile.TarInfo(name.partition("/")[0])
            folder.type, folder.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(folder)
            file = tarfile.TarInfo(name)
            data = scripts[name].encode()
            # One of them has keys: for root alone.
            file.mode, file.size = 0o700, len(data)
            tar.addfile(file, io.BytesIO(data))
    return made.getvalue()


def _after(install: Install, installer: Installer, machine: InstallMachine, grub: str) -> str:
    values = {
        "reports": machine["reports"],
        "state": STATE,
        "unit": netboot_first_boot.UNIT,
        "grub": grub,
    }
    parts = [assignments(values), HEAD, _TARGET, _AFTER_TEXT]
    if not installer.hashes:
        users = {name: user["password"] for name, user in install["users"].items()}
        users = {"root": install["root_password"], **users}
        lines = [f"{name}:{one}\n" for name, one in users.items()]
        parts.append(f"passwords <<'END'\n{''.join(lines)}END\n")
    parts += [put(path, mode, text) for path, mode, text in _written(install, installer, machine)]
    return "".join([*parts, _END_TEXT])


def _written(
    install: Install, installer: Installer, machine: InstallMachine
) -> list[tuple[str, str, str]]:
    """Return path, mode and text of each file that the installed system gets."""
    found = [(path, one["mode"], one["text"]) for path, one in install["files"].items()]
    if install["repositories"]:
        lists = "".join(f"{line}\n" for line in install["repositories"])
        found.append(("/etc/apt/sources.list.d/netboot.list", "0644", lists))
    if install["apt_proxy"]:
        proxy = f'Acquire::http::Proxy "{install["apt_proxy"]}";\n'
        found.append(("/etc/apt/apt.conf.d/netboot-proxy.conf", "0644", proxy))
    if install["ntp"]:
        servers = f"[Time]\nNTP={' '.join(install['ntp'])}\n"
        found.append(("/etc/systemd/timesyncd.conf.d/netboot.conf", "0644", servers))
    found += _minion(install, installer, machine)
    found += [
        (f"{STATE}/commands/{number:03}", "0700", command)
        for number, command in enumerate(install["commands"])
    ]
    found.append((f"{STATE}/first-boot", "0700", netboot_first_boot.script(install, machine)))
    unit = f"/etc/systemd/system/{netboot_first_boot.UNIT}"
    return [*found, (unit, "0644", netboot_first_boot.UNIT_TEXT)]


def _minion(
    install: Install, installer: Installer, machine: InstallMachine
) -> list[tuple[str, str, str]]:
    """Return the files of Salt's minion, which lie there before its package comes."""
    given, salt = machine["minion"], install["salt"]
    master = given["master"] if given else salt["master"]
    if not master:
        return []
    finger = given["master_finger"] if given else salt["master_finger"]
    settings = {
        "master": master,
        **({"master_finger": finger} if finger else {}),
        # While the master has the key of an earlier install, the minion would exit.
        "rejected_retry": True,
    }
    # JSON is YAML.
    config = "".join(f"{key}: {json.dumps(value)}\n" for key, value in settings.items())
    found = [
        ("/etc/salt/minion.d/netboot.conf", "0644", config),
        ("/etc/salt/minion_id", "0644", f"{given['id'] if given else machine['hostname']}\n"),
    ]
    # Without install-scripts.tar of its own, an image gets no key.
    if given and given["pem"] and installer.scripts:
        keys = "/etc/salt/pki/minion/minion"
        found += [(f"{keys}.pem", "0400", given["pem"]), (f"{keys}.pub", "0644", given["pub"])]
    return found


# What the installer's own scripts begin with (fact): destdir, exec_chroot.
_TARGET = r"""
functions=
IFS=:
for one in $PATH; do
    [ ! -r "$one/install2-init-functions" ] || functions=$one/install2-init-functions
done
unset IFS
destdir=$(if [ -n "$functions" ]; then . "$functions" >/dev/null 2>&1; fi && echo "${destdir:-}")
destdir=${destdir:-${ALTERATOR_DESTDIR:-$R/mnt/destination}}

in_target() (
    if [ -n "$functions" ]; then . "$functions"; fi
    if command -v exec_chroot >/dev/null; then
        exec_chroot "$@"
    else
        chroot "$destdir" "$@"
    fi
)

# Disks are there once anything lies on them, packages once rpm has a database.
report_packages() {
    [ -d "$destdir/etc" ] || return 0
    report disk
    [ -z "$(ls -A "$destdir/var/lib/rpm" 2>/dev/null)" ] || report packages
}
"""
_BEFORE_TEXT = r"""
report started
watch_logs
report_packages
exit 0
"""
_AFTER_TEXT = r"""
wrong= why=

put() { # PATH MODE: what comes on stdin
    rm -f "$destdir$1"
    (umask 022 && mkdir -p "$destdir${1%/*}")
    (umask 077 && cat >"$destdir$1") && chmod "$2" "$destdir$1" && return
    why="$1 cannot be written"
    say "$why"
    wrong=installed
}

passwords() { # lines NAME:HASH on stdin
    hashes=$(cat)
    printf '%s\n' "$hashes" | in_target chpasswd -e && return
    while IFS=: read -r name hash; do
        in_target usermod -p "$hash" "$name" </dev/null && continue
        why="the password of $name cannot be set"
        say "$why"
        wrong=installed
    done <<EOF
$hashes
EOF
}

# The name of the disk was not known when the answers were made: "/dev/sda" on another disk than
# the system's is no error for the installer, and does not boot.
boot_loader() {
    [ ! -d "$R/sys/firmware/efi" ] || return 0
    part=$(awk -v at="$destdir" '$2 == at { found = $1 } END { print found }' "$R/proc/mounts")
    part=${part##*/}
    disk=$part
    if [ -e "$R/sys/class/block/$part/partition" ]; then
        disk=$(readlink -f "$R/sys/class/block/$part/..")
        disk=${disk##*/}
    fi
    # Volumes of RAID and LVM lie on several disks: the profile's owner knows which.
    case $disk in '' | dm-* | md* | mapper) return 0 ;; esac
    [ "/dev/$disk" != "$grub" ] || return 0
    say "the system is on /dev/$disk, not on $grub: GRUB is installed there"
    {
        in_target grub-install --target=i386-pc "/dev/$disk" &&
            in_target grub-mkconfig -o /boot/grub/grub.cfg
    } >>"$R/tmp/netboot.log" 2>&1
}

[ ! -e "$destdir$state/installed" ] || exit 0
report started
report_packages
if [ ! -d "$destdir/etc" ]; then
    say "there is no installed system in $destdir"
    report failed-packages "there is no installed system in $destdir"
    exit 0
fi
(umask 022 && mkdir -p "$destdir${state%/*}")
(umask 077 && mkdir -p "$destdir$state/commands")
"""
_END_TEXT = r"""
wants=$destdir/etc/systemd/system/multi-user.target.wants
mkdir -p "$wants"
ln -sf "../$unit" "$wants/$unit"
if boot_loader; then
    report bootloader
else
    wrong=bootloader why="GRUB could not be installed"
fi
: >"$destdir$state/installed"
for _ in 1 2 3; do
    report "${wrong:+failed-}${wrong:-installed}" "$why"
done
exit 0
"""
