"""
Derive the facts of an ALT image from its file list, its volume descriptor and its boot menus.

Pure functions: they read no file and know nothing of the minion.  ``iso_tree`` passes them what
``iso9660`` read.  They know the layouts of ALT images since 4.0: the rules come from
mkimage-profiles (the tool that builds these images; paths below are in its repository), from the
altboot manual and from the changelogs of propagator and make-initrd-bootchain.

An unknown fact stays empty and is listed in ``missing``, with the pillar key that sets it; nothing
is guessed from the release number when the image itself contains it.
"""

from __future__ import annotations

import posixpath
import re
from typing import Any

from netboot_names import ARCHES, OVERRIDES

Facts = dict[str, Any]
Tree = Any


# Boot menus in the order of trust.  features.in/grub/stage1/scripts.d/01-grub (in 2020 it wrote a
# separate menu to EFI/BOOT/grub.cfg), features.in/syslinux, features.in/e2k/generate.mk
GRUB_MENUS = ("boot/grub/grub.cfg", "EFI/BOOT/grub.cfg")
SYSLINUX_MENUS = ("syslinux/isolinux.cfg", "isolinux/isolinux.cfg")
E2K_MENU = "boot.conf"

# features.in/build-distro/lib/90-build-distro.mk, features.in/stage2/stage1/scripts.d/96-copy-cpe,
# features.in/initrd-{propagator,bootchain}/stage1/scripts.d
DISK_TEXTS = (".disk/info", ".disk/arch", ".disk/date", ".disk/cpe", ".disk/initrd.mk")
BOOTCHAIN_CONFIG = ".disk/bootchain"

# Paths of kernel and initrd over the years, newest first, for images whose menus do not name them
BOOT_FILES = (
    ("boot/vmlinuz", "boot/initrd.img"),  # since 10.1, 2021-03
    ("boot/vmlinuz", "boot/full.cz"),  # 9.2, 10.0
    ("syslinux/alt0/vmlinuz", "syslinux/alt0/full.cz"),  # 4.1 to 9.2 on x86
    ("alt0/vmlinuz", "alt0/full.cz"),  # 9.0 on aarch64 and ppc64le
    ("EFI/BOOT/vmlinuz", "EFI/BOOT/full.cz"),  # 9.x on aarch64
    ("isolinux/alt0/vmlinuz", "isolinux/alt0/full.cz"),  # 4.0 and older
    ("boot/image.0", "boot/initrd.img"),  # e2k
    ("alt0/vmlinux.0", "alt0/full.cz"),  # e2k, older
)

# What follows the volume id in .disk/info; until 2019-02 without the word "build"
DISK_INFO = re.compile(r"(?: build)? (\d{4}-\d\d-\d\d)$")

BRANCH = re.compile(r"[pc](\d+)(?:\.\d+|f\d+)?")  # p11, c10f2, p10.1

# Squashfs images in the root of the image: features.in/{install2,live,rescue}
STAGES = ("live", "altinst", "rescue")

# Where the installer's stage has the backends of alterator (its packages' spec files), and those by
# which netboot_installers recognizes what an installer understands
INSTALLER_BACKENDS = "usr/lib/alterator/backend3"
INSTALLER_NAMES = ("pkg-init", "pkg-install-init", "postinstall", "remount-destination")

# These paths end up in scripts that other images share; names that iPXE or a shell could read as
# anything but a name are not taken from an image
PLAIN_PATH = re.compile(r"[\w.+/-]+", re.ASCII)

# INSTALL2_INIT of features.in/init/config.mk: with systemd and with sysvinit, before and since 2025
INSTALLER = re.compile(r"systemd\.unit=install2\.target|init=[\w./-]*/install2-init", re.ASCII)
LIVE_RESCUE = "systemd.unit=live-rescue.target"  # features.in/grub/cfg.in/33live-rescue.cfg

