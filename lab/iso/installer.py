"""The stage of an ISO that installs: Debian with the programs of lab/iso/install2 in it.

ALT's names are where ALT has them, as answers are made by looking for some of them.
"""

import hashlib
import json
import os
import shutil
from pathlib import Path

from lab import roots
from lab.iso import trees
from lab.iso.install2.features import features_of
from lab.iso.scratch import IsoError, run

PROGRAMS = Path(__file__).parent / "install2"
# What writes to disks, in stage 2 and in the installed system.
DISK_MODULES = ("virtio_blk", "virtio_scsi", "sd_mod", "btrfs", "vfat", "nls_ascii", "nls_cp437")
DISK_MODULES += ("virtio_pci", "virtio_net")
OWN_PROFILES = """\
((workstation (title . "Workstation") (action . trivial)
  (actiondata ("swap" (size 131072 . 1048576) (fsim . "SWAPFS") (methods plain))
              ("/" (size 1048576 . #t) (fsim . "Ext4") (methods plain)))))
"""
STAGE2_MODULES = (*DISK_MODULES, "overlay")
BUSYBOX_LINKS = "usr/lib/install2-standin/bin"
# Where the files of install2/files go.
FILES = {
    "install2-init": "usr/sbin/install2-init",
    "install2-init-functions": "usr/sbin/install2-init-functions",
    "cp-metadata": "usr/sbin/cp-metadata",
    "dhcp.sh": "usr/lib/install2-standin/dhcp.sh",
    "65-setup-services.sh": "usr/share/install2/postinstall.d/65-setup-services.sh",
    "apt-get": "usr/bin/apt-get",
    "firsttime": "usr/lib/netboot-test/firsttime",
    "installed": "usr/lib/netboot-test/installed",
    "firsttime.service": "usr/lib/systemd/system/firsttime.service",
    "installed.service": "usr/lib/systemd/system/installed.service",
}


def recipe_of():
    """What stands for the installer in a cache key."""
    digest = hashlib.sha256(roots.installer_root().name.encode())
    for path in sorted(path for path in PROGRAMS.rglob("*") if path.is_file()):
        if "__pycache__" not in path.parts:
            digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


def stage_of(generation):
    """The stage that a generation installs from."""
    return "altinst" if "altinst" in generation.stages else "live"


def add_installer(tree, generation, kernel, epoch):
    """A folder with the stage's files (tree, which goes) and the installer; returns its path."""
    result = tree.with_name(f"{tree.name}-installer")
    run("cp", "-a", "--reflink=auto", str(roots.installer_root()), str(result))
    files = {
        str(path.relative_to(tree)): path.read_bytes() for path in tree.rglob("*") if path.is_file()
    }
    del files["sbin/init"]  # Debian has its own
    files |= _installer_files(generation)
    files["boot/vmlinuz"] = kernel.vmlinuz.read_bytes()
    files["boot/initrd.img"] = installed_initramfs(result.with_name("installed"), kernel, epoch)
    for name, content in files.items():
        _put(result, name, content)
    # Those of systemd do nothing without it.
    links = [result / BUSYBOX_LINKS / name for name in ("poweroff", "reboot")]
    links[0].parent.mkdir()
    for link in links:
        link.symlink_to("/bin/busybox")
    # Not Debian's files: Python compares their times with those that it noted when it compiled.
    folders = [path for path in result.rglob("*") if path.is_dir() and not path.is_symlink()]
    for path in (*links, *(result / name for name in files), *folders, result):
        os.utime(path, (epoch, epoch), follow_symlinks=False)
    shutil.rmtree(tree)
    return result


def _installer_files(generation):
    """Content by path: the stand-in, and what real stages have that can be looked for."""
    date = generation.date[:10]
    features = features_of(generation.name, date)
    backends = [features.package_step, "pkg-install", "grub", "net-eth", "root", "users"]
    backends += ["postinstall"] * features.postinstall + ["remount-destination"] * features.remount
    # vm is public, of the others it is assumed that they are named as their calls.
    steps = ["datetime-installer", "vm", features.package_step, "preinstall", "grub"]
    return {
        **{place: (PROGRAMS / "files" / name).read_bytes() for name, place in FILES.items()},
        **{
            f"usr/lib/install2-standin/install2/{path.name}": path.read_bytes()
            for path in PROGRAMS.glob("*.py")
        },
        **{f"usr/lib/alterator/backend3/{name}": "#!/bin/sh\n" for name in backends},
        "usr/share/install2/installer-steps": "".join(f"{name}\n" for name in steps),
        "usr/share/install2/initinstall.d/27-metadata-install-scripts.sh": "#!/bin/sh\n",
        "usr/share/install2/standin.json": json.dumps(
            {"generation": generation.name, "date": date}
        ),
        # In force where nobody brings another one.
        "var/cache/alterator/vm-profile.scm": OWN_PROFILES,
        "usr/lib/netboot-test/image.conf": f"GENERATION={generation.name}\n",
    }


def installed_initramfs(tree, kernel, epoch):
    """The initramfs of the installed system as bytes; tree is a folder to make it in."""
    modules = kernel.modules(DISK_MODULES)
    files = {
        "init": (PROGRAMS / "files/initramfs-init").read_bytes(),
        "bin/busybox": kernel.busybox.read_bytes(),
        "modules/order": "".join(f"{name}.ko\n" for name in modules),
        **{f"modules/{name}.ko": data for name, data in modules.items()},
    }
    return trees.initramfs(tree, files, epoch)


def _put(tree, name, content):
    """Writes a file into a Debian, whose links could lead out of it; scripts become executable."""
    path = tree / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.parent.resolve().is_relative_to(tree.resolve()):
        raise IsoError(f"{name} would lie outside of {tree}")
    path.unlink(missing_ok=True)
    data = content.encode() if isinstance(content, str) else content
    path.write_bytes(data)
    path.chmod(0o755 if data.startswith(b"#!") else 0o644)
