"""
The script that runs in ALT's installer before any disk is touched (p11 and newer): it checks that
the answers are those of this arming, and leaves the installer the one disk that may be wiped. Pure.

An installer has no key for a disk: its profile takes the first that fits, and clears all others
(facts from public answer files). So the others are removed from the kernel's view, through sysfs,
and the machine stops if one remains. Shown with Linux 6.1 in QEMU: disks of virtio, SCSI and NVMe.
Assumed: eMMC, and that the installer looks at disks only afterwards.
"""

from __future__ import annotations

from netboot_install_shell import HEAD, assignments
from netboot_shapes import Install
from netboot_vm_profile import least_sectors

_SECTORS_OF_GB = 1000**3 // 512


def script(install: Install, reports: str, profile: str) -> str:
    """
    Return the script.

    install
        The install.

    reports
        URL below which steps are reported.

    profile
        Name of the profile of disks.
    """
    rule = install["disk"]
    least, most = rule if isinstance(rule, list) else (0, 0)
    values = {
        "reports": reports,
        "profile": profile,
        "rule": "range" if isinstance(rule, list) else "path" if rule.startswith("/") else rule,
        "path": rule if isinstance(rule, str) and rule.startswith("/") else "",
        # Makers' sizes differ by some sectors.
        "least": str(least * _SECTORS_OF_GB * 99 // 100),
        "most": str(most * _SECTORS_OF_GB * 101 // 100),
        "needed": str(least_sectors(install)),
    }
    return assignments(values) + HEAD + _SCRIPT


_SCRIPT = r"""
stop() {  # STEP, and why
    step=$1
    shift
    say "$*; nothing was changed on any disk. The machine turns off."
    # Its last words: the server may be busy, or away for a moment.
    for _ in 1 2 3 4 5 6; do
        report "failed-$step" "$*"
        sleep 10
    done
    poweroff -f
    # Whatever poweroff does, the installer must not go on.
    while :; do sleep 60; done
}

# What cp-metadata has is what the installer will have: without our profile, its medium's own.
check_answers() {
    command -v cp-metadata >/dev/null || return 0
    there=$(mktemp -d)
    for file in autoinstall.scm vm-profile.scm; do
        (cd "$there" && cp-metadata "$file") >/dev/null 2>&1 || :
        grep -q -F "$profile" "$there/$file" 2>/dev/null ||
            stop answers "the answers in $file are not those of this arming"
    done
    rm -rf "$there"
    report answers
}

disks() {
    for one in "$R"/sys/block/*; do
        case ${one##*/} in
        loop* | ram* | zram* | sr* | fd* | dm-* | md* | mtd*) continue ;;
        mmcblk*boot* | mmcblk*rpmb) continue ;;
        esac
        # One of several ways to a disk, which has no device of its own.
        [ "$(value "${one##*/}" hidden)" = 0 ] || continue
        [ "$(value "${one##*/}" size)" -gt 0 ] && echo "${one##*/}"
    done
    return 0
}

value() {  # DISK FILE: a number in its directory, or 0
    number=0
    if [ -r "$R/sys/block/$1/$2" ]; then read -r number <"$R/sys/block/$1/$2" || :; fi
    echo "${number:-0}"
}

fixed() {
    [ "$(value "$1" removable)" = 0 ] && [ "$(value "$1" ro)" = 0 ]
}

zeros() {  # DISK MIB: whether this MiB can be read, and is empty
    [ "$(dd if="$R/dev/$1" bs=1048576 count=1 skip="$2" 2>/dev/null | wc -c)" -eq 1048576 ] &&
        [ "$(dd if="$R/dev/$1" bs=1048576 count=1 skip="$2" 2>/dev/null |
            tr -d '\000' | wc -c)" -eq 0 ]
}

empty() {
    for part in "$R/sys/block/$1/$1"*; do
        [ ! -e "$part/partition" ] || return 1
    done
    # Tables and signatures lie at the beginning or the end.
    zeros "$1" 0 && zeros "$1" $(($(value "$1" size) / 2048 - 1))
}

fits() {
    fixed "$1" || return 1
    case $rule in
    smallest) ;;
    empty) empty "$1" ;;
    range)
        size=$(value "$1" size)
        [ "$size" -ge "$least" ] && [ "$size" -le "$most" ]
        ;;
    *) return 1 ;;
    esac
}

choose() {  # sets chosen
    chosen=
    if [ "$rule" = path ]; then
        [ -e "$R$path" ] || stop disk "this machine has no disk $path"
        chosen=$(readlink -f "$R$path")
        chosen=${chosen##*/}
        disks | grep -q -x -F "$chosen" || stop disk "$path is not a whole disk"
        return
    fi
    several=
    for one in $(disks); do
        fits "$one" || continue
        size=$(value "$one" size)
        best=$(value "${chosen:-none}" size)
        if [ -z "$chosen" ]; then
            chosen=$one
        elif [ "$rule" != smallest ] || [ "$size" -eq "$best" ]; then
            several="$chosen and $one"
        elif [ "$size" -lt "$best" ]; then
            chosen=$one
            several=
        fi
    done
    [ -z "$several" ] || stop disk "the rule $rule fits several disks, $several"
    [ -n "$chosen" ] || stop disk "the rule $rule fits no disk of: $(disks | paste -s -d ' ')"
}

# RAID and LVM over other disks would still lead to them.
check_layers() {
    for one in "$R"/sys/block/dm-* "$R"/sys/block/md*; do
        [ "$(value "${one##*/}" size)" -gt 0 ] || continue
        for slave in "$one"/slaves/*; do
            case ${slave##*/} in
            "$chosen" | "$chosen"[0-9]* | "$chosen"p[0-9]* | loop* | ram* | zram* | sr* | '*') ;;
            *) stop disk "${one##*/} is a RAID or LVM volume on ${slave##*/}" ;;
            esac
        done
    done
}

hide() {
    device="$R/sys/block/$1/device"
    say "$1 is hidden from the installer"
    if [ -w "$device/delete" ]; then
        echo 1 >"$device/delete" # SCSI, SATA, USB
    else
        for one in "$device"/device/remove "$device"/nvme*/device/remove; do
            [ ! -w "$one" ] || echo 1 >"$one" # NVMe: its controller
        done
        if [ -w "$device/driver/unbind" ]; then # virtio, MMC
            real=$(readlink -f "$device")
            echo "${real##*/}" >"$device/driver/unbind"
        fi
    fi 2>/dev/null
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        [ -e "$R/sys/block/$1" ] || return 0
        sleep 1
    done
    stop disk "$1 cannot be hidden from the installer"
}

choose_disk() {
    [ -n "$(disks)" ] || stop disk "this machine has no disk"
    if [ "$rule" = all ]; then
        for one in $(disks); do
            [ "$(value "$one" size)" -lt "$needed" ] || return 0
        done
        stop disk "no disk has the $((needed / 2048)) MiB that the partitions need"
    fi
    choose
    [ "$(value "$chosen" ro)" = 0 ] || stop disk "$chosen cannot be written to"
    [ "$(value "$chosen" size)" -ge "$needed" ] ||
        stop disk "$chosen lacks the $((needed / 2048)) MiB that the partitions need"
    check_layers
    for name in $(disks); do
        [ "$name" = "$chosen" ] || hide "$name"
    done
    [ "$(disks)" = "$chosen" ] || stop disk "the disks are now: $(disks | paste -s -d ' ')"
}

report started
watch_logs
check_answers
choose_disk
exit 0
"""
