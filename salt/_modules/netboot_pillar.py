"""
What the pillar key ``netboot`` comes to on a given machine: problems, or the configuration.

Pure functions; what a single key may hold is in ``netboot_keys``. They run on a minion, on the
controller of salt-ssh (``salt/_wrapper`` calls them) and in table tests alike.
"""

import ipaddress

__virtualname__ = "netboot_pillar"


def __virtual__():
    return __virtualname__


# Keys whose values must be right before netboot_dhcp looks at what holds between them.
_OF_DHCP = tuple(
    f"netboot:{key}:"
    for key in (
        "interface",
        "address",
        "virtual_address",
        "dhcp",
        "tftp",
        "firmware",
        "secure_boot",
    )
)
# The same for what holds between those of the web server.
_OF_HTTP = tuple(f"netboot:{key}:" for key in ("interface", "address", "http"))


def _setting(pillar, path):
    return __salt__["netboot_keys.setting"](pillar, path)


def _images_by_name(images, problems):
    """The images as a map by name; a list in the form of netinstall-alt's ``alt_images`` too."""
    if not isinstance(images, list):
        return images
    by_name = {}
    for number, image in enumerate(images):
        if not isinstance(image, dict) or not isinstance(image.get("name"), str):
            problems.append(f"netboot:images:{number}: must be a map that has a name (text)")
        elif image["name"] in by_name:
            problems.append(f"netboot:images:{image['name']}: the name stands twice in the list")
        else:
            by_name[image["name"]] = {k: v for k, v in image.items() if k != "name"}
    return by_name


def _check_images(images, problems):
    """What holds between the keys of an image and between images."""
    labels, files = {}, {}
    for name, image in images.items():
        key = f"netboot:images:{name}"
        if labels.setdefault(label(name), name) != name:
            problems.append(
                f"{key}: gives the same folder name {label(name)!r} as {labels[label(name)]!r}"
            )
        if not isinstance(image, dict):
            continue
        if image.get("skip_iso_deploy") is True:
            _check_elsewhere(key, image, problems)
            continue
        if not image.get("url"):
            problems.append(f"{key}:url: is missing")
        elif not __salt__["netboot_keys.wrong"]("images.*.url", image["url"]):
            file = __salt__["netboot_keys.iso_file"](image["url"])
            if files.setdefault(file, name) != name:
                problems.append(
                    f"{key}:url: gives the same file {file!r} as netboot:images:{files[file]}:url"
                )
        if image.get("mount") is True and image.get("keep_iso") is False:
            problems.append(f"{key}:keep_iso: must not be false for an ISO that is mounted")
        if image.get("mount") is True and "unpack" in image:
            problems.append(f"{key}:unpack: does not go with mount, which shows the whole ISO")
        wrong = _wrong_digests(image)
        if wrong:
            problems.append(f"{key}:{wrong}")


def _check_elsewhere(key, image, problems):
    missing = [
        one
        for one in ("alt_arch", "kernel_url", "initrd_url", "stage2_http_url")
        if one not in image
    ]
    if missing:
        problems.append(f"{key}:{missing[0]}: is missing, as skip_iso_deploy is true")
    if not image.get("live_size") and not image.get("altinst_size"):
        problems.append(
            f"{key}:live_size: is missing (or altinst_size), as skip_iso_deploy is true"
        )


def _wrong_digests(image):
    """What is wrong with where the digests of an image come from, after its key; or None."""
    pinned, sums = image.get("checksum"), image.get("sums") is True
    if image.get("refresh") is True and pinned:
        return "refresh: contradicts checksum, which names one ISO for good; remove one of the two"
    if image.get("refresh") is True and not sums:
        return "refresh: needs sums: true, to learn which ISO the server has now"
    if sums and pinned:
        return "sums: contradicts checksum; remove one of the two"
    if not sums and not pinned:
        return (
            "checksum: is missing; give sha256 (or sha512) as the ISO's publisher has it, "
            "or sums: true"
        )
    return None


