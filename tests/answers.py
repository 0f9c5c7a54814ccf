"""Answers for ALT's installer by hand, after the public examples: for the stand-in's own tests.

None of it is made by the project's own code, so that the stand-in can find mistakes there.
"""

import io
import tarfile

# Of "pw", by openssl passwd -6.
HASH = (
    "$6$netboot$"
    "/DB8fah3NwKE7oK97/xjIokb0dV64axeUq7.K1Q4V5Q39hz1f6fZ6J4h3E90wK8jV.NJj9LvubTktXXAkzxkL/"
)
CARDS = ("eth0", *(f"ens{slot}" for slot in range(1, 7)), *(f"enp0s{slot}" for slot in range(1, 7)))

BEGINNING = """\
; the language first
("/sysconfig-base/language" action "write" lang ("ru_RU"))
("/sysconfig-base/kbd" action "write" layout "ctrl_shift_toggle" language ("ru_RU"))
("/datetime-installer" action "write" commit #t name "RU" zone "Europe/Moscow" utc #t)
"""
DISK = """\
("/evms/control" action "write" control open installer #t)
("/evms/control" action "write" control update)
("/evms/profiles/{profile}" action apply commit #f clearall #t exclude ())
("/evms/control" action "write" control commit)
("/evms/control" action "write" control close)
"""
PACKAGES = """\
("{step}" action "write")
("/pkg-install" lists "{lists}" auto #t)
("/preinstall" action "write")
"""
GRUB_BIOS = '("/grub" action "write" device "{}" passwd #f passwd_1 "*" passwd_2 "*")\n'
GRUB_EFI = '("/grub" action "write" device "efi")\n'
CARD = (
    '("/net-eth" action "write" name "{name}" ipv "4" ipv_enabled #t configuration "{how}"'
    ' default "{gateway}" search "" dns "{dns}" computer_name "{host}" controlled "{controlled}")\n'
)
ADDRESS = (
    '("/net-eth" action "add_iface_address" name "{name}" addip "{address}" addmask "24" ipv "4")\n'
)
RESET = '("/net-eth" action "write" reset #t)\n'
COMMIT = '("/net-eth" action "write" commit #t)\n'
PLAIN_ROOT = '("/root/change_password" passwd_1 "pw" passwd_2 "pw")\n'
PLAIN_USER = (
    '("/users/create_account" new_name "pupil" gecos "Pupil" allow_su #t auto #f'
    ' passwd_1 "pw" passwd_2 "pw")\n'
)
CRYPTED_ROOT = f'("/root/change_password" iscrypted #t passwd_1 "{HASH}")\n'
CRYPTED_USER = f"""\
("/users/create_account" new_name "pupil"
    real_name "Pupil"
    allow_su #t auto #f autologin #f
    iscrypted #t passwd_1 "{HASH}")
"""
HOOK = '("/postinstall/{hook}" {key} "{value}")\n'


def network(host, controlled="etcnet", cards=CARDS):
    """DHCP on whatever card there is."""
    line = {"how": "dhcp", "gateway": "", "dns": "", "host": host, "controlled": controlled}
    return RESET + "".join(CARD.format(name=name, **line) for name in cards) + COMMIT


def profile(name, *partitions):
    """vm-profile.scm with one profile."""
    rows = "\n      ".join(partitions)
    return f'(({name} (title . "Test") (action . trivial)\n  (actiondata {rows})))\n'


SLOT = '("" (size 20480 . 20480) (methods plain))'
SWAP = '("swap" (size 131072 . 262144) (fsim . "SWAPFS") (methods plain))'
ROOT = '("/" (size 1048576 . #t) (fsim . "Ext4") (methods plain))'
HOME = '("/home" (size 262144 . #t) (fsim . "Ext4") (methods plain))'
BTRFS = (
    '("" (size 1048576 . #t) (fsim . "BtrFS") (subvols ("@" . "/") ("@home" . "/home"))'
    " (methods plain))"
)


def scripts_tar(files, mode=0o755):
    """Bytes of an install-scripts.tar; files: text by path."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(text.encode()), mode
            tar.addfile(member, io.BytesIO(text.encode()))
    return archive.getvalue()
