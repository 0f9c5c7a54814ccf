"""Small ISOs in ALT's layout for tests that boot nothing; those that boot are lab.iso's."""

import os
import subprocess

ARGUMENTS = "root=bootchain bootchain=fg,altboot automatic=method:disk,uuid:$ROOT_UUID"
GRUB_CFG = f"""
menuentry "Install" --id 'linux' {{
  linux /boot/vmlinuz$KFLAVOUR {ARGUMENTS} stagename=live systemd.unit=install2.target lowmem
  initrd /boot/initrd$KFLAVOUR.img
}}
menuentry "Live" --id 'live' {{
  linux /boot/vmlinuz$KFLAVOUR {ARGUMENTS} stagename=live lowmem
  initrd /boot/initrd$KFLAVOUR.img
}}
"""
FILES = {
    ".disk/info": b"ALT p11 test/x86_64 build 2025-06-02\n",
    ".disk/arch": b"x86_64\n",
    "boot/grub/grub.cfg": GRUB_CFG.encode(),
    "boot/vmlinuz": b"kernel " * 20000,
    "boot/initrd.img": b"initrd " * 300000,
    "live": b"stage" * 900000,
    "ALTLinux/RPMS.main/a-1-alt1.x86_64.rpm": b"package",
    "EFI/BOOT/BOOTX64.EFI": b"loader",
}
BOOT = ("boot/initrd.img", "boot/vmlinuz")
STAGES = (*BOOT, "live")


def make_iso(iso, files=None, more=None, hostile=False):
    """
    Make an ISO and return its path (str).

    iso: where (Path). files: contents by path, instead of FILES; more: in addition. hostile: with
    entries that must not be unpacked.
    """
    tree = iso.with_suffix(".tree")
    for name, content in {**(FILES if files is None else files), **(more or {})}.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_bytes(content)
    if (tree / "live").exists():
        (tree / "live").chmod(0o400)  # as Rock Ridge would restore it
    if hostile:
        (tree / "out").symlink_to("/etc/passwd")
        os.mkfifo(tree / "pipe")
    command = ["xorriso", "-as", "mkisofs", "-quiet", "-R", "-J", "-iso-level", "3"]
    command += ["-V", "ALT p11 test/x86_64", "--modification-date=2025060211223300"]
    subprocess.run([*command, "-o", iso, tree], check=True, capture_output=True)
    return str(iso)


def content(directory):
    """All files below a folder, by path."""
    found = {}
    for folder, _, names in os.walk(directory):
        for name in names:
            path = os.path.join(folder, name)
            with open(path, "rb") as stream:
                found[os.path.relpath(path, directory)] = stream.read()
    return found
