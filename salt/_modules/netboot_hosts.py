"""
Hosts: machines that boot something of their own, and boards, settings for all machines of a kind.

Pure functions: they run on a minion, on the controller of salt-ssh (``salt/_wrapper`` calls them)
and in table tests alike. The scripts only set what the menu then acts on; nothing in iPXE can be
quoted, so all that they hold was checked by ``netboot_keys``.
"""

import re

__virtualname__ = "netboot_hosts"

#: What a machine is told by, and which part of the script's name says so.
IDENTITIES = {"hostname": "host", "uuid": "uuid", "serial": "serial", "mac": "mac"}
#: What all machines of a kind are told by.
BOARDS = ("product", "manufacturer")

_BAIKAL_M = {
    "arguments": ["console=ttyS0,115200n8", "earlycon=uart8250,mmio32,0x20230000"],
    "kernel_over": "tftp",
}
#: Boards that come with the project, by SMBIOS product: as asheplyakov/netinstall-alt has them. The
#: processor's other cores don't come up when the kernel came over HTTP.
BUILT_IN = {
    product: {"product": product, **_BAIKAL_M}
    for product in ("TF307-MB", "TF307-MB-S-D", "ET101-1.2")
}

_HEAD = "#!ipxe\n# Managed by netboot-alt: changes are lost at the next apply.\n"


def __virtual__():
    return __virtualname__


def identity(value):
    """
    Say what a text identifies a machine by, if it is a MAC address or a UUID.

    value
        The text; a MAC address in any notation (colons, dashes, dots or none, upper or lower case).

    Returns the kind (``mac``, ``uuid`` or ``hostname``) and the text as iPXE writes it.

    CLI Example:

    .. code-block:: bash

        salt-call netboot_hosts.identity 52-54-00-AB-CD-EF
    """
    bare = re.sub(r"[:.-]", "", value).lower()
    if re.fullmatch(r"[0-9a-f]{12}", bare):
        return ["mac", bare]
    if re.fullmatch(r"[0-9a-f]{32}", bare):
        return ["uuid", "-".join((bare[:8], bare[8:12], bare[12:16], bare[16:20], bare[20:]))]
    return ["hostname", value]


def key(name):
    """
    Return what a host is called in URLs and records: its name in lower case, with - for colons.

    name
        Name of the host in the pillar.

    CLI Example:

    .. code-block:: bash

        salt-call netboot_hosts.key 52:54:00:AB:CD:EF
    """
    return name.lower().replace(":", "-")


def _identities(name, host):
    """What the host is told by, as (kind, text as iPXE writes it)."""
    given = [(kind, host[kind]) for kind in (*IDENTITIES, *BOARDS) if kind in host]
    if not given:
        return [tuple(identity(name))]
    return [
        (kind, identity(value)[1] if kind in ("mac", "uuid") else value) for kind, value in given
    ]


def _settings(host, groups):
    """A host's settings with those of its group: its own win, its arguments come after."""
    group = dict(groups.get(host.get("group")) or {})
    if "entry" in host:
        for key in ("image", "variant", "once"):
            group.pop(key, None)
    if "image" in host:
        group.pop("entry", None)
    arguments = _words(group.get("arguments")) + _words(host.get("arguments"))
    return {**group, **host, "arguments": arguments}


def _words(arguments):
    return arguments.split() if isinstance(arguments, str) else list(arguments or [])


# -- what is wrong ---------------------------------------------------------------------------------


