"""
Boot entries: what clients can boot, from the facts of the images and the applied configuration.

A pure function. What a first stage accepts is in the table ``FORMS``: a method is added as rows.
Sources: altboot's manual (make-initrd-bootchain, "From propagator to altboot", chapters 10, 30, 35,
62 and 65), the change log of propagator, mkimage-profiles (features.in/grub/cfg.in) for the words
that ALT's own menus have, and asheplyakov/netinstall-alt for lines that booted real media.
"""

__virtualname__ = "netboot_entries"

#: How a stage travels: a row for each method, dialect and form.
#:
#: form: ``tree``, the stage alone out of the unpacked image, into a RAM disk (``ramdisk_size=``
#: means the same to every propagator and to every altboot since 2021-10); ``iso``, the whole image
#: into memory, where the system finds its packages too.
#: if_fact: a fact of the image that must hold. keys: what ``automatic=`` has besides method, server
#: and directory. hash: whose digest ``hash=`` is, where the client can check it; propagator checks
#: a stage while it downloads it, altboot ends the boot when ``hash=`` comes with an http tree.
#: proven: variants of which somebody published such a line as booting ALT's own media.
FORMS = (
    {
        "method": "http",
        "dialect": "propagator",
        "form": "tree",
        "if_fact": None,
        "keys": "network:dhcp",
        "hash": "stage",
        "proven": ("livecd", "install"),  # netinstall-alt, for images of p9 and early p10
    },
    {
        "method": "http",
        "dialect": "propagator",
        "form": "iso",
        "if_fact": "http_iso",
        "keys": "network:dhcp",
        "hash": None,
        "proven": ("livecd",),  # netinstall-alt, for images of p10 since 2021-12
    },
    {
        "method": "http",
        "dialect": "altboot",
        "form": "tree",
        "if_fact": None,
        "keys": "",
        "hash": None,
        "proven": (),
    },
    {
        "method": "http",
        "dialect": "altboot",
        "form": "iso",
        "if_fact": "http_iso",
        "keys": "type:iso",
        "hash": "iso",
        "proven": ("livecd", "install"),  # altlinux.org/Installer/common/altboot
    },
)

#: Variant -> the image's fact that says what it starts, and the forms that suit it, best first: a
#: tree moves the fewest bytes, but the installer needs packages beside the stage.
VARIANTS = {
    "livecd": ("livecd", ("tree",)),
    "install": ("installer", ("iso", "tree")),
    "rescue": ("rescue", ("tree",)),
}

#: What each dialect wants to see before ``automatic=``
DIALECTS = {
    "altboot": "fastboot root=bootchain bootchain=fg,altboot ip=dhcp4",
    "propagator": "changedisk fastboot",
}

