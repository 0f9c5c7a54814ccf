"""Making a test ISO: the stage, the initramfs, the medium around them."""

import calendar
import hashlib
import io
import json
import shutil
import tarfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from lab.iso.debian import (
    ARCH,
    CIPHERS,
    DEBIAN_ARCHES,
    MODULES,
    MOUNT_MODULES,
    RAM_DISK,
    debian_kernel,
)
from lab.iso.generations import GENERATIONS
from lab.iso.installer import STAGE2_MODULES, add_installer, recipe_of, stage_of
from lab.iso.scratch import IsoError, run, unfinished
from lab.iso.signed import EL_TORITO, TREE, add_el_torito, boot_files, without_signature
from lab.iso.trees import initramfs, set_times, write

SOURCES = Path(__file__).parent
CACHE = SOURCES.parents[1] / ".cache" / "lab"
MIB = 1024 * 1024
EFI_LOADERS = {  # UEFI specification, 3.5.1.1
    "x86_64": "BOOTX64.EFI",
    "i586": "BOOTIA32.EFI",
    "aarch64": "BOOTAA64.EFI",
    "riscv64": "BOOTRISCV64.EFI",
    "loongarch64": "BOOTLOONGARCH64.EFI",
}


@dataclass(frozen=True)
class TestIso:
    """A finished ISO and what a test compares against.

    stages: (bytes, SHA-256) of each squashfs by its name, which is also its path in the root.
    kernel, initrd: paths inside the ISO.
    """

    __test__ = False  # it is no test, whatever pytest thinks of its name

    path: Path
    sha256: str
    size: int
    generation: str
    arch: str
    product: str
    dialect: str
    volume_id: str
    date: str
    stages: dict[str, tuple[int, str]]
    kernel: str
    kernel_sha256: str
    initrd: str
    initrd_sha256: str

    def unpack(self, directory):
        """Unpacks the ISO into directory (made if need be) and returns it (Path)."""
        directory = Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        run("xorriso", "-osirrox", "on", "-indev", str(self.path), "-extract", "/", str(directory))
        return directory


def make_iso(
    directory,
    generation="p11",
    name=None,
    edition="test",
    stage_mib=8,
    arch=ARCH,
    boots=True,
    installer=False,
    metadata=None,
    signed=None,
    grub="grub",
    unsigned=(),
):
    """Makes an ISO as ALT lays out this generation, bootable over the network.

    directory: where it goes. generation: a key of GENERATIONS. name: its file name without ".iso",
    by default ``alt-<generation>-<edition>-<arch>``. edition: a word for the volume id and the
    menu; ISOs of different editions have different stages. stage_mib: size of a stage in MiB of
    data that does not compress. arch: one of the generation's; boots: False: kernel and
    initrd are placeholders, as for i586 always: such an ISO can be looked into and unpacked, and
    nothing is downloaded for it. installer: whether the installer's stage has the stand-in of
    lab/iso/install2, which starts when the command line has the word ai; for x86_64.
    metadata: more files of the medium's Metadata/, by name (str or bytes).
    signed: where Debian's signed shim and GRUB lie under ALT's names: "tree", "eltorito" (in the
    El Torito image alone), None: nowhere. The kernel is Debian's signed one where that is x86_64 or
    aarch64. grub: which GRUB, a key of signed.FILES. unsigned: names of what comes without its
    signature all the same: "shim", "grub", "kernel".
    Returns TestIso. The same arguments give the same bytes; a copy is kept in the cache.
    Raises IsoError when a program is missing or fails.
    """
    if generation not in GENERATIONS:
        raise IsoError(f"no generation {generation}: there are {', '.join(GENERATIONS)}")
    if arch not in GENERATIONS[generation].arches:
        raise IsoError(f"{generation} has no {arch}: see its row in lab/iso/generations.py")
    kernel = debian_kernel(CACHE, arch) if boots and arch in DEBIAN_ARCHES else None
    if installer and (arch != ARCH or not kernel):
        raise IsoError(f"an installer is there for {ARCH} that boots")
    if signed not in (None, TREE, EL_TORITO):
        raise IsoError(f"signed is {TREE} or {EL_TORITO}, not {signed}")
    packages = kernel and kernel.packages
    parts = (generation, edition, stage_mib, arch, packages)
    if installer or metadata:
        parts += (installer and recipe_of(), sorted((metadata or {}).items()))
    loaders = boot_files(CACHE, arch, grub, unsigned) if signed else {}
    if signed or unsigned:
        digests = [hashlib.sha256(content).hexdigest() for content in loaders.values()]
        parts += (signed, digests, sorted(unsigned))
    recipe = hashlib.sha256(repr(parts).encode())
    for source in sorted((*SOURCES.glob("*.py"), *SOURCES.glob("*.sh"))):
        recipe.update(source.read_bytes())
    kept = CACHE / "iso" / f"{generation}-{edition}-{arch}-{recipe.hexdigest()[:16]}"
    if not kept.exists():
        with unfinished(kept) as work:
            row = GENERATIONS[generation]
            more = {f"Metadata/{name}": content for name, content in (metadata or {}).items()}
            starter = loaders if signed == EL_TORITO else {}
            if signed == TREE:
                more |= loaders
            if kernel and "kernel" in unsigned:
                more[row.boot_of(arch).kernel] = without_signature(kernel.vmlinuz.read_bytes())
            facts = _make(work, row, edition, stage_mib, arch, kernel, installer, more, starter)
            (work / "facts.json").write_text(json.dumps(asdict(facts), default=str))
    facts = json.loads((kept / "facts.json").read_text())
    facts["stages"] = {stage: tuple(pair) for stage, pair in facts["stages"].items()}

    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    facts["path"] = directory / f"{name or f'alt-{generation}-{edition}-{arch}'}.iso"
    shutil.copyfile(kept / "image.iso", facts["path"])
    return TestIso(**facts)