# From this build date on, the dialect's first stage can load a whole ISO over HTTP.
# altboot: type:iso came with make-initrd-bootchain 0.1.5-alt17 of 2023-07-10.  propagator: the
# changelog has it on 2021-09-22 and its fix (ALT bug 41072) on 2021-10-07, and the kits of
# 2021-12-12 are the first known to boot this way; older images boot from the unpacked tree.
HTTP_ISO_SINCE = {"altboot": "2023-07-11", "propagator": "2021-12-12"}

# ALT builds for more than iPXE can boot; such an ISO is told by its name, not as unknown.
ALT_ARCHES = (
    *ARCHES,
    "ppc64le",
    "armh",
    "mipsel",
    "e2kv6",
    "e2kv5",
    "e2kv4",
    "e2k",
)
EFI_ARCHES = {  # UEFI specification, 3.5.1.1
    "bootx64.efi": "x86_64",
    "bootaa64.efi": "aarch64",
    "bootriscv64.efi": "riscv64",
    "bootloongarch64.efi": "loongarch64",
    "bootia32.efi": "i586",
}

# Facts without which nothing boots, each with the pillar field of the image that sets it, if any
FIELDS = {**OVERRIDES, "stages": ""}
# Optional facts that no key sets; without a build date, http_iso is false
GOOD_TO_KNOW = ("product", "version", "branch", "uuid", "build_date")


def texts() -> list[str]:
    """
    Return the paths of the small text files that :func:`derive` needs.
    """
    return [*GRUB_MENUS, *SYSLINUX_MENUS, E2K_MENU, *DISK_TEXTS]


def derive(
    volume: Facts, entries: Any, contents: Any, file_name: str = "", image: str = "NAME"
) -> Any:
    """
    Return the facts of an image.

    volume
        What ``iso9660.volume`` returns.

    entries
        ``entries`` of ``iso9660.listing``.

    contents
        The texts of those files of :func:`texts` that the image has, by path.

    file_name
        The name of the ISO file; the last resort for the arch.

    image : NAME
        The image's name in the pillar, for the keys in ``missing``.

    Returns a dict:

    ``arch``, ``product``, ``version``, ``branch`` (``p11``, ``sisyphus``, ...), ``volume_id``,
    ``uuid``, ``build_date`` (``YYYY-MM-DD``)
        Strings; empty when unknown.

    ``dialect``
        ``altboot`` or ``propagator``; ``dialect_source`` is where it was found.

    ``kernel``, ``initrd``
        Paths in the image; ``boot_source`` is the menu that contains them, or ``known path``.

    ``flavours``
        Further kernels by version: ``{version: {kernel, initrd}}``.

    ``stages``
        ``{name: {path, size, ramdisk_size}}``, the size in bytes and what ``ramdisk_size=`` needs
        in KiB.

    ``livecd``, ``installer``, ``rescue``
        ``{stage, argument}`` or None: the stage that this variant boots, and the argument it needs
        besides ``stagename=`` (empty if the variant has its own stage).

    ``http_iso``
        Whether the first stage can load the whole ISO over HTTP.

    ``efi_loaders``, ``repository``
        Paths of ``EFI/BOOT/*.efi``; whether packages (``ALTLinux/``) are on the image.

    ``missing``
        ``{fact: pillar key}`` of unknown facts; the key is empty where no key sets the fact.
    """
    tree = {entry["path"]: entry for entry in entries}
    menus = [(path, _menu(path, contents[path])) for path in texts() if path in contents]
    menus = [(path, items) for path, items in menus if items]

    facts = {
        **_identity(volume, tree, contents, file_name),
        "volume_id": volume["volume_id"],
        "uuid": volume["uuid"],
        "build_date": _build_date(volume, contents),
    }
    facts.update(_boot_files(tree, menus))
    facts["dialect"], facts["dialect_source"] = _dialect(tree, menus, contents, facts)
    facts["flavours"] = _flavours(tree)
    facts["stages"] = _stages(tree, menus)
    facts.update(_variants(facts["stages"], menus))
    facts["http_iso"] = _http_iso(facts)
    facts["efi_loaders"] = sorted(
        path for path in tree if re.fullmatch(r"efi/boot/[^/]+\.efi", path, re.IGNORECASE)
    )
    facts["repository"] = "ALTLinux" in tree
    facts["missing"] = {
        fact: f"netboot:images:{image}:{field}" if field else ""
        for fact, field in {**FIELDS, **dict.fromkeys(GOOD_TO_KNOW, "")}.items()
        if not facts[fact]
    }
    return facts