# What the running system needs besides what was downloaded: altboot since 0.1.5-alt27 keeps as much
# free (the default of its key reserve:). And an estimate of what the kernel and the unpacked initrd
# take before altboot looks at MemAvailable.
RESERVE_MIB = 512
KERNEL_MIB = 256
_MIB = 1024 * 1024


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
    no entry, with the reason. An entry has:

    ``id``, ``image`` (name), ``label``, ``arch``, ``variant`` (livecd, install, rescue),
    ``method``, ``form`` (tree or iso), ``title``
        What it is.

    ``kernel`` and ``initrd`` (URLs), ``cmdline``
        What iPXE loads.

    ``files``, ``needs_iso``
        What must be unpacked (``boot``: kernel and initrd; ``stage``: these and the stage;
        ``tree``: all), and whether the ISO itself must be there.

    ``bytes``
        What one boot fetches: kernel, initrd and stage or ISO.

    ``memory_mib``
        Memory that a client needs: see ``memory_mib`` in this module.

    ``proven``
        Whether a line of this form is known to have booted ALT's own media; else it follows from
        what the first stage is documented to do.

    CLI Example:

    .. code-block:: bash

        salt 'netboot*' netboot_entries.build '{http: {url: "http://192.0.2.1"}}' '[]'
    """
    entries, problems = [], []
    for image in images:
        made = [
            _entry(config, image, variant, form)
            for variant in _offered(image)
            for form in _forms(image["facts"], variant)
        ]
        entries += made
        if not made:
            problems.append(f"{image['name']}: {_why_none(image)}")
    return {"entries": entries, "problems": problems}


def memory_mib(form, size):
    """
    Say how much memory a client must have, in MiB.

    form
        ``tree``: the stage goes into a RAM disk as large as itself. ``iso``: altboot wants twice
        the file's size to be available (its manual, chapter 10; since alt27 only the size and
        ``reserve:``); of propagator no rule is known, so it gets the same.

    size
        Bytes of the stage or of the ISO.

    CLI Example:

    .. code-block:: bash

        salt 'netboot*' netboot_entries.memory_mib iso 4499472384
    """
    mib = -(-size // _MIB)
    if form == "iso":
        return max(2 * mib, mib + RESERVE_MIB) + KERNEL_MIB
    return mib + RESERVE_MIB + KERNEL_MIB


def _offered(image):
    """The variants that the image has and the pillar wants."""
    wanted = image["overrides"].get("variants")
    return [
        variant
        for variant, (fact, _) in VARIANTS.items()
        if image["facts"][fact] and (wanted is None or variant in wanted)
    ]


def _forms(facts, variant):
    """The rows of FORMS for a variant: for each method the best form that the first stage takes."""
    if _has_no_network(facts):
        return
    for method in dict.fromkeys(row["method"] for row in FORMS):
        rows = {
            row["form"]: row
            for row in FORMS
            if (row["method"], row["dialect"]) == (method, facts["dialect"])
            and (row["if_fact"] is None or facts[row["if_fact"]])
        }
        fit = [rows[form] for form in VARIANTS[variant][1] if form in rows]
        yield from fit[:1]


def _has_no_network(facts):
    # mkimage-profiles, conf.d/regular.mk: use/stage2/net-install is left out for i586
    return facts["arch"] == "i586" and facts["dialect"] == "altboot"


def _why_none(image):
    facts = image["facts"]
    if _has_no_network(facts):
        return "the initrd of i586 images with altboot has no network drivers"
    if not any(facts[fact] for fact, _ in VARIANTS.values()):
        return "has neither a live system nor an installer"
    return f"has none of the variants that netboot:images:{image['name']}:variants offers"


def _entry(config, image, variant, row):
    facts = image["facts"]
    started = facts[VARIANTS[variant][0]]
    stage = facts["stages"][started["stage"]]
    tree = f"/tftp/netboot/{facts['arch']}/{image['label']}"
    whole = row["form"] == "iso"
    directory = f"/dist/{image['file']}" if whole else tree
    # An image that was not unpacked yet has no sizes on record.
    sizes = image.get("boot_files", {})
    size = facts.get("tree", {}).get("iso", {}).get("size", 0) if whole else stage["size"]
    memory = memory_mib(row["form"], size)
    digest = {
        None: None,
        "iso": image["iso_sha256"],
        "stage": facts.get("sha256", {}).get(stage["path"]),
    }[row["hash"]]
    keys = [
        f"method:{row['method']}",
        row["keys"],
        f"server:{config['http']['url'].partition('://')[2]}",
        f"directory:{directory}",
    ]
    words = [
        DIALECTS[facts["dialect"]],
        "automatic=" + ",".join(filter(None, keys)),
        "" if started["stage"] == "altinst" else "live",
        f"stagename={started['stage']}",
        started["argument"],
        "" if whole else f"ramdisk_size={stage['ramdisk_size']}",
        f"hash={digest}" if digest else "",
        # UEFI kernels find their initrd by this name when iPXE is older than 2.0.
        f"initrd={facts['initrd'].rpartition('/')[2]}",
        "showopts",
    ]
    title = f"{image['name']}: {variant}"
    files = config["http"]["url"] + tree
    return {
        "id": f"{image['label']}-{variant}",
        "image": image["name"],
        "label": image["label"],
        "arch": facts["arch"],
        "variant": variant,
        "method": row["method"],
        "form": row["form"],
        "title": f"{title} ({memory / 1024:.1f} GiB of memory)" if whole else title,
        "kernel": f"{files}/{facts['kernel'].lstrip('/')}",
        "initrd": f"{files}/{facts['initrd'].lstrip('/')}",
        "cmdline": " ".join(filter(None, words)),
        "files": "boot" if whole else "tree" if variant == "install" else "stage",
        "needs_iso": whole,
        "bytes": size + sum(sizes.get(facts[file], 0) for file in ("kernel", "initrd")),
        "memory_mib": memory,
        "proven": variant in row["proven"],
    }