def problems(hosts, groups, images):
    """
    Say what is wrong between hosts, groups and images; single values are ``netboot_keys``'s.

    hosts, groups
        What stands under ``netboot:hosts`` and ``netboot:groups`` (maps by name).

    images
        What stands under ``netboot:images`` (a map by name). In all three None stands for what has
        mistakes of its own, of which enough is said.

    Returns a list of one-line texts, each starting with its pillar key.

    CLI Example:

    .. code-block:: bash

        salt-call netboot_hosts.problems '{pc1: {group: lab}}' '{}' '{}'
    """
    found, keys, owners = [], {}, {}
    for name, group in groups.items():
        found += _wrong_target(f"netboot:groups:{name}", group or {}, images)
    for name, host in hosts.items():
        if host is None:
            continue
        path = f"netboot:hosts:{name}"
        if not any(kind in host for kind in (*IDENTITIES, *BOARDS)):
            if identity(name)[0] == "hostname" and ":" in name:
                found.append(f"{path}: the name is no MAC address, UUID or host name; give mac")
        found += [f"{path}:{wrong}" for wrong in _wrong_host(host, groups, images)]
        found += _wrong_target(path, host, images)
        other = keys.setdefault(key(name), name)
        if other != name:
            found.append(f"{path}: the name differs from that of netboot:hosts:{other} too little")
        for kind, value in _identities(name, host):
            other = owners.setdefault((kind, value.lower()), name)
            if other != name:
                found.append(f"{path}: has the same {kind} {value!r} as netboot:hosts:{other}")
    return found


def _wrong_target(path, settings, images):
    """What is wrong with what one map itself says to boot."""
    image, variant = settings.get("image"), settings.get("variant")
    if image is None:
        return
    if "entry" in settings:
        yield f"{path}:entry: contradicts image; remove one of the two"
    if image not in images:
        hint = __salt__["netboot_keys.nearest"](image, list(images))
        yield f"{path}:image: there is no image {image!r}{hint}"
    elif variant and _refused(image, variant, images):
        yield f"{path}:variant: {_refused(image, variant, images)}"


def _wrong_host(host, groups, images):
    """What is wrong with a host once its group's settings are added, after its key."""
    group = host.get("group")
    if group is not None and group not in groups:
        yield f"group: there is no group {group!r}{__salt__['netboot_keys.nearest'](group, groups)}"
        return
    if group is not None and groups[group] is None:
        return
    settings = _settings(host, groups)
    image, variant = settings.get("image"), settings.get("variant")
    boards = [kind for kind in BOARDS if kind in host]
    others = [kind for kind in IDENTITIES if kind in host] + boards[1:]
    if boards and others:
        yield f"{boards[0]}: means all machines of a kind; remove it or {others[0]}"
    if image and not variant:
        yield "variant: is missing; say which of livecd, install, rescue to boot"
    elif variant and not image:
        yield "image: is missing; say of which image to boot the variant"
    elif ("image" in host) != ("variant" in host) and _refused(image, variant, images):
        yield f"variant: {_refused(image, variant, images)}"
    if settings.get("once") and boards:
        yield f"once: cannot be counted for all machines of a {boards[0]}"
    elif settings.get("once") and not image:
        yield "once: needs image and variant, to say what boots once"
    if settings.get("menu") is False and not image and "entry" not in settings:
        yield "menu: false needs image and variant, or entry: local, to boot without asking"


def _refused(image, variant, images):
    """Why the pillar does not let an image have a variant; what the ISO has is not known yet."""
    offered = (images.get(image) or {}).get("variants") or [variant]
    if variant in offered:
        return None
    return f"netboot:images:{image}:variants offers only {', '.join(offered)}"


def warnings(hosts, groups, asks):
    """
    Say what is allowed, but likely a mistake: an installer that starts by itself at every boot, a
    default that a menu cannot start.

    hosts, groups
        As of ``problems``, without any.

    asks
        List of [image, variant] that ask for a password.

    CLI Example:

    .. code-block:: bash

        salt-call netboot_hosts.warnings '{}' '{}' '[]'
    """
    again, asked = [], []
    for name, host in hosts.items():
        settings = _settings(host, groups)
        if settings.get("variant") == "install" and not settings.get("once"):
            again.append(name)
        if settings.get("menu") and [settings.get("image"), settings.get("variant")] in asks:
            asked.append(name)
    return [
        f"netboot:hosts: {', '.join(names[:5])}"
        + (f" and {len(names) - 5} more" if len(names) > 5 else "")
        + f" {wrong}"
        for names, wrong in (
            (again, "will start the installer at every boot; once: true is safer"),
            (
                asked,
                "will boot from disk when the menu's time is up, as the entry asks for a password",
            ),
        )
        if names
    ]