def _check_interface(pillar, target, problems):
    interfaces = target["interfaces"]
    names = ", ".join(sorted(interfaces))
    interface = pillar.get("interface")
    if interface is None:
        if not target["default_interface"]:
            problems.append(
                "netboot:interface: is missing, and this machine has no default route to take it "
                f"from; name one of {names}"
            )
        elif not interfaces.get(target["default_interface"]):
            problems.append(
                f"netboot:interface: is missing, and {target['default_interface']}, which has the "
                f"default route, has no IPv4 address; name one of {names}"
            )
    elif not __salt__["netboot_keys.wrong"]("interface", interface):
        for one in interface if isinstance(interface, list) else [interface]:
            if one not in interfaces:
                problems.append(
                    f"netboot:interface: this machine has no interface {one!r}, it has {names}"
                )
            elif not interfaces[one]:
                problems.append(f"netboot:interface: {one} has no IPv4 address")


def _check_http(pillar, target, problems):
    http = pillar.get("http") or {}
    for key, other in (("certificate", "key"), ("key", "certificate")):
        if http.get(key) and not http.get(other):
            problems.append(f"netboot:http:{other}: is missing, as there is a {key}")
    listen = http.get("listen") or []
    for one in listen:
        if one not in target["addresses"]:
            problems.append(
                f"netboot:http:listen: {one} is no address of this machine, which has "
                f"{', '.join(target['addresses'])}"
            )
    if listen and not pillar.get("virtual_address"):
        for name in __salt__["netboot_dhcp.interfaces"](pillar, target):
            first = str(ipaddress.IPv4Interface(target["interfaces"][name][0]).ip)
            address = pillar.get("address") or first
            if address not in listen:
                problems.append(
                    f"netboot:http:listen: lacks {address}, which clients on {name} fetch from"
                )


def resolve(pillar, target, platforms):
    """
    Validate the pillar and say what it comes to on a machine.

    pillar
        What stands under the pillar key ``netboot`` (a map).

    target
        What ``netboot.target`` returned on that machine.

    platforms
        The table of platforms (``salt/netboot/platforms.yaml``), by their ``ID`` in os-release; a
        system that is not in it counts as the first of its ``ID_LIKE`` that is.

    Returns a map: ``problems``, a list of one-line texts, each starting with its pillar key;
    ``warnings``, the same for what is not fatal; and, when there are no problems, ``config``: all
    settings with their defaults, interface, address, images and platform resolved.

    CLI Example:

    .. code-block:: bash

        salt-call netboot_pillar.resolve '{images: {}}' '{platform: [debian], ...}' '{debian: ...}'
    """
    problems = []
    if not isinstance(pillar, dict):
        return {"problems": ["netboot: must be a map"], "warnings": []}
    pillar = dict(pillar)
    if isinstance(pillar.get("dhcp"), dict) and pillar["dhcp"].get("mode") is False:
        pillar["dhcp"] = {**pillar["dhcp"], "mode": "off"}
    pillar["images"] = _images_by_name(pillar.get("images") or {}, problems)
    problems += __salt__["netboot_keys.problems"](pillar)
    _check_interface(pillar, target, problems)
    if isinstance(pillar["images"], dict):
        _check_images(pillar["images"], problems)
        _check_default_image(pillar, problems)
    _check_menu(pillar.get("menu"), problems)
    for name, admin in _sound(pillar, "admins", problems).items():
        if admin is not None and not admin.get("keys"):
            problems.append(f"netboot:admins:{name}:keys: is missing, so nobody could log in")
    _check_passwords(pillar, problems)
    if not any(problem.startswith(_OF_DHCP) for problem in problems):
        problems += __salt__["netboot_dhcp.problems"](pillar, target)
    if not any(problem.startswith(_OF_HTTP) for problem in problems):
        _check_http(pillar, target, problems)
    hosts = _sound(pillar, "hosts", problems)
    groups = _sound(pillar, "groups", problems)
    problems += __salt__["netboot_hosts.problems"](
        hosts, groups, _sound(pillar, "images", problems)
    )
    schedule = pillar.get("schedule")
    if isinstance(schedule, dict) and schedule and ("hours" in schedule) == ("minutes" in schedule):
        problems.append("netboot:schedule: give either hours or minutes")
    platform = _platform(pillar, target, platforms, problems)
    config = {} if problems else _config(pillar, target, platform)
    problems += list(_same_ports(config)) if config else []
    if problems:
        return {"problems": problems, "warnings": []}
    return {
        "problems": [],
        "warnings": _warnings(pillar["images"], pillar.get("mirrors") or [])
        + __salt__["netboot_hosts.warnings"](hosts, groups, _behind_passwords(pillar))
        + __salt__["netboot_dhcp.warnings"](pillar, target),
        "config": {
            **config,
            # Not the hosts themselves: the states read them in the pillar.
            "once": __salt__["netboot_hosts.any_once"](hosts, groups),
        },
    }


