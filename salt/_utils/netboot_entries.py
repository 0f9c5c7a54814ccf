"""
Boot entries: what clients can boot, from the facts of the images and the applied configuration.

Pure. The table ``STARTS`` lists what a first stage accepts: a new method needs new rows. Sources:
altboot's manual (make-initrd-bootchain, "From propagator to altboot", chapters 10, 30, 35, 62, 63,
65 and 69) and scripts (translate.d/100-download, 350-squashfs), the change log of propagator,
mkimage-profiles (features.in/grub/cfg.in) for the arguments in ALT's own menus, and
asheplyakov/netinstall-alt for lines that booted real media.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from netboot_labels import filled
from netboot_names import VARIANTS, boot_file
from netboot_paths import in_url
from netboot_shapes import Config, Entry, Facts, ImageRecord, Offer

Row = dict[str, Any]


# proven: variants whose line was published as booting ALT's own media: netinstall-alt (images of p9
# and p10), altlinux.org/Installer/common/altboot, and a report of nfs for server-p11 and
# workstation-p11.
_BOTH, _LIVE, _INSTALL = ("livecd", "install"), ("livecd",), ("install",)

#: How clients get a stage: a row for each method, dialect and form.
#:
#: form: ``tree``, only the stage, from the unpacked image; ``iso``, the whole image, in which the
#: system also finds its packages. over: ``ram``, the client downloads it (``ramdisk_size=`` means
#: the same to every propagator and to every altboot since 2021-10), which only some images can do
#: with a whole ISO; ``mount``, it mounts the server's directory and reads what it needs
#: (``lowmem``). keys: what ``automatic=`` contains besides method, server and directory. imgsize:
#: whether it also accepts the size of the download. hash: whose digest ``hash=`` is, where the
#: client can check it: propagator checks a stage while downloading it; altboot aborts the boot on
#: ``hash=`` with an http or ftp tree, and reads a mounted stage once more for it.
STARTS = tuple(
    dict(zip(("method", "dialect", "form", "over", "keys", "imgsize", "hash", "proven"), row))
    for row in (
        ("http", "propagator", "tree", "ram", "network:dhcp", False, "stage", _BOTH),
        ("http", "propagator", "iso", "ram", "network:dhcp", False, None, _LIVE),
        ("http", "altboot", "tree", "ram", "", True, None, ()),
        ("http", "altboot", "iso", "ram", "type:iso", True, "iso", _BOTH),
        ("cifs", "propagator", "iso", "mount", "network:dhcp", False, None, ()),
        ("cifs", "propagator", "tree", "mount", "network:dhcp", False, None, ()),
        ("cifs", "altboot", "iso", "mount", "", False, "stage", ()),
        ("cifs", "altboot", "tree", "mount", "", False, "stage", ()),
        ("nfs", "propagator", "iso", "mount", "network:dhcp", False, None, ()),
        ("nfs", "propagator", "tree", "mount", "network:dhcp", False, None, ()),
        ("nfs", "altboot", "iso", "mount", "", False, "stage", ()),
        ("nfs", "altboot", "tree", "mount", "", False, "stage", _INSTALL),
        ("ftp", "propagator", "tree", "ram", "network:dhcp", False, "stage", ()),
        ("ftp", "altboot", "tree", "ram", "", True, None, ()),
        ("ftp", "altboot", "iso", "ram", "type:iso", True, "iso", ()),
    )
)

#: The methods that mount.
MOUNTING = {row["method"] for row in STARTS if row["over"] == "mount"}

#: The forms that suit a variant when it is downloaded, best first: a tree transfers the fewest
#: bytes, but the installer needs packages beside the stage. A mount transfers the same bytes in
#: both forms, and an ISO need not be unpacked.
FORMS_OF = {"livecd": ("tree",), "install": ("iso", "tree"), "rescue": ("tree",)}

#: What each dialect needs before ``automatic=``; ``nb-ip`` is one of ``NICS``.
DIALECTS = {
    "altboot": "fastboot root=bootchain bootchain=fg,altboot ${nb-ip}",
    "propagator": "changedisk fastboot",
}

#: The card of a variant's system. ``booted`` boots more machines: of several cards, another may get
#: an address first, from a network without this server. What it does not boot is rarer: cards that
#: udev's rule of ``ifname=`` leaves alone (without a bus driver, or with a dev_id that is not 0).
#: But an installer may configure what it installs for a card named bootif0, and each published
#: line that installs has ``any``.
NIC_OF = {"livecd": "booted", "install": "any", "rescue": "booted"}

# What the running system needs besides the download: altboot since 0.1.5-alt27 keeps this much free
# (the default of its key reserve:). And an estimate of what the kernel and the unpacked initrd take
# before altboot reads MemAvailable.
RESERVE_MIB = 512
KERNEL_MIB = 256
_MIB = 1024 * 1024

# Characters that a kernel accepts (COMMAND_LINE_SIZE: 2048 on x86 and arm64, 1024 on riscv; the
# rest is cut off), minus what a host, its board and the groups of both may add; on riscv, less.
_LONGEST_CMDLINE = 2048 - 4 * 193
_LONGEST_CMDLINE_OF = {"riscv64": 1024 - 256}
# From the board, from hand-written scripts for netinstall-alt, from the host.
# Of a host that is installed unattended: see netboot_host_scripts.
_ANSWERS = "${nb-answers}"
_LONGEST_ANSWERS = (
    len("ai poweroff curl=http://255.255.255.255:65535/host//answers/pcbios/") + 64 + 33
)
_MORE_ARGUMENTS = "${nb-board-arguments} ${linux_extra_cmdline} ${nb-arguments}"
# Other values of ``${...}``: one of ``NICS``, a locale, the path of a host that boots once.
_LONGEST_SETTING = 64
# propagator's ancestor reads so many characters, and so many words (mdk-stage1, tools.c).
_PROPAGATOR_READS = (511, 50)


def build(config: Config, images: list[ImageRecord]) -> dict[str, Any]:
    """
    Return the entries of the menus.

    config
        The applied configuration, as ``netboot.config`` resolves it.

    images
        The images that are ready, as ``netboot.images`` lists them.

    Returns a map: ``entries`` (see ``netboot_shapes.Entry``); ``problems``, one line with the
    reason for each image without an entry and each entry whose command line is too long; and
    ``warnings``, one line for each entry that may not boot.

    In an entry's ``cmdline``, ``${...}`` stands for what is known when a client boots: the address
    of its network card, the chosen language, arguments of the host. ``proven`` means that a line of
    this form is known to have booted ALT's own media; otherwise it follows from the first stage's
    documentation.
    """
    settings: dict[str, Any] = {
        image["label"]: image for image in [*config["images"], *config["elsewhere"]]
    }
    entries: list[Entry] = []
    problems: list[str] = []
    for image in images:
        setting = settings.get(image["label"], {})
        offer = setting.get("offer", {})
        made = [
            _entry(config, image, offer, variant, row, number)
            for variant in _offered(image, offer)
            for number, row in enumerate(_forms(config, image["facts"], setting, variant))
        ]
        too_long = [_too_long(entry) for entry in made]
        entries += [entry for entry, wrong in zip(made, too_long) if not wrong]
        problems += filter(None, too_long)
        if not made:
            problems.append(f"{image['name']}: {_why_none(config, image, offer)}")
    warnings = [wrong for entry in entries for wrong in _doubts(config, entry)]
    return {"entries": entries, "problems": problems, "warnings": warnings}


def memory_mib(dialect: str, form: str, size: int) -> int:
    """
    Return how much memory a client must have, in MiB.

    dialect, form
        propagator's ``tree`` goes into a RAM disk of its own size. altboot before alt27 takes half
        of the available memory for a whole ISO (its manual, chapter 10), and for a stage wherever
        the kernel has no RAM disk, such as real-time kernels (translate.d/100-download); since then
        it needs the size and ``reserve:``. For a whole ISO on propagator no rule is known, so the
        same is assumed.

    size
        Bytes of the stage or of the ISO; 0 when the client mounts it.
    """
    mib = -(-size // _MIB)
    if (dialect, form) == ("propagator", "tree"):
        return mib + RESERVE_MIB + KERNEL_MIB
    return max(2 * mib, mib + RESERVE_MIB) + KERNEL_MIB


def _offered(image: ImageRecord, offer: Offer) -> list[str]:
    """Return the variants that the image has and the pillar offers."""
    wanted = offer.get("variants")
    return [
        variant
        for variant, fact in VARIANTS.items()
        if image["facts"].get(fact) and (wanted is None or variant in wanted)
    ]


def _forms(config: Config, facts: Facts, setting: Row, variant: str) -> list[Row]:
    """
    Return the rows of STARTS for a variant, best first.

    For each method: the forms that the pillar sets, or the best form that the first stage accepts.
    """
    if _has_no_network(facts):
        return []
    offer: Offer = setting.get("offer", {})
    rows: list[Row] = []
    for method in offer.get("methods") or config["methods"]:
        can = {
            row["form"]: row
            for row in STARTS
            if (row["method"], row["dialect"]) == (method, facts["dialect"])
            and (facts["http_iso"] or (row["form"], row["over"]) != ("iso", "ram"))
        }
        forms = FORMS_OF[variant]
        if all(row["over"] == "mount" for row in can.values()):
            unpacked = setting.get("mount") or setting.get("unpack") == "tree"
            unpacked = unpacked or not setting.get("keep_iso", True)
            forms = ("tree", "iso") if unpacked else ("iso", "tree")
        fit = [can[form] for form in offer.get("forms") or forms if form in can]
        rows += fit if offer.get("forms") else fit[:1]
    return rows


def _has_no_network(facts: Facts) -> bool:
    # mkimage-profiles, conf.d/regular.mk: use/stage2/net-install is left out for i586
    return facts["arch"] == "i586" and facts["dialect"] == "altboot"


def _why_none(config: Config, image: ImageRecord, offer: Offer) -> str:
    facts = image["facts"]
    key = f"netboot:images:{image['name']}"
    if _has_no_network(facts):
        return "the initrd of i586 images with altboot has no network drivers"
    if not any(facts.get(fact) for fact in VARIANTS.values()):
        return "contains neither a live system nor an installer nor a rescue system"
    if not _offered(image, offer):
        return f"contains none of the variants in {key}:variants"
    methods = ", ".join(offer.get("methods") or config["methods"])
    return (
        f"its first stage supports none of {key}:forms ({', '.join(offer['forms'])}) "
        f"with any of its methods ({methods})"
    )


def _entry(
    config: Config, image: ImageRecord, offer: Offer, variant: str, row: Row, number: int
) -> Entry:
    facts = image["facts"]
    started: Any = facts.get(VARIANTS[variant])
    stage = facts["stages"][started["stage"]]
    whole, mounted = row["form"] == "iso", row["over"] == "mount"
    dist, tftp, trees = (in_url(config, config["paths"][at]) for at in ("dist", "tftp", "trees"))
    tree = f"{trees}/{facts['arch']}/{image['label']}"
    directory = f"{dist}/{image['file']}" if whole else tree
    # Below the TFTP root, as kernels are also fetched over TFTP.
    files = tree[len(tftp) :]
    # An image that is not unpacked yet has no sizes on record.
    sizes = image.get("boot_files", {})
    iso_size = facts.get("tree", {}).get("iso", {}).get("size", 0)
    size = iso_size if whole and not mounted else stage["size"]
    memory = memory_mib(facts["dialect"], row["form"], 0 if mounted else size)
    remark = f"${{nb-text-{variant}}}{_remark(row, number, memory)}"
    sums: Any = facts.get("sha256", {})
    secure: Any = facts.get("secure_boot", {})
    nic = (offer.get("nic") or NIC_OF[variant]) if facts["dialect"] == "altboot" else ""
    return {
        "id": f"{image['label']}-{variant}" + (f"-{row['method']}-{row['form']}" if number else ""),
        "image": image["name"],
        "label": image["label"],
        "arch": facts["arch"],
        "variant": variant,
        "method": row["method"],
        "form": row["form"],
        "title": f"{image['name']}: {filled(remark)}",
        "remark": remark,
        "kernel": offer.get("kernel_url") or f"{files}/{facts['kernel'].lstrip('/')}",
        "initrd": offer.get("initrd_url") or f"{files}/{facts['initrd'].lstrip('/')}",
        "kernel_sha256": "" if offer.get("kernel_url") else sums.get(facts["kernel"], ""),
        "initrd_sha256": "" if offer.get("initrd_url") else sums.get(facts["initrd"], ""),
        "shim": f"{files}/{secure['shim'].lstrip('/')}" if secure.get("shim") else "",
        # What another server has was not looked at.
        "secure_lacks": "" if offer.get("kernel_url") else secure.get("lacks", "no-shim"),
        "cmdline": _cmdline(
            config, image, offer, row, started, _automatic(config, offer, row, directory, size)
        )
        + (f" {_ANSWERS}" if variant == "install" and config.get("installs") else ""),
        "files": "boot" if whole else "tree" if variant == "install" else "stage",
        "needs_iso": whole,
        "stage": {"path": directory if whole else f"{directory}/{stage['path']}", "bytes": size},
        "bytes": size + sum(sizes.get(facts[file], 0) for file in ("kernel", "initrd")),
        "memory_mib": memory,
        "nic": nic,
        "proven": variant in row["proven"] and nic != "booted" and not offer.get("imgsize"),
        "password": _asks_for_password(config, offer, variant),
        "before": [one["snippet"] for one in offer.get("extra_ipxe_conf", [])],
    }


def _remark(row: Row, number: int, memory: int) -> str:
    """Return what distinguishes an entry from others of its variant, with labels of the menu."""
    whole = row["form"] == "iso"
    remark = ""
    if number or row["method"] != "http":
        remark = f", {'${nb-text-iso} ' if whole else ''}${{nb-text-over}} {row['method']}"
    if whole and row["over"] != "mount":
        remark += f" ({memory / 1024:.1f} ${{nb-text-memory}})"
    return remark


def _cmdline(
    config: Config, image: ImageRecord, offer: Offer, row: Row, started: Row, automatic: str
) -> str:
    facts = image["facts"]
    stage = facts["stages"][started["stage"]]
    ram = "" if row["form"] == "iso" else f"ramdisk_size={stage['ramdisk_size']}"
    words = [
        DIALECTS[facts["dialect"]],
        automatic,
        "" if started["stage"] == "altinst" else "live",
        f"stagename={started['stage']}",
        started["argument"],
        "lowmem" if row["over"] == "mount" else ram,
        _hash(image, offer, row, stage["path"]),
        # UEFI kernels find their initrd by this name when iPXE is older than 2.0.
        f"initrd={boot_file(offer.get('initrd_url') or facts['initrd'])}",
        "showopts lang=${lang}",
        *config["arguments"].get(facts["arch"], []),
        *offer.get("arguments", []),
        _MORE_ARGUMENTS,
    ]
    return " ".join(filter(None, words))


def _asks_for_password(config: Config, offer: Offer, variant: str) -> bool:
    password = config["menu"]["password"]
    asks = variant in password["variants"] or offer.get("password", False)
    return bool(password["users"]) and asks


def _too_long(entry: Entry) -> str | None:
    """Return the problem of a command line that the kernel would cut off, or None."""
    length = len(_longest(entry["cmdline"]))
    most = _LONGEST_CMDLINE_OF.get(entry["arch"], _LONGEST_CMDLINE)
    if length <= most:
        return None
    return (
        f"{entry['id']}: its kernel command line has up to {length} characters; the limit on "
        f"{entry['arch']} is {most}; shorten netboot:arguments:{entry['arch']} or "
        f"netboot:images:{entry['image']}:arguments"
    )


def _doubts(config: Config, entry: Entry) -> Iterator[str]:
    """Yield why propagator may not boot an entry: its ancestor cannot, its source is not public."""
    if entry["nic"]:
        return
    key = f"netboot:images:{entry['image']}"
    server = re.search(r"server:[^,]+:\d+", entry["cmdline"])
    if server and entry["method"] == "http":
        yield (
            f"{entry['id']}: its first stage may know no port but 80; set netboot:http:port to 80, "
            f"or {key}:methods to [nfs]"
        )
    words = _longest(entry["cmdline"]).split()
    length, most = len(" ".join(words)), _PROPAGATOR_READS
    if length > most[0] or len(words) > most[1]:
        yield (
            f"{entry['id']}: its kernel command line has up to {length} characters and "
            f"{len(words)} words; its first stage may read {most[0]} and {most[1]}; shorten "
            f"netboot:arguments:{entry['arch']} or {key}:arguments"
        )


def _longest(cmdline: str) -> str:
    """Return a command line with values as long as they get for what a client knows."""
    own = cmdline.replace(_MORE_ARGUMENTS, "").replace(_ANSWERS, "x" * _LONGEST_ANSWERS)
    return re.sub(r"\$\{.+?\}", "x" * _LONGEST_SETTING, own)


def _automatic(config: Config, offer: Offer, row: Row, directory: str, size: int) -> str:
    server = config["http"]["url"].partition("://")[2]
    if row["method"] == "http":
        # The prefix of a host that boots once (see netboot_host_scripts); empty for all others.
        directory = "${nb-via}" + directory
    else:
        server = server.partition(":")[0]
    if row["method"] == "nfs":
        directory = config["root"] + directory
    if row["method"] == "http" and offer.get("stage2_http_url"):
        server, _, path = offer["stage2_http_url"].partition("://")[2].partition("/")
        directory = f"/{path}"
    keys = [
        f"method:{row['method']}",
        row["keys"],
        f"imgsize:{size}" if row["imgsize"] and offer.get("imgsize") and size else "",
        f"server:{server}",
        f"directory:{directory}",
    ]
    return "automatic=" + ",".join(filter(None, keys))


def _hash(image: ImageRecord, offer: Offer, row: Row, stage: str) -> str:
    if row["over"] == "mount" and not offer.get("hash_mounted"):
        return ""
    digest = {
        None: None,
        "iso": image["iso_sha256"],
        "stage": image["facts"].get("sha256", {}).get(stage),
    }[row["hash"]]
    return f"hash={digest}" if digest else ""
