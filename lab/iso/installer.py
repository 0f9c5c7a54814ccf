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
from lab.iso.scratch import run

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
# Where the files of install2/files go; those with an extension alone are not programs.
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
    programs = {place: (PROGRAMS / "files" / name).read_bytes() for name, place in FILES.items()}
    features = features_of(generation.name, generation.date[:10])
    backends = [features.package_step, "pkg-install", "grub", "net-eth", "root", "users"]
    backends += ["postinstall"] * features.postinstall + ["remount-destination"] * features.remount
    facts = {"generation": generation.name, "date": generation.date[:10]}
    files |= programs
    files |= {f"usr/lib/alterator/backend3/{name}": "#!/bin/sh\n" for name in backends}
    files |= {
        f"usr/lib/install2-standin/install2/{path.name}": path.read_bytes()
        for path in PROGRAMS.glob("*.py")
    }
    files |= {
        "usr/share/install2/standin.json": json.dumps(facts),
        "usr/share/install2/initinstall.d/27-metadata-install-scripts.sh": "#!/bin/sh\n",
        "usr/share/install2/installer-steps": "".join(f"{name}\n" for name in steps(features)),
        # In force where nobody brings another one.
        "var/cache/alterator/vm-profile.scm": OWN_PROFILES,
        "usr/lib/netboot-test/image.conf": f"GENERATION={generation.name}\n",
        "boot/vmlinuz": kernel.vmlinuz.read_bytes(),
        "boot/initrd.img": installed_initramfs(result.with_name("installed"), kernel, epoch),
    }
    for name, content in files.items():
        _put(result, name, content, executable=name in programs and "." not in Path(name).name)
    for name in ("usr/share/install2/postinstall.d", "usr/share/install2/initinstall.d"):
        for script in (result / name).iterdir():
            script.chmod(0o755)
    (result / "usr/lib/install2-standin/dhcp.sh").chmod(0o755)
    # Those of systemd do nothing without it.
    programs_of_init = result / "usr/lib/install2-standin/bin"
    programs_of_init.mkdir()
    for name in ("poweroff", "reboot"):
        (programs_of_init / name).symlink_to("/bin/busybox")
    for path in result.rglob("*"):
        if path.is_dir() and not path.is_symlink():
            os.utime(path, (epoch, epoch))
    for name in files:
        os.utime(result / name, (epoch, epoch))
    os.utime(result, (epoch, epoch))
    shutil.rmtree(tree)
    return result


def steps(features):
    """The wizard's steps by their names, as far as public files name them."""
    remount = ["remount-destination"] * features.remount
    return ["sysconfig", "datetime-installer", "vm", *remount, "pkg", "preinstall", "grub"]


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


def _put(tree, name, content, executable):
    """Writes a file into a Debian, whose links lead out of it where nobody has changed the root."""
    path = tree / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.parent.resolve().is_relative_to(tree.resolve()):
        raise ValueError(f"{name} would lie outside of {tree}")
    path.unlink(missing_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    path.chmod(0o755 if executable else 0o644)