def any_once(hosts, groups):
    """
    Say whether any host boots something once.

    hosts, groups
        As of ``problems``, without any.

    CLI Example:

    .. code-block:: bash

        salt-call netboot_hosts.any_once '{pc1: {once: true}}' '{}'
    """
    return any(_settings(host, groups).get("once", False) for host in hosts.values())


# -- scripts ---------------------------------------------------------------------------------------


def scripts(hosts, groups, config):
    """
    Make the scripts of hosts and boards.

    hosts, groups
        What stands under ``netboot:hosts`` and ``netboot:groups`` (maps, without problems).

    config
        The configuration, as ``netboot.config`` resolves it.

    Returns texts by file name: ``config-{host,uuid,serial,mac,product,manufacturer}-*.ipxe``, under
    the name that a client asks for once its URL is decoded.

    CLI Example:

    .. code-block:: bash

        salt-call netboot_hosts.scripts '{pc1: {entry: local}}' '{}' '{http: {url: ...}, ...}'
    """
    built_in = {("product", product): board for product, board in BUILT_IN.items()}
    made = {}
    for name, host in hosts.items():
        settings = _settings(host, groups)
        for kind, value in _identities(name, host):
            if kind in BOARDS:
                given = {one: words for one, words in settings.items() if words != []}
                settings = {**built_in.pop((kind, value), {}), **given}
                made[f"config-{kind}-{value}.ipxe"] = _board_script(name, settings, config)
            else:
                text = _host_script(name, settings, config)
                made[f"config-{IDENTITIES[kind]}-{value}.ipxe"] = text
    for (kind, value), board in built_in.items():
        made[f"config-{kind}-{value}.ipxe"] = _board_script(value, board, config)
    return made


def _values(settings, config, arguments):
    """The menu's variables, by name."""
    values = {}
    if "entry" in settings or "image" in settings:
        values["nb-entry"] = _entry(settings)
        if not settings.get("menu"):
            values["nb-straight"] = "1"
    if "timeout_s" in settings:
        values["nb-timeout"] = str(settings["timeout_s"] * 1000)
    if settings.get("arguments"):
        values[arguments] = " ".join(_words(settings["arguments"]))
    if "kernel_over" in settings:
        tftp = settings["kernel_over"] == "tftp"
        values["nb-files"] = (
            f"tftp://{config['address']}" if tftp else f"{config['http']['url']}/tftp"
        )
    return values


def _entry(settings):
    """The id of the boot entry, see ``netboot_entries``."""
    if "entry" in settings:
        return settings["entry"]
    return f"{__salt__['netboot_pillar.label'](settings['image'])}-{settings['variant']}"


def _host_script(name, settings, config):
    values = _values(settings, config, "nb-arguments")
    lines = [f"# Host: {name}"]
    if settings.get("once"):
        values["nb-entry"] = "local"
        # Whatever goes wrong with that script, the local disk is what boots.
        url = f"{config['http']['url']}/tftp/once/{key(name)}.ipxe"
        last = [f"chain --autofree {url} ||"]
    else:
        last = []
    lines += [f"set {variable} {value}" for variable, value in values.items()]
    return _HEAD + "\n".join(lines + last) + "\n"


def _board_script(name, settings, config):
    values = _values(settings, config, "nb-board-arguments")
    lines = [f"# Board: {name}"]
    if "nb-entry" in values:
        # What boots and whether it is asked for come from the same script.
        lines.append("isset ${nb-entry} && goto settings ||")
        for variable in ("nb-entry", "nb-straight"):
            if variable in values:
                lines.append(f"set {variable} {values.pop(variable)}")
        lines.append(":settings")
    for variable, value in values.items():
        lines.append(f"isset ${{{variable}}} || set {variable} {value}")
    return _HEAD + "\n".join(lines) + "\n"