# Boot menus: each becomes a list of {"kernel", "initrd", "arguments"}


def _menu(path: str, text: str) -> Any:
    if path in GRUB_MENUS:
        items = _grub_menu(text)
    elif path in SYSLINUX_MENUS:
        items = _syslinux_menu(text, posixpath.dirname(path))
    elif path == E2K_MENU:
        items = _e2k_menu(text)
    else:
        return []
    # without memtest, disk loaders and the firmware's shell, which load no stage
    return [item for item in items if _value(item, "automatic") is not None]


def _grub_menu(text: str) -> Any:
    items = []
    for line in text.replace("\\\n", " ").splitlines():
        words = line.split()
        # linux, linux16, linuxefi, and linux$linux_suffix of 2021
        if len(words) > 1 and re.fullmatch(r"linux(16|efi|\$\w+)?", words[0]):
            items.append({"kernel": _grub_path(words[1]), "initrd": "", "arguments": words[2:]})
        elif len(words) > 1 and re.fullmatch(r"initrd(16|efi|\$\w+)?", words[0]) and items:
            items[-1]["initrd"] = _grub_path(words[1])
    return items


def _grub_path(word: str) -> Any:
    # $KFLAVOUR is empty for the default kernel: features.in/grub/cfg.in/89kernel.cfg
    path = re.sub(r"\$\{?\w+\}?", "", word.strip("\"'"))
    return path.rpartition(")")[2].strip("/")


def _syslinux_menu(text: str, directory: str) -> Any:
    items: list[Facts] = []
    for line in text.splitlines():
        keyword, _, rest = line.strip().partition(" ")
        keyword, rest = keyword.lower(), rest.strip()
        if keyword == "label":
            items.append({"kernel": "", "initrd": "", "arguments": []})
        elif not items:
            continue
        elif keyword in ("kernel", "linux"):
            items[-1]["kernel"] = _syslinux_path(rest, directory)
        elif keyword == "initrd":
            items[-1]["initrd"] = _syslinux_path(rest, directory)
        elif keyword == "append":
            for word in rest.split():
                if word.startswith("initrd="):
                    items[-1]["initrd"] = _syslinux_path(word[7:], directory)
                else:
                    items[-1]["arguments"].append(word)
    return items


def _syslinux_path(path: str, directory: str) -> Any:
    # A path without a leading / is relative to the configuration's directory
    return posixpath.normpath(posixpath.join("/", directory, path)).strip("/")


def _e2k_menu(text: str) -> Any:
    items = []
    for line in text.splitlines():
        keyword, _, rest = line.strip().partition("=")
        if keyword == "label":
            items.append({"kernel": "", "initrd": "", "arguments": []})
        elif not items:
            continue
        elif keyword in ("image", "initrd"):
            items[-1]["kernel" if keyword == "image" else "initrd"] = rest.strip().strip("/")
        elif keyword == "cmdline":
            items[-1]["arguments"] = rest.split()
    return items


def _value(item: Facts, key: str) -> Any:
    """Return the value of the last ``key=value`` argument, or None."""
    for word in reversed(item["arguments"]):
        if word.startswith(key + "="):
            return word[len(key) + 1 :]
    return None


# Identity