def _same_ports(config):
    """What two of our own services would both listen on."""
    rows = __salt__["netboot_ports.needed"](config)
    for number, row in enumerate(rows):
        for other in rows[:number]:
            first = max(row["port"], other["port"])
            same = first <= min(row.get("last", row["port"]), other.get("last", other["port"]))
            if row["protocol"] == other["protocol"] and same:
                yield (
                    f"netboot:{row['key']}: {row['for']} needs {row['protocol'].upper()} port "
                    f"{first}, which netboot:{other['key']} gives to {other['for']}"
                )


def _platform(pillar, target, platforms, problems):
    """The row of this machine's system, with what the pillar says else."""
    kin = next((one for one in target["platform"] if one in platforms), None)
    row = {section: dict(keys) for section, keys in platforms.get(kin, {}).items()}
    own = pillar.get("platform")
    for section, keys in own.items() if isinstance(own, dict) else ():
        row.setdefault(section, {}).update(keys if isinstance(keys, dict) else {})
    if kin is None:
        wanted = _keys_of_row(next(iter(platforms.values()), {}))
        missing = [one for one in wanted if one not in _keys_of_row(row)]
        if missing:
            problems.append(
                f"netboot:platform: netboot-alt does not know {target['platform'][0]!r}, only "
                f"{', '.join(sorted(platforms))} and their kin; give {', '.join(missing)}"
            )
    return row


def _keys_of_row(row):
    """As they stand in the pillar; which firmware has a boot loader is a system's own affair."""
    keys = {
        section if section == "firmware" else f"{section}:{key}": None
        for section, below in row.items()
        for key in below
    }
    return list(keys)


def _sound(pillar, kind, problems):
    """A map of maps, with None for each that has problems already."""
    maps = pillar.get(kind) or {}
    if not isinstance(maps, dict):
        return {}
    start, told = f"netboot:{kind}:", set()
    for problem in problems:
        if problem.startswith(start):
            path = problem[len(start) :].partition(": ")[0]
            told |= {path, path.rpartition(":")[0]}
    # A path ends where its problem begins, unless a name has ": " itself.
    for name in (str(name) for name in maps if ": " in str(name)):
        if any(problem.startswith(f"{start}{name}:") for problem in problems):
            told.add(name)
    return {name: None if str(name) in told else one for name, one in maps.items()}


def _check_default_image(pillar, problems):
    defaults = pillar.get("default_image") or {}
    if not isinstance(defaults, dict):
        return
    for arch in _map(pillar, "default_variant"):
        if arch not in defaults:
            problems.append(f"netboot:default_variant:{arch}: needs netboot:default_image:{arch}")
    for arch, name in defaults.items():
        key = f"netboot:default_image:{arch}:"
        told = any(problem.startswith(key) for problem in problems)
        if not told and name not in pillar["images"]:
            hint = __salt__["netboot_keys.nearest"](name, list(pillar["images"]))
            problems.append(f"{key} there is no image {name!r}{hint}")


def _check_menu(menu, problems):
    extras = menu.get("extra") if isinstance(menu, dict) else None
    for title, extra in (extras if isinstance(extras, dict) else {}).items():
        if not isinstance(extra, dict):
            continue
        if len({"kernel", "chain", "script"} & set(extra)) != 1:
            problems.append(f"netboot:menu:extra:{title}: give one of kernel, chain and script")
        elif "kernel" not in extra and {"initrd", "arguments"} & set(extra):
            problems.append(f"netboot:menu:extra:{title}: initrd and arguments need a kernel")


def _check_passwords(pillar, problems):
    """A line that asks for a password which nobody has could never be chosen."""
    menu = pillar.get("menu") or {}
    if not isinstance(menu, dict) or _map(menu, "password").get("users"):
        return
    for where, named in (("images", _map(pillar, "images")), ("menu:extra", _map(menu, "extra"))):
        problems += [
            f"netboot:{where}:{name}:password: nobody has one; give netboot:menu:password:users"
            for name, one in named.items()
            if isinstance(one, dict) and one.get("password") is True
        ]