# -- once ------------------------------------------------------------------------------------------


def once(hosts, groups, config, entries):
    """
    Say which hosts boot something once, and what shows that they did.

    hosts, groups, config
        As of ``scripts``.

    entries
        The boot entries, as ``netboot_entries.build`` makes them.

    Returns a map: ``problems``, a list of one-line texts for hosts of which this server could not
    see that they booted; and ``hosts``, the others, by ``key``:

    ``host``, ``entry``
        The host's name and the id of its boot entry.

    ``straight``
        Whether it boots without the menu.

    ``path``
        Its complete download from this server shows that the entry was booted: the stage, or the
        initrd where the stage travels otherwise. Empty while the entry is not ready.

    ``server``
        URL of the server that kernel and initrd must come from; empty if that does not matter.

    ``told_by``
        What identifies the machine, whatever its name in the pillar.

    CLI Example:

    .. code-block:: bash

        salt-call netboot_hosts.once '{}' '{}' '{http: {url: ...}, ...}' '[]'
    """
    by_id = {entry["id"]: entry for entry in entries}
    found, wrong = {}, []
    for name, host in hosts.items():
        settings = _settings(host, groups)
        if not settings.get("once"):
            continue
        entry = _entry(settings)
        path = _shown_by(by_id[entry], settings, config) if entry in by_id else ""
        if path is None:
            wrong.append(
                f"netboot:hosts:{name}:once: {entry} is fetched past this web server, which cannot "
                "see that it was booted; the host boots from its own disk"
            )
            continue
        shown_by_initrd = path and by_id[entry]["method"] != "http"
        found[key(name)] = {
            "host": name,
            "entry": entry,
            "straight": not settings.get("menu"),
            "told_by": [f"{kind}={value.lower()}" for kind, value in _identities(name, host)],
            "path": path,
            # A board may want its kernel over TFTP, where nobody sees that it was fetched.
            "server": config["http"]["url"] if shown_by_initrd else "",
        }
    return {"hosts": found, "problems": wrong}


def _shown_by(entry, settings, config):
    """The path on this web server that a boot of the entry ends with, or None."""
    url = config["http"]["url"]
    images = {image["label"]: image.get("offer", {}) for image in config["images"]}
    offer = images.get(entry["label"], {})
    if entry["method"] == "http" and not offer.get("stage2_http_url"):
        return entry["stage"]["path"]
    over = settings.get("kernel_over") or config.get("kernel_over", {}).get(entry["arch"], "http")
    if over == "http" and entry["initrd"].startswith(url + "/"):
        return entry["initrd"][len(url) :]
    return None


def armed_script(one, arming):
    """
    Make the script that an armed host finds, until it has booted.

    one
        The host, one of ``hosts`` of ``once``.

    arming
        What this arming is called: every one has paths of its own, so that no line of the web
        server's log can be taken for another's, whatever the clock says.

    CLI Example:

    .. code-block:: bash

        salt-call netboot_hosts.armed_script '{host: pc1, entry: p11-install, straight: true}' 1a2b
    """
    prefix = via(one, arming)
    lines = [
        f"# Host: {one['host']}, armed: this script goes when its boot was complete.",
        f"set nb-via {prefix}",
        f"set nb-entry {one['entry']}",
        *([f"set nb-files {one['server']}{prefix}/tftp"] if one["server"] else []),
        *(["set nb-straight 1"] if one["straight"] else []),
    ]
    return _HEAD + "\n".join(lines) + "\n"


def via(one, arming):
    """
    Return what stands before the paths that an armed host fetches.

    one, arming
        As of ``armed_script``.

    CLI Example:

    .. code-block:: bash

        salt-call netboot_hosts.via '{host: pc1}' 1a2b3c4d
    """
    return f"/host/{key(one['host'])}.{arming}"