def _identity(volume: Facts, tree: Tree, contents: Any, file_name: str) -> Any:
    """Return arch, product, version and branch."""
    # .disk/info holds the volume id before it was cut at 32 characters
    info = DISK_INFO.sub("", contents.get(".disk/info", "").strip())
    title = info or volume["volume_id"]
    cpe = contents.get(".disk/cpe", "").strip().split(":")
    arch = _arch(volume, tree, contents, file_name)
    arches = "|".join((*ALT_ARCHES, "i686"))
    product = re.sub(rf"/?\b({arches})\b", "", title)
    # without .disk/info the arch may be cut: "ALT 9.2 Workstation K Live x86_6"
    product = re.sub(r" x86_6?$", "", " ".join(product.split()))
    found = re.search(r"\b\d+\.\d+(\.\d+)*\b", title)
    version = found.group() if found else ""
    if not version and len(cpe) > 4 and re.fullmatch(rf"[\d.]+|{BRANCH.pattern}", cpe[4]):
        version = cpe[4]
    return {
        "arch": arch,
        "product": product,
        "version": version,
        "branch": _branch(title, version, cpe),
    }


def _arch(volume: Facts, tree: Tree, contents: Any, file_name: str) -> Any:
    for text in (
        contents.get(".disk/arch", ""),
        contents.get(".disk/info", ""),
        volume["volume_id"],
        # ids are cut at 32 characters, as in "ALT 10.0 Workstation K Live x86_"
        re.sub(r"x86_6?$", "x86_64", volume["volume_id"]),
    ):
        arch = _arch_word(text)
        if arch:
            return arch
    loaders = {posixpath.basename(path).lower() for path in tree if path.lower().startswith("efi/")}
    for loader, arch in EFI_ARCHES.items():
        if loader in loaders:
            return arch
    return _arch_word(file_name)


def _arch_word(text: str) -> Any:
    for word in re.split(r"[^a-z0-9_]+", text.lower()):
        if word in ("i386", "i686"):
            return "i586"
        if word in ALT_ARCHES:
            return word
    return ""


def _branch(title: str, version: str, cpe: str) -> Any:
    words = re.split(r"[^A-Za-z0-9.]+", title)
    for word in (*words, version):
        if BRANCH.fullmatch(word):
            return word
    if "regular" in words or "sisyphus" in title.lower() or "sisyphus" in cpe:
        return "sisyphus"
    major = version.partition(".")[0]
    return f"p{major}" if major.isdigit() and 5 <= int(major) <= 20 else ""


def _build_date(volume: Facts, contents: Any) -> Any:
    found = DISK_INFO.search(contents.get(".disk/info", "").strip())
    if found:
        return found.group(1)
    found = re.match(r"(\d{4})-?(\d\d)-?(\d\d)", contents.get(".disk/date", "").strip())
    if found:
        return "-".join(found.groups())
    return volume["uuid"][:10]


# What boots


def _boot_files(tree: Tree, menus: Any) -> Any:
    for path, items in menus:
        for item in items:
            kernel, initrd = _file(tree, item["kernel"]), _file(tree, item["initrd"])
            if kernel and initrd:
                return {"kernel": kernel, "initrd": initrd, "boot_source": path}
    for kernel, initrd in BOOT_FILES:
        if _file(tree, kernel) and _file(tree, initrd):
            kernel, initrd = _file(tree, kernel), _file(tree, initrd)
            return {"kernel": kernel, "initrd": initrd, "boot_source": "known path"}
    return {"kernel": "", "initrd": "", "boot_source": ""}


def _file(tree: Tree, path: str) -> Any:
    """Return the path of a file with content, behind links as well, or an empty string."""
    for _ in range(8):
        entry = tree.get(path, {})
        if entry.get("type") != "link":
            break
        path = posixpath.normpath(posixpath.join(posixpath.dirname(path), entry["target"]))
    fit = entry.get("type") == "file" and entry["size"] and PLAIN_PATH.fullmatch(path)
    return path if fit else ""