def _behind_passwords(pillar):
    """List of [image, variant] that ask for a password."""
    password = _menu(pillar)["password"]
    return [
        [name, variant]
        for name, image in pillar["images"].items()
        for variant in ("livecd", "install", "rescue")
        if password["users"] and (image.get("password") or variant in password["variants"])
    ]


def _map(settings, key):
    return settings[key] if isinstance(settings.get(key), dict) else {}


def _warnings(images, mirrors):
    found = []
    for name, image in images.items():
        if image.get("skip_iso_deploy"):
            continue
        if not image.get("sums") and not {"sha256", "sha512"} & set(image["checksum"]):
            found.append(
                f"netboot:images:{name}:checksum: {' and '.join(sorted(image['checksum']))} alone "
                "can be forged; give sha256 or sha512"
            )
        forgeable = [
            url for url in _sources(image, mirrors) if url.startswith(("http://", "ftp://"))
        ]
        if image.get("sums") and forgeable:
            found.append(
                f"netboot:images:{name}:sums: whoever is on the way can forge ISO and sum file; "
                "use https, or give checksum"
            )
    return found


def _config(pillar, target, platform):
    platform = dict(platform)
    interface = __salt__["netboot_dhcp.interfaces"](pillar, target)[0]
    networks = [ipaddress.IPv4Interface(one) for one in target["interfaces"][interface]]
    address = ipaddress.IPv4Address(pillar.get("address") or networks[0].ip)
    return {
        "interface": interface,
        "address": str(address),
        "network": str(next((n for n in networks if address in n.network), networks[0]).network[0]),
        "root": _setting(pillar, "root"),
        "http": _http(pillar, address),
        **__salt__["netboot_dhcp.config"](pillar, target, platform.pop("firmware")),
        "menu": _menu(pillar),
        "default_image": dict(pillar.get("default_image") or {}),
        "default_variant": dict(pillar.get("default_variant") or {}),
        "methods": list(_setting(pillar, "methods")),
        "serves": _serves(pillar),
        "smb": {"smb1": _setting(pillar, "smb.smb1")},
        "ftp": {"passive_ports": list(_setting(pillar, "ftp.passive_ports"))},
        "tftp": {"ports": list(_setting(pillar, "tftp.ports"))},
        "admins": {
            name: {"keys": list(admin["keys"]), "sudo": admin.get("sudo", True)}
            for name, admin in (pillar.get("admins") or {}).items()
        },
        "selinux": target.get("selinux", False),
        "firewall": _setting(pillar, "firewall") or "off",
        "nfs": {
            "clients": _setting(pillar, "nfs.clients")
            or sorted({str(network.network) for network in networks})
        },
        "arguments": {
            arch: _words(arguments) for arch, arguments in (pillar.get("arguments") or {}).items()
        },
        "kernel_over": dict(pillar.get("kernel_over") or {}),
        "prune": _setting(pillar, "prune"),
        "clean_images": _setting(pillar, "clean_images"),
        "schedule": _schedule(pillar.get("schedule")),
        "fetch": {
            key: _setting(pillar, f"fetch.{key}")
            for key in ("at_once", "attempts", "stall_timeout_s")
        },
        "images": [
            _image(name, image, pillar.get("mirrors") or [])
            for name, image in pillar["images"].items()
            if not image.get("skip_iso_deploy")
        ],
        "elsewhere": [
            _elsewhere(name, image)
            for name, image in pillar["images"].items()
            if image.get("skip_iso_deploy")
        ],
        "platform": platform,
    }


def _http(pillar, address):
    port = _setting(pillar, "http.port")
    return {
        "port": port,
        "url": f"http://{address}" + ("" if port == 80 else f":{port}"),
        "listen": list(_setting(pillar, "http.listen") or []),
        "listing": _setting(pillar, "http.listing") or "off",
        "certificate": _setting(pillar, "http.certificate") or "",
        "key": _setting(pillar, "http.key") or "",
        "https_port": _setting(pillar, "http.https_port"),
    }


def _serves(pillar):
    """The methods that some image is offered by."""
    common = _setting(pillar, "methods")
    used = [image.get("methods") or common for image in pillar["images"].values()]
    return sorted({method for methods in used for method in methods})