def _make(work, generation, edition, stage_mib, arch, kernel, installer, more, starter):
    """Makes image.iso in work and returns its TestIso.

    more: files of the medium, instead of what it would have there; starter: those of its El Torito
    image, which are nowhere else then. Both: content (bytes) by path.
    """
    epoch = calendar.timegm(time.strptime(generation.date[:19], "%Y-%m-%d-%H-%M-%S"))
    product = generation.product.format(edition=edition)
    title = generation.volume_id.format(product=product, arch=arch)
    boot = generation.boot_of(arch)
    medium = work / "medium"
    stages = {}
    for stage in generation.stages:
        tree = work / stage
        write(tree, _stage_files(generation, stage, product))
        _write_noise(tree / "usr/share/netboot-test/noise", f"{edition} {stage}", stage_mib)
        set_times(tree, epoch)
        if installer and stage == stage_of(generation):
            tree = add_installer(tree, generation, kernel, epoch)
        write(medium, {})
        squashfs = medium / stage
        run(
            *("mksquashfs", str(tree), str(squashfs), "-noappend", "-all-root", "-no-progress"),
            *("-comp", "zstd", "-Xcompression-level", "1"),
            epoch=epoch,
        )
        shutil.rmtree(tree)
        stages[stage] = (squashfs.stat().st_size, _sha256(squashfs))

    sizes = {stage: size for stage, (size, _) in stages.items()}
    files = _medium_files(generation, arch, product, title, sizes)
    files[boot.kernel] = f"Not a kernel: this image of {arch} is made to be looked into.\n"
    files[boot.initrd] = f"Not an initrd: this image of {arch} is made to be looked into.\n"
    if kernel:
        files[boot.kernel] = kernel.vmlinuz.read_bytes()
        files[boot.initrd] = _initramfs(
            work / "initramfs", generation, kernel, epoch, STAGE2_MODULES if installer else ()
        )
    files |= more
    for original, copy in zip((boot.kernel, boot.initrd), generation.copies):
        files[copy] = files[original]
    for name in starter:
        files.pop(name, None)
    write(medium, files)
    bootable = add_el_torito(medium, starter, arch, epoch) if starter else []
    set_times(medium, epoch)

    image = work / "image.iso"
    run(
        *("xorriso", "-as", "mkisofs", "-o", str(image), "-r", "-J", "-joliet-long"),
        *("-iso-level", "3", "-sysid", "LINUX", "-publisher", generation.publisher),
        *("-V", title[:32], f"--modification-date={generation.date.replace('-', '')}"),
        *(*bootable, str(medium)),
        epoch=epoch,
    )
    facts = TestIso(
        path=image,
        sha256=_sha256(image),
        size=image.stat().st_size,
        generation=generation.name,
        arch=arch,
        product=product,
        dialect=generation.dialect,
        volume_id=title[:32],
        date=generation.date,
        stages=stages,
        kernel=f"/{boot.kernel}",
        kernel_sha256=_sha256(medium / boot.kernel),
        initrd=f"/{boot.initrd}",
        initrd_sha256=_sha256(medium / boot.initrd),
    )
    shutil.rmtree(medium)
    return facts