def _dialect(tree: Tree, menus: Any, contents: Any, facts: Facts) -> Any:
    # features.in/initrd-{bootchain,propagator}/config.mk, STAGE1_INITRD_TYPEARGS: every item has
    # "root=bootchain bootchain=fg,altboot automatic=..." or "changedisk automatic=..."
    for path, items in menus:
        if any(_value(item, "root") == "bootchain" for item in items):
            return "altboot", path
        return "propagator", path
    if BOOTCHAIN_CONFIG in tree:
        return "altboot", BOOTCHAIN_CONFIG
    features = re.findall(r"^FEATURES\s*\+=(.*)$", contents.get(".disk/initrd.mk", ""), re.M)
    features = " ".join(features).split()
    if any(feature.startswith("bootchain") for feature in features):
        return "altboot", ".disk/initrd.mk"
    if "propagator" in features:
        return "propagator", ".disk/initrd.mk"
    # initrd.img can be either (10.1 to 10.4 are propagator), full.cz cannot
    if posixpath.basename(facts["initrd"]) == "full.cz":
        return "propagator", facts["initrd"]
    # features.in/stage2/config.mk: bootchain for sisyphus (since 2021-08-31), p11 and c11
    branch = BRANCH.fullmatch(facts["branch"])
    if branch:
        newer = int(branch.group(1)) >= 11
        return "altboot" if newer else "propagator", f"branch {facts['branch']}"
    if facts["branch"] == "sisyphus" and facts["build_date"]:
        newer = facts["build_date"] > "2021-08-31"
        return "altboot" if newer else "propagator", f"build date {facts['build_date']}"
    return "", ""


def _flavours(tree: Tree) -> Any:
    """Return the kernels besides the default: only their names keep a version."""
    # features.in/stage2/stage1/scripts.d/95-copy-kernel
    flavours = {}
    for path in sorted(tree):
        found = re.fullmatch(r"boot/(?:vmlinuz|image)-(\S+)", path)
        if found:
            initrd = f"boot/initrd-{found.group(1)}.img"
            if _file(tree, path) and _file(tree, initrd):
                flavours[found.group(1)] = {"kernel": path, "initrd": initrd}
    return flavours


def _stages(tree: Tree, menus: Any) -> Any:
    named = {_value(item, "stagename") for _, items in menus for item in items}
    stages = {}
    for name in sorted({*STAGES, *named} - {None}):
        if "/" not in name and _file(tree, name) == name:
            size = tree[name]["size"]
            # as features.in/grub/scripts.d/20-propagator-ramdisk-grub computes it
            stages[name] = {"path": name, "size": size, "ramdisk_size": size // 1024 + 1}
    return stages


def _variants(stages: Facts, menus: Any) -> Any:
    """Return livecd, installer and rescue."""
    livecd = {"stage": "live", "argument": ""} if "live" in stages else None
    installer = {"stage": "altinst", "argument": ""} if "altinst" in stages else None
    rescue = {"stage": "rescue", "argument": ""} if "rescue" in stages else None
    lives = [item for _, items in menus for item in items if _value(item, "stagename") == "live"]
    if "live" in stages and lives:
        arguments = [word for item in lives for word in item["arguments"]]
        # altinst and an installer in live exclude each other: features.in/grub/generate.mk
        found = next(filter(INSTALLER.fullmatch, arguments), "")
        if found and not installer:
            installer = {"stage": "live", "argument": found}
        if LIVE_RESCUE in arguments and not rescue:
            rescue = {"stage": "live", "argument": LIVE_RESCUE}
        # The network submenu (88netinstall-live.cfg) offers a live system on every image, even if
        # the stage contains only the installer; the local items are reliable
        if not any(map(_is_livecd, lives)):
            livecd = None
    return {"livecd": livecd, "installer": installer, "rescue": rescue}


def _is_livecd(item: Facts) -> Any:
    local = re.match(r"method:(disk|cdrom)", _value(item, "automatic"))
    other = any(INSTALLER.fullmatch(word) or word == LIVE_RESCUE for word in item["arguments"])
    return bool(local) and not other


def _http_iso(facts: Facts) -> Any:
    # p9 and c9 are still built, with their original propagator
    branch = BRANCH.fullmatch(facts["branch"])
    if facts["dialect"] == "propagator" and branch and int(branch.group(1)) < 10:
        return False
    # Not without a known age: the unpacked tree always works
    known = facts["dialect"] and facts["build_date"]
    return bool(known) and facts["build_date"] >= HTTP_ISO_SINCE[facts["dialect"]]