def _menu(pillar):
    menu = pillar.get("menu") or {}
    password = menu.get("password") or {}
    return {
        "title": _setting(pillar, "menu.title"),
        "timeout_s": _setting(pillar, "menu.timeout_s"),
        "arch_timeout_s": dict(menu.get("arch_timeout_s") or {}),
        "languages": list(_setting(pillar, "menu.languages")),
        "shell": _setting(pillar, "menu.shell"),
        "password": {
            "users": dict(password.get("users") or {}),
            "variants": list(_setting(pillar, "menu.password.variants")),
        },
        "extra": [
            {
                "title": title,
                "arches": list(extra.get("arches") or []),
                "arguments": _words(extra.get("arguments") or []),
                "password": extra.get("password", False),
                **{
                    key: extra[key]
                    for key in ("kernel", "initrd", "chain", "script")
                    if key in extra
                },
            }
            for title, extra in (menu.get("extra") or {}).items()
        ],
    }


def _words(arguments):
    return arguments.split() if isinstance(arguments, str) else list(arguments)


def _schedule(schedule):
    if not schedule:
        return {}
    return {"splay_s": _setting({"schedule": schedule}, "schedule.splay_s"), **schedule}


def _sources(image, mirrors):
    """All addresses of an ISO, in the order in which they are tried."""
    file = __salt__["netboot_keys.iso_file"](image["url"])
    nearer = [f"{folder.rstrip('/')}/{file}" for folder in mirrors]
    return [*nearer, image["url"], *(image.get("mirrors") or [])]


def _image(name, image, mirrors):
    return {
        "name": name,
        "label": label(name),
        "file": __salt__["netboot_keys.iso_file"](image["url"]),
        "sources": _sources(image, mirrors),
        "checksum": {
            kind: digest.lower() for kind, digest in (image.get("checksum") or {}).items()
        },
        "sums": image.get("sums", False),
        "refresh": image.get("refresh", False),
        "verify": image.get("verify", "changed"),
        "overrides": {
            key: image[key] for key in ("alt_arch", "dialect", "kernel", "initrd") if key in image
        },
        "offer": _offer(image),
        "unpack": image.get("unpack", ""),
        "mount": image.get("mount", False),
        "keep_iso": image.get("keep_iso", True),
    }


def _offer(image):
    keys = ("variants", "methods", "forms", "extra_ipxe_conf", "password")
    keys += ("kernel_url", "initrd_url", "stage2_http_url")
    return {
        "arguments": _words(image.get("arguments") or []),
        **{key: image[key] for key in keys if key in image},
    }


def _elsewhere(name, image):
    """An image of another server: the record that inspecting its ISO would have given."""
    initrd = image["initrd_url"].rpartition("/")[2]
    # Only propagator was ever packed as full.cz (mkimage-profiles, 2021-03-23).
    dialect = image.get("dialect") or ("propagator" if initrd == "full.cz" else "altboot")
    stages = {
        stage: {"path": stage, "size": size, "ramdisk_size": size // 1024 + 1}
        for stage, size in (
            ("live", image.get("live_size")),
            ("altinst", image.get("altinst_size")),
        )
        if size
    }
    installer = None
    if "altinst" in stages:
        installer = {"stage": "altinst", "argument": ""}
    elif dialect == "altboot":
        installer = {"stage": "live", "argument": "systemd.unit=install2.target"}
    return {
        "name": name,
        "label": label(name),
        "file": image["stage2_http_url"].rpartition("/")[2],
        "iso_sha256": None,
        "offer": _offer(image),
        "facts": {
            "arch": image["alt_arch"],
            "dialect": dialect,
            "kernel": image["kernel_url"].rpartition("/")[2],
            "initrd": initrd,
            "stages": stages,
            "livecd": {"stage": "live", "argument": ""} if "live" in stages else None,
            "installer": installer,
            "rescue": None,
            "http_iso": image.get("http_iso_boot", False),
        },
    }


def label(name):
    """
    Return the name of an image as a folder name: lower case, with ``_`` for spaces.

    name
        Name of the image in the pillar (text).

    CLI Example:

    .. code-block:: bash

        salt-call netboot_pillar.label 'ALT Server 11'
    """
    return str(name).lower().replace(" ", "_")
