"""Kernel, modules and busybox for the test images, from Debian's packages."""

import lzma
import os
import re
from dataclasses import dataclass
from pathlib import Path

from lab.host import apt_of
from lab.iso.scratch import IsoError, run, unfinished

ARCH = "x86_64"
# The architectures whose images boot, and Debian's names of them.
DEBIAN_ARCHES = {
    "x86_64": "amd64",
    "aarch64": "arm64",
    "riscv64": "riscv64",
    "loongarch64": "loong64",
}
# Debian 12 has none of these two, Debian 13 none of the last; neither has a cloud kernel.
RELEASES = {"riscv64": "trixie", "loongarch64": "forky"}
MODULES = ("virtio_pci", "virtio_net", "squashfs", "loop", "isofs")
# Loaded when a share is mounted: the kernel's SMB 3.1.1 wants these ciphers even for guests, where
# they are modules.
MOUNT_MODULES = ("nfsv4", "nfsv3", "cifs", "nls_utf8")
CIPHERS = ("cmac", "sha512_generic", "ccm", "gcm", "ctr", "ghash_generic")
# Loaded by the dialect, with a size; a kernel without it is one that ALT knows too (RT kernels).
RAM_DISK = "brd"


@dataclass(frozen=True)
class Kernel:
    """Unpacked packages: a kernel, its modules and a static busybox.

    packages: the packages' file names, which stand for all of it in a cache key.
    """

    root: Path
    packages: tuple[str, ...]

    @property
    def vmlinuz(self):
        """Path of the kernel."""
        return next(self.root.glob("boot/vmlinu?-*"), None) or next(
            self.root.glob("**/lib/modules/*/vmlinuz")
        )

    @property
    def busybox(self):
        """Path of the static busybox."""
        return next(path for path in self.root.glob("**/bin/busybox") if path.is_file())

    def modules(self, names):
        """Contents of these modules and all they need, by name, in the order to load them.

        names: module names. Those built into the kernel are left out.
        Raises IsoError when the kernel has no such module.
        """
        (tree,) = self.root.glob("**/lib/modules/*")
        files = {_module_name(path.name): path for path in tree.glob("kernel/**/*.ko*")}
        built_in = {
            _module_name(line) for line in (tree / "modules.builtin").read_text().splitlines()
        }
        loaded = {}

        def load(name):
            if name in loaded or name in built_in:
                return
            if name not in files:
                raise IsoError(f"the kernel in {self.root} has no module {name}: take another one")
            data = files[name].read_bytes()
            if files[name].suffix == ".xz":
                data = lzma.decompress(data)
            # The module says itself what it needs, so no depmod has to run.
            for needed in re.search(rb"\0depends=([^\0]*)", data)[1].decode().split(","):
                if needed:
                    load(_module_name(needed))
            loaded[name] = data

        for name in names:
            load(name)
        return loaded

    def has_module(self, name):
        """Whether the kernel has this as a loadable module."""
        return any(_module_name(p.name) == name for p in self.root.glob("**/kernel/**/*.ko*"))


def _module_name(path):
    return os.path.basename(path).partition(".")[0].replace("-", "_")


def debian_kernel(cache, arch=ARCH):
    """Debian's newest kernel, for clouds where there is one, downloaded through apt once and kept.

    cache: folder for downloads (Path); deleting it is how to get a newer kernel.
    arch: a key of DEBIAN_ARCHES.
    Returns Kernel. Raises IsoError when apt does not know the packages or cannot fetch them.
    """
    kept = cache / "kernels" / arch
    if not kept.exists():
        debian, release = DEBIAN_ARCHES[arch], RELEASES.get(arch)
        name = f"linux-image-{debian}" if release else f"linux-image-cloud-{debian}"
        with apt_of(release, debian) as environment, unfinished(kept) as work:
            kernel = _needed(name, r"linux-image-[0-9]\S+", environment)
            if not kernel:
                raise IsoError(f"{name} does not say which kernel it is for")
            # Since 7.0 the kernel and its modules are packages of their own.
            parts = _needed(kernel[0], r"linux-(?:base|binary|modules)-[0-9]\S+", environment)
            packages = work / "packages"
            packages.mkdir(parents=True)
            run(
                *("apt-get", "-q", "download", kernel[0], *parts, "busybox-static"),
                cwd=packages,
                environment=environment,
            )
            for package in packages.iterdir():
                run("dpkg-deb", "-x", str(package), str(work / "root"))
    packages = tuple(sorted(path.name for path in (kept / "packages").iterdir()))
    return Kernel(root=kept / "root", packages=packages)


def _needed(package, pattern, environment):
    """Names of packages like pattern that the Debian package depends on."""
    shown = run("apt-cache", "show", "--no-all-versions", package, environment=environment)
    return [
        name
        for line in re.findall(r"^Depends: .*", shown, re.M)
        for name in re.findall(pattern, line)
    ]