def _stage_files(generation, stage, product):
    """What makes a stage look like a system, by path, and what command lines start in it."""
    return {
        "usr/lib/os-release": f'NAME="ALT"\nID=altlinux\nVERSION_ID={generation.version}\n'
        f'PRETTY_NAME="{product}"\nALT_BRANCH_ID="{generation.branch}"\n',
        "etc/altlinux-release": f"{product}\n",
        "sbin/init": "#!/bin/sh\nexec /bin/sh\n",
        **{path: f"# {path}\n" for path in generation.started_in(stage)},
    }


def _medium_files(generation, arch, product, title, stage_sizes):
    """Every file of the medium but kernel, initrd and stages, by path (str or bytes)."""
    day = generation.date[:10]
    fill = {"title": title, "arch": arch, "day": day, "date": day.replace("-", "")}
    groups = io.BytesIO()
    with tarfile.open(fileobj=groups, mode="w") as tar:
        for name, content in (
            ("groups/base.directory", b"[Desktop Entry]\nName=Base\n"),
            ("lists/test/base", b"netboot-test\n"),
        ):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return {
        **{f".disk/{name}": text.format(**fill) for name, text in generation.dot_disk.items()},
        generation.date: "",
        **{
            path: generation.menu(path, arch, product, stage_sizes)
            for path in generation.boot_of(arch).menus
        },
        # No test starts from the medium itself, so what its firmware would start is only there.
        f"EFI/BOOT/{EFI_LOADERS[arch]}": "Not a program: this image boots over the network.\n",
        "ALTLinux/base/release": f"{title}\n",
        "ALTLinux/RPMS.main/netboot-test-1.0-alt1.noarch.rpm": _noise("package", 4096),
        "Metadata/pkg-groups.tar": groups.getvalue(),
        "RPM-GPG-KEY": "Test image, nothing is signed.\n",
        "license.all.html": "<html><body>Test image.</body></html>\n",
        "index.html": f"<html><body>{title}</body></html>\n",
    }


def _initramfs(tree, generation, kernel, epoch, stage2):
    """The initramfs as bytes; tree: a folder to make it in, stage2: the installer's modules."""
    modules = kernel.modules(MODULES)
    mount_modules = kernel.modules([*MOUNT_MODULES, *filter(kernel.has_module, CIPHERS)])
    files = {
        "image.conf": f"GENERATION={generation.name}\nDIALECT={generation.dialect}\n"
        f"VERSION={generation.first_stage}\n",
        "init": (SOURCES / "stage1.sh").read_bytes(),
        "dialect.sh": (SOURCES / f"{generation.dialect}.sh").read_bytes(),
        "share.sh": (SOURCES / "share.sh").read_bytes(),
        "dhcp.sh": (SOURCES / "dhcp.sh").read_bytes(),
        "bin/busybox": kernel.busybox.read_bytes(),
        "modules/order": "".join(f"{name}.ko\n" for name in modules),
        "modules/order-of-shares": "".join(
            f"{name}.ko\n" for name in mount_modules if name not in modules
        ),
    }
    if stage2:
        needed = kernel.modules(stage2)
        files["modules/order-of-stage2"] = "".join(
            f"{name}.ko\n" for name in needed if name not in modules
        )
        modules |= needed
    if kernel.has_module(RAM_DISK):
        modules |= kernel.modules([RAM_DISK])
    modules |= mount_modules
    files |= {f"modules/{name}.ko": data for name, data in modules.items()}
    return initramfs(tree, files, epoch)


def _noise(seed, size):
    """Bytes that do not compress and are the same each time for a seed."""
    return hashlib.shake_128(seed.encode()).digest(size)


def _write_noise(path, seed, mib):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        for block in range(mib):
            file.write(_noise(f"{seed} {block}", MIB))


def _sha256(path):
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
