"""
Boot entries: what clients can boot, from the facts of the images and the applied configuration.

A pure function. The forms of the command line are those of altboot's manual (make-initrd-bootchain,
chapters "quickstart", "automatic" and "download").
"""

__virtualname__ = "netboot_entries"

_ALTBOOT = "fastboot root=bootchain bootchain=fg,altboot ip=dhcp4"


def __virtual__():
    return __virtualname__


def build(config, images):
    """
    Say which entries the menus have.

    config
        The applied configuration, as ``netboot.config`` resolves it.

    images
        The images that are ready, as ``netboot.images`` lists them.

    Returns a map: ``entries``, a list of maps with ``id``, ``image`` (name), ``label``, ``arch``,
    ``variant`` (livecd, install, rescue), ``method``, ``form`` (tree or iso), ``title``,
    ``kernel`` and ``initrd`` (URLs), ``cmdline``; and ``problems``, one line for each image that
    has no entry, with the reason.

    CLI Example:

    .. code-block:: bash

        salt 'netboot*' netboot_entries.build '{http: {url: "http://192.0.2.1"}}' '[]'
    """
    entries, problems = [], []
    for image in images:
        facts = image["facts"]
        if facts["dialect"] != "altboot":
            problems.append(
                f"{image['name']}: its first stage is {facts['dialect']}, "
                "for which there are no boot entries yet"
            )
            continue
        offered = image["overrides"].get("variants")
        made = [
            entry
            for entry in _altboot_entries(config, image, facts)
            if offered is None or entry["variant"] in offered
        ]
        if not made:
            problems.append(
                f"{image['name']}: has none of the variants that "
                f"netboot:images:{image['name']}:variants offers"
                if offered
                else f"{image['name']}: has neither a live system nor an installer"
            )
        entries += made
    return {"entries": entries, "problems": problems}


def _altboot_entries(config, image, facts):
    server = config["http"]["url"].partition("://")[2]
    tree = f"/tftp/netboot/{facts['arch']}/{image['label']}"
    live, installer = facts["livecd"], facts["installer"]
    if live:
        stage = facts["stages"][live["stage"]]
        # The stage alone, into a RAM disk: with ramdisk_size this form means the same to every
        # altboot since 2021-10. No `hash=`: over http, altboot only checks it for a whole ISO.
        yield _entry(
            config,
            image,
            variant="livecd",
            form="tree",
            words=[
                _ALTBOOT,
                f"automatic=method:http,server:{server},directory:{tree}",
                f"live stagename={live['stage']} ramdisk_size={stage['ramdisk_size']}",
                live["argument"],
            ],
        )
    if installer and facts["http_iso"]:
        # The whole ISO, as the installer wants its packages beside the stage.
        yield _entry(
            config,
            image,
            variant="install",
            form="iso",
            words=[
                _ALTBOOT,
                f"automatic=method:http,type:iso,server:{server},directory:/dist/{image['file']}",
                "live" if installer["stage"] == "live" else "",
                f"stagename={installer['stage']}",
                installer["argument"],
                f"hash={image['iso_sha256']}",
            ],
        )


def _entry(config, image, variant, form, words):
    facts = image["facts"]
    base = f"{config['http']['url']}/tftp/netboot/{facts['arch']}/{image['label']}"
    initrd = facts["initrd"].lstrip("/")
    return {
        "id": f"{image['label']}-{variant}",
        "image": image["name"],
        "label": image["label"],
        "arch": facts["arch"],
        "variant": variant,
        "method": "http",
        "form": form,
        "title": f"{image['name']}: {variant}",
        "kernel": f"{base}/{facts['kernel'].lstrip('/')}",
        "initrd": f"{base}/{initrd}",
        # UEFI kernels find their initrd by this name when iPXE is older than 2.0.
        "cmdline": " ".join(
            [word for word in words if word] + [f"initrd={initrd.rsplit('/', 1)[-1]}", "showopts"]
        ),
    }
