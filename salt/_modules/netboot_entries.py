"""
Boot entries: what clients can boot, from the facts of the images and the applied configuration.

A pure function. What a first stage accepts is in the table ``FORMS``: a method is added as rows.
Sources: altboot's manual (make-initrd-bootchain, "From propagator to altboot", chapters 10, 30, 35,
62, 63, 65 and 69) and scripts (translate.d/100-download, 350-squashfs), the change log of
propagator, mkimage-profiles (features.in/grub/cfg.in) for the words that ALT's own menus have, and
asheplyakov/netinstall-alt for lines that booted real media.
"""

import re

__virtualname__ = "netboot_entries"

# proven: variants of which somebody published such a line as booting ALT's own media:
# netinstall-alt (images of p9 and p10), altlinux.org/Installer/common/altboot, and a report of nfs
# for server-p11 and workstation-p11.
_BOTH, _LIVE, _INSTALL = ("livecd", "install"), ("livecd",), ("install",)

#: How a stage travels: a row for each method, dialect and form.
#:
#: form: ``tree``, the stage alone out of the unpacked image; ``iso``, the whole image, where the
#: system finds its packages too. over: ``ram``, the client downloads it (``ramdisk_size=`` means
#: the same to every propagator and to every altboot since 2021-10), which only some images can do
#: with a whole ISO; ``mount``, it mounts the server's folder and reads what it needs (``lowmem``).
#: keys: what ``automatic=`` has besides method, server and directory. imgsize: it takes the size of
#: what it downloads too, which saves a HEAD request that is never tried again. hash: whose digest
#: ``hash=`` is, where the client can check it: propagator checks a stage while it downloads it;
#: altboot ends the boot when ``hash=`` comes with an http or ftp tree.
FORMS = tuple(
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

#: Variant -> the image's fact that says what it starts, and the forms that suit it when it is
#: downloaded, best first: a tree moves the fewest bytes, but the installer needs packages beside
#: the stage. What is mounted moves the same bytes in both forms, and an ISO need not be unpacked.
VARIANTS = {
    "livecd": ("livecd", ("tree",)),
    "install": ("installer", ("iso", "tree")),
    "rescue": ("rescue", ("tree",)),
}

#: What each dialect wants to see before ``automatic=``. altboot uses the card that booted, whatever
#: else is plugged in: ``netX`` is the one that iPXE opened last.
DIALECTS = {
    "altboot": "fastboot root=bootchain bootchain=fg,altboot "
    "ifname=bootif0:${netX/mac} ip=bootif0:dhcp4",
    "propagator": "changedisk fastboot",
}

# What the running system needs besides what was downloaded: altboot since 0.1.5-alt27 keeps as much
# free (the default of its key reserve:). And an estimate of what the kernel and the unpacked initrd
# take before altboot looks at MemAvailable.
RESERVE_MIB = 512
KERNEL_MIB = 256
_MIB = 1024 * 1024

# Characters that a kernel takes (COMMAND_LINE_SIZE: 2048 on x86 and arm64, 1024 on riscv; the rest
# is cut off), less what a host, its board and the groups of both may add; on riscv some of it.
_LONGEST_CMDLINE = 2048 - 4 * 193
_LONGEST_CMDLINE_OF = {"riscv64": 1024 - 256}
# Of the board, of hand-written scripts as for netinstall-alt, of the host.
_MORE_ARGUMENTS = "${nb-board-arguments} ${linux_extra_cmdline} ${nb-arguments}"
# What else ``${...}`` stands for: a MAC address, a locale, the path of a host that boots once.
_LONGEST_SETTING = 64


def __virtual__():
    return __virtualname__


def build(config, images):
    """
    Say which entries the menus have.

    config
        The applied configuration, as ``netboot.config`` resolves it.

    images
        The images that are ready, as ``netboot.images`` lists them.

    Returns a map: ``entries``, a list of maps; and ``problems``, one line for each image that has
    no entry and each entry that no kernel could take, with the reason. An entry has:

    ``id``, ``image`` (name), ``label``, ``arch``, ``variant`` (livecd, install, rescue),
    ``method`` (http, cifs, nfs, ftp), ``form`` (tree or iso), ``title``
        What it is.

    ``kernel`` and ``initrd`` (URLs), ``cmdline``
        What iPXE loads. ``${...}`` stands for what is known when a client boots: the address of its
        network card, the language chosen, arguments of its own.

    ``files``, ``needs_iso``
        What must be unpacked (``boot``: kernel and initrd; ``stage``: these and the stage;
        ``tree``: all), and whether the ISO itself must be there.

    ``stage``
        What the client fetches from the server after the initrd: ``path`` in the URL or share, and
        ``bytes``.

    ``bytes``
        What one boot fetches: kernel, initrd and stage or ISO.

    ``memory_mib``
        Memory that a client needs: see ``memory_mib`` in this module.

    ``proven``
        Whether a line of this form is known to have booted ALT's own media; else it follows from
        what the first stage is documented to do.

    ``password``
        Whether the menu asks for one.

    ``before``
        Lines of iPXE script that run first.

    CLI Example:

    .. code-block:: bash

        salt 'netboot*' netboot_entries.build '{http: {url: "http://192.0.2.1"}}' '[]'
    """
    settings = {
        image["label"]: image for image in [*config.get("images", []), *config.get("elsewhere", [])]
    }
    entries, problems = [], []
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
    return {"entries": entries, "problems": problems}


def memory_mib(form, size):
    """
    Say how much memory a client must have, in MiB.

    form
        ``tree``: the stage goes into a RAM disk as large as itself. ``iso``: altboot wants twice
        the file's size to be available (its manual, chapter 10; since alt27 only the size and
        ``reserve:``); of propagator no rule is known, so it gets the same.

    size
        Bytes of the stage or of the ISO; 0 when the client mounts it.

    CLI Example:

    .. code-block:: bash

        salt 'netboot*' netboot_entries.memory_mib iso 4499472384
    """
    mib = -(-size // _MIB)
    if form == "iso":
        return max(2 * mib, mib + RESERVE_MIB) + KERNEL_MIB
    return mib + RESERVE_MIB + KERNEL_MIB


def _offered(image, offer):
    """The variants that the image has and the pillar wants."""
    wanted = offer.get("variants")
    return [
        variant
        for variant, (fact, _) in VARIANTS.items()
        if image["facts"][fact] and (wanted is None or variant in wanted)
    ]


def _forms(config, facts, setting, variant):
    """
    The rows of FORMS for a variant, best first.

    For each method the forms that the pillar wants, else the best that the first stage takes.
    """
    if _has_no_network(facts):
        return []
    offer, rows = setting.get("offer", {}), []
    for method in offer.get("methods") or config.get("methods", ["http"]):
        can = {
            row["form"]: row
            for row in FORMS
            if (row["method"], row["dialect"]) == (method, facts["dialect"])
            and (facts["http_iso"] or (row["form"], row["over"]) != ("iso", "ram"))
        }
        forms = VARIANTS[variant][1]
        if all(row["over"] == "mount" for row in can.values()):
            unpacked = setting.get("mount") or setting.get("unpack") == "tree"
            unpacked = unpacked or not setting.get("keep_iso", True)
            forms = ("tree", "iso") if unpacked else ("iso", "tree")
        fit = [can[form] for form in offer.get("forms") or forms if form in can]
        rows += fit if offer.get("forms") else fit[:1]
    return rows


def _has_no_network(facts):
    # mkimage-profiles, conf.d/regular.mk: use/stage2/net-install is left out for i586
    return facts["arch"] == "i586" and facts["dialect"] == "altboot"


def _why_none(config, image, offer):
    facts = image["facts"]
    key = f"netboot:images:{image['name']}"
    if _has_no_network(facts):
        return "the initrd of i586 images with altboot has no network drivers"
    if not any(facts[fact] for fact, _ in VARIANTS.values()):
        return "has neither a live system nor an installer"
    if not _offered(image, offer):
        return f"has none of the variants that {key}:variants offers"
    methods = ", ".join(offer.get("methods") or config.get("methods", ["http"]))
    return (
        f"its first stage takes none of the forms that {key}:forms ({', '.join(offer['forms'])}) "
        f"and methods ({methods}) offer"
    )


def _entry(config, image, offer, variant, row, number):
    facts = image["facts"]
    started = facts[VARIANTS[variant][0]]
    stage = facts["stages"][started["stage"]]
    whole, mounted = row["form"] == "iso", row["over"] == "mount"
    tree = f"/netboot/{facts['arch']}/{image['label']}"
    directory = f"/dist/{image['file']}" if whole else f"/tftp{tree}"
    # An image that was not unpacked yet has no sizes on record.
    sizes = image.get("boot_files", {})
    iso_size = facts.get("tree", {}).get("iso", {}).get("size", 0)
    size = iso_size if whole and not mounted else stage["size"]
    memory = memory_mib("tree" if mounted else row["form"], 0 if mounted else size)
    words = [
        DIALECTS[facts["dialect"]],
        _automatic(config, offer, row, directory, size),
        "" if started["stage"] == "altinst" else "live",
        f"stagename={started['stage']}",
        started["argument"],
        "lowmem" if mounted else "" if whole else f"ramdisk_size={stage['ramdisk_size']}",
        _hash(image, row, stage),
        # UEFI kernels find their initrd by this name when iPXE is older than 2.0.
        f"initrd={(offer.get('initrd_url') or facts['initrd']).rpartition('/')[2]}",
        "showopts lang=${lang}",
        *config.get("arguments", {}).get(facts["arch"], []),
        *offer.get("arguments", []),
        _MORE_ARGUMENTS,
    ]
    files = f"{config['http']['url']}/tftp{tree}"
    ident, title = f"{image['label']}-{variant}", f"{image['name']}: {variant}"
    if number:
        ident += f"-{row['method']}-{row['form']}"
    if number or row["method"] != "http":
        title += f", {'whole ISO ' if whole else ''}over {row['method']}"
    if whole and not mounted:
        title += f" ({memory / 1024:.1f} GiB of memory)"
    return {
        "id": ident,
        "image": image["name"],
        "label": image["label"],
        "arch": facts["arch"],
        "variant": variant,
        "method": row["method"],
        "form": row["form"],
        "title": title,
        "kernel": offer.get("kernel_url") or f"{files}/{facts['kernel'].lstrip('/')}",
        "initrd": offer.get("initrd_url") or f"{files}/{facts['initrd'].lstrip('/')}",
        "cmdline": " ".join(filter(None, words)),
        "files": "boot" if whole else "tree" if variant == "install" else "stage",
        "needs_iso": whole,
        "stage": {"path": directory if whole else f"{directory}/{stage['path']}", "bytes": size},
        "bytes": size + sum(sizes.get(facts[file], 0) for file in ("kernel", "initrd")),
        "memory_mib": memory,
        "proven": variant in row["proven"],
        "password": _asks_for_password(config, offer, variant),
        "before": [one["snippet"] for one in offer.get("extra_ipxe_conf", [])],
    }


def _asks_for_password(config, offer, variant):
    password = config.get("menu", {}).get("password", {})
    asks = variant in password.get("variants", ()) or offer.get("password", False)
    return bool(password.get("users")) and asks


def _too_long(entry):
    """What to tell of a command line that the kernel would cut off, or None."""
    own = entry["cmdline"].replace(_MORE_ARGUMENTS, "")
    length = len(re.sub(r"\$\{.+?\}", "x" * _LONGEST_SETTING, own))
    most = _LONGEST_CMDLINE_OF.get(entry["arch"], _LONGEST_CMDLINE)
    if length <= most:
        return None
    return (
        f"{entry['id']}: its kernel command line has up to {length} characters, of {most} at most "
        f"on {entry['arch']}; shorten netboot:arguments:{entry['arch']} or "
        f"netboot:images:{entry['image']}:arguments"
    )


def _automatic(config, offer, row, directory, size):
    server = config["http"]["url"].partition("://")[2]
    if row["method"] == "http":
        # The prefix of a host that boots once, see netboot_hosts; empty for all others.
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
        f"imgsize:{size}" if row["imgsize"] and size else "",
        f"server:{server}",
        f"directory:{directory}",
    ]
    return "automatic=" + ",".join(filter(None, keys))


def _hash(image, row, stage):
    digest = {
        None: None,
        "iso": image["iso_sha256"],
        "stage": image["facts"].get("sha256", {}).get(stage["path"]),
    }[row["hash"]]
    return f"hash={digest}" if digest else ""
