"""
What the pillar key ``netboot`` resolves to on a given machine: problems, or the configuration.

Pure: it runs on a minion, on the controller of salt-ssh (``salt/_wrapper``) and in tests alike.
Rules for single keys are in ``netboot_keys``; rules between keys are checked here, and for DHCP and
hosts in ``netboot_dhcp`` and ``netboot_hosts``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import netboot_checks
import netboot_config
import netboot_dhcp
import netboot_grub_rules
import netboot_hosts
import netboot_installs
import netboot_ports
import netboot_url_checks
import netboot_values
import netboot_window
from netboot_names import (
    OVERLAYS,
    SAFE_DIGESTS,
    VARIANTS,
    image_file,
    label,
    nearest,
    printable,
)
from netboot_shapes import Config, Pillar, Target

Problems = list[str]
Platforms = dict[str, dict[str, dict[str, Any]]]

# Keys whose values must be valid before netboot_dhcp checks the rules between them.
# What a mirror without clients has no use for.
_OF_CLIENTS = (
    *("answer_hours", "arguments", "arm_days", "arm_new", "arms", "default_image"),
    *("default_variant", "dhcp", "events", "firmware", "ftp", "groups", "hosts", "installs"),
    *("kernel_over", "menu", "methods", "metrics", "nfs", "probe", "secure_boot", "smb"),
    *("status", "tftp"),
)
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
# The same for the rules between keys of the web server.
_OF_HTTP = tuple(f"netboot:{key}:" for key in ("interface", "address", "http"))


def _images_by_name(images: Any, problems: Problems) -> Any:
    """Return the images as a map by name; also from a list like netinstall-alt's ``alt_images``."""
    if not isinstance(images, list):
        return images
    by_name: dict[str, Any] = {}
    for number, image in enumerate(images):
        if not isinstance(image, dict) or not isinstance(image.get("name"), str):
            problems.append(f"netboot:images:{number}: must be a map with a name (string)")
        elif image["name"] in by_name:
            problems.append(f"netboot:images:{image['name']}: the name occurs twice in the list")
        else:
            by_name[image["name"]] = {k: v for k, v in image.items() if k != "name"}
    return by_name


def _check_images(images: dict[str, Any], problems: Problems) -> None:
    """Check the rules between the keys of an image and between images."""
    labels: dict[str, str] = {}
    files: dict[str, str] = {}
    for name, image in images.items():
        key = f"netboot:images:{name}"
        if labels.setdefault(label(name), name) != name:
            problems.append(
                f"{key}: has the same directory name {label(name)!r} as "
                f"netboot:images:{labels[label(name)]}; rename one of the two"
            )
        if label(name) == OVERLAYS:
            problems.append(f"{key}: altboot lays what {OVERLAYS} contains over systems; rename it")
        if not isinstance(image, dict):
            continue
        if image.get("skip_iso_deploy") is True:
            _check_elsewhere(key, image, problems)
            continue
        _check_file(name, image, files, problems)
        if image.get("mount") is True and image.get("keep_iso") is False:
            problems.append(f"{key}:keep_iso: must not be false when mount is true")
        if image.get("mount") is True and "unpack" in image:
            problems.append(f"{key}:unpack: contradicts mount; remove one of the two")
        wrong = _wrong_digests(image)
        if wrong:
            problems.append(f"{key}:{wrong}")


def _check_file(
    name: str, image: dict[str, Any], files: dict[str, str], problems: Problems
) -> None:
    """Check the name under which an ISO is kept; ``files`` are those of the images before."""
    if any(
        netboot_values.wrong(f"images.*.{key}", image[key])
        for key in ("url", "file")
        if key in image
    ) or not image.get("url"):
        return
    file = image_file(image)
    own = f"netboot:images:{name}:file"
    if wrong := netboot_url_checks.iso_name(file):
        wrong = wrong.replace("must be", "must end in", 1)
        problems.append(f"netboot:images:{name}:url: {wrong}; or set {own}")
    elif files.setdefault(file, name) != name:
        key = "file" if "file" in image else "url"
        problems.append(
            f"netboot:images:{name}:{key}: has the same file name {file!r} as "
            f"netboot:images:{files[file]}:url; set another one in {own}"
        )


def _check_elsewhere(key: str, image: dict[str, Any], problems: Problems) -> None:
    missing = [
        one
        for one in ("alt_arch", "kernel_url", "initrd_url", "stage2_http_url")
        if one not in image
    ]
    if missing:
        problems.append(f"{key}:{missing[0]}: is missing; skip_iso_deploy: true requires it")
    if not image.get("live_size") and not image.get("altinst_size"):
        problems.append(
            f"{key}:live_size: is missing; skip_iso_deploy: true requires it or altinst_size"
        )


def _wrong_digests(image: dict[str, Any]) -> str | None:
    """Return what is wrong with the source of an image's digests, after its key; or None."""
    pinned, sums = image.get("checksum"), image.get("sums") is True
    if image.get("refresh") is True and pinned:
        return "refresh: contradicts checksum, which pins one ISO; remove one of the two"
    if image.get("refresh") is True and not sums:
        return "refresh: requires sums: true, to detect a new ISO on the server"
    if sums and pinned:
        return "sums: contradicts checksum; remove one of the two"
    if not sums and not pinned:
        return (
            "checksum: is missing; set sha256 (or sha512) as published with the ISO, or sums: true"
        )
    return None


def _check_interface(pillar: Pillar, target: Target, problems: Problems) -> None:
    interfaces = target["interfaces"]
    names = ", ".join(sorted(interfaces))
    interface = pillar.get("interface")
    if interface is None:
        if not target["default_interface"]:
            problems.append(
                "netboot:interface: is missing, and this machine has no default route; set it to "
                f"one of {names}"
            )
        elif not interfaces.get(target["default_interface"]):
            problems.append(
                f"netboot:interface: is missing, and {target['default_interface']}, which has the "
                f"default route, has no IPv4 address; set it to one of {names}"
            )
    elif not netboot_values.wrong("interface", interface):
        for one in interface if isinstance(interface, list) else [interface]:
            if one not in interfaces:
                problems.append(
                    f"netboot:interface: this machine has no interface {one!r}, it has {names}"
                )
            elif not interfaces[one]:
                problems.append(f"netboot:interface: {one} has no IPv4 address")


def _check_state_dir(pillar: Pillar, target: Target, problems: Problems) -> None:
    """Check that the records are not served, nor the root among the records."""
    root, records = pillar["root"], target["state_dir"]
    wrong = netboot_checks.state_dir(records)
    if wrong:
        problems.append(wrong)
    elif not netboot_values.wrong("root", root):
        # Also not beside them, where the scripts of armed hosts lie (netboot_paths).
        one, others = f"{root}/", (f"{records}/", f"{records}-once/")
        if one.startswith(others) or any(other.startswith(one) for other in others):
            problems.append(
                f"netboot:root: {root} and the minion option netboot.state_dir, {records}, must be "
                "separate directories"
            )


def _check_http(pillar: Pillar, target: Target, problems: Problems) -> None:
    http = pillar["http"]
    for key, other in (("certificate", "key"), ("key", "certificate")):
        if http.get(key) and not http.get(other):
            problems.append(f"netboot:http:{other}: is missing; netboot:http:{key} requires it")
    listen = http.get("listen") or []
    for one in listen:
        if one not in target["addresses"]:
            problems.append(
                f"netboot:http:listen: this machine does not have {one} (it has "
                f"{', '.join(target['addresses'])})"
            )
    if listen and not pillar.get("virtual_address"):
        for name in netboot_dhcp.interfaces(pillar, target):
            address = pillar.get("address") or str(netboot_dhcp.serving(name, pillar, target).ip)
            if address not in listen:
                problems.append(
                    f"netboot:http:listen: lacks {address}, from which clients on {name} fetch"
                )


def resolve(
    pillar: Any, target: Target, platforms: Platforms, keys: Iterable[object] = ()
) -> dict[str, Any]:
    """
    Validate the pillar and resolve it to the configuration of a machine.

    pillar
        The pillar below the key ``netboot``; None if there is no such key.

    target
        What ``netboot.target`` returned on that machine.

    platforms
        The table of platforms (``salt/netboot/platforms.yaml``), by their ``ID`` in os-release; a
        system that is not in it counts as the first of its ``ID_LIKE`` that is.

    keys : ()
        All keys of the pillar, among which a misspelt one is looked for.

    Returns a map: ``problems``, a list of one-line strings, each starting with its pillar key (or
    minion option); ``warnings``, the same for what is not fatal; and, when there are no problems,
    ``config``, see ``netboot_shapes.Config``.
    """
    if pillar is None:
        near = nearest("netboot", keys) or "; a file that top.sls of the pillar names must have it"
        return {"problems": [_in_one_line(f"netboot: is not in the pillar{near}")], "warnings": []}
    resolved = _resolve(pillar, target, platforms)
    for kind in ("problems", "warnings"):
        resolved[kind] = [_in_one_line(one) for one in resolved[kind]]
    return resolved


def _check_mirror(pillar: Pillar, problems: Problems) -> None:
    """Check that a mirror keeps its ISOs; one that does nothing for clients drops none."""
    if pillar["mirror"] == "also":
        problems += [
            f"netboot:images:{name}:keep_iso: false contradicts netboot:mirror, as other servers "
            "fetch the ISO here"
            for name, image in pillar["images"].items()
            if isinstance(image, dict) and image.get("keep_iso") is False
        ]


def _in_one_line(problem: str) -> str:
    """Return a problem with all characters printable: names in the pillar may have any."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in problem
    )


def _resolve(pillar: Any, target: Target, platforms: Platforms) -> dict[str, Any]:
    if not isinstance(pillar, dict):
        return {"problems": ["netboot: must be a map"], "warnings": []}
    problems: Problems = []
    pillar = _as_table_has_it(pillar, problems)
    problems += netboot_values.problems(pillar)
    _check_schedule(pillar.get("schedule"), problems)
    if pillar.get("mirror") == "only":
        # Servers may have the same pillar.
        pillar = {key: value for key, value in pillar.items() if key not in _OF_CLIENTS}
        pillar.update(dhcp={"mode": "off"}, probe=False, status={"allow": "off"})
    pillar = netboot_values.completed(pillar)
    hosts, groups = (_sound(pillar, kind, problems) for kind in ("hosts", "groups"))
    _check_waves(pillar, problems)
    _check_between_keys(pillar, target, hosts, groups, problems)
    platform = _platform(pillar, target, platforms, problems)
    if problems:
        return {"problems": problems, "warnings": []}
    once = pillar["arms"] is True and netboot_hosts.any_once(hosts, groups)
    config = netboot_config.build(pillar, target, platform, once)
    # The ports follow from the whole configuration.
    problems += _same_ports(config)
    if problems:
        return {"problems": problems, "warnings": []}
    return {
        "problems": [],
        "warnings": _warnings(
            pillar["images"], pillar.get("mirrors") or [], pillar["fetch"]["from"]
        )
        + netboot_hosts.warnings(hosts, groups, _behind_passwords(pillar))
        + netboot_dhcp.warnings(pillar, target)
        + _window_warnings(config),
        "config": config,
    }


def _as_table_has_it(pillar: Pillar, problems: Problems) -> Pillar:
    """Return the pillar with images by name, and with the string that YAML read as false."""
    pillar = dict(pillar)
    if isinstance(pillar.get("dhcp"), dict) and pillar["dhcp"].get("mode") is False:
        pillar["dhcp"] = {**pillar["dhcp"], "mode": "off"}
    pillar["images"] = _images_by_name(pillar.get("images") or {}, problems)
    return pillar


def _check_schedule(schedule: Any, problems: Problems) -> None:
    if isinstance(schedule, dict) and schedule and ("hours" in schedule) == ("minutes" in schedule):
        problems.append("netboot:schedule: set either hours or minutes")


def _check_waves(pillar: Pillar, problems: Problems) -> None:
    if pillar.get("wave") and pillar["waves"] is not True:
        problems.append("netboot:wave: requires netboot:waves: true; without it nothing waits")
    window = pillar["window"]
    for key, other in (("from", "to"), ("to", "from")):
        if isinstance(window, dict) and key in window and other not in window:
            problems.append(f"netboot:window:{other}: is missing; netboot:window:{key} requires it")
    if isinstance(window, dict) and "days" in window and not {"from", "to"} & set(window):
        problems.append("netboot:window:from: is missing; netboot:window:days requires it")


def _check_between_keys(
    pillar: Pillar,
    target: Target,
    hosts: dict[str, Any],
    groups: dict[str, Any],
    problems: Problems,
) -> None:
    _check_state_dir(pillar, target, problems)
    _check_interface(pillar, target, problems)
    if isinstance(pillar["images"], dict):
        _check_images(pillar["images"], problems)
        _check_default_image(pillar, problems)
        _check_mirror(pillar, problems)
    _check_menu(pillar["menu"], problems)
    _check_passwords(pillar, problems)
    if not any(problem.startswith(_OF_DHCP) for problem in problems):
        problems += netboot_dhcp.problems(pillar, target)
    if not any(problem.startswith(_OF_HTTP) for problem in problems):
        _check_http(pillar, target, problems)
    installs = _sound(pillar, "installs", problems)
    problems += netboot_installs.problems(installs)
    problems += netboot_hosts.problems(hosts, groups, _sound(pillar, "images", problems), installs)
    problems += netboot_grub_rules.problems(pillar, hosts, groups)


def _same_ports(config: Config) -> Iterator[str]:
    """Yield the problems of ports that two of the netboot services would listen on."""
    rows = netboot_ports.needed(config)
    for number, row in enumerate(rows):
        for other in rows[:number]:
            first = max(row["port"], other["port"])
            same = first <= min(one.get("last") or one["port"] for one in (row, other))
            if row["protocol"] == other["protocol"] and same:
                yield (
                    f"netboot:{row['key']}: {row['for']} needs {row['protocol'].upper()} port "
                    f"{first}, which netboot:{other['key']} assigns to {other['for']}"
                )


def _platform(
    pillar: Pillar, target: Target, platforms: Platforms, problems: Problems
) -> dict[str, Any]:
    """Return the row of this machine's system, with the overrides of the pillar."""
    kin = next((one for one in target["platform"] if one in platforms), None)
    row = {section: dict(keys) for section, keys in platforms.get(str(kin), {}).items()}
    own = pillar.get("platform")
    for section, keys in own.items() if isinstance(own, dict) else ():
        row.setdefault(section, {}).update(keys if isinstance(keys, dict) else {})
    if kin is None:
        wanted = _keys_of_row(next(iter(platforms.values()), {}))
        missing = [one for one in wanted if one not in _keys_of_row(row)]
        if missing:
            problems.append(
                f"netboot:platform: netboot-alt does not know {target['platform'][0]!r}, only "
                f"{', '.join(sorted(platforms))} and their derivatives; set {', '.join(missing)}"
            )
    return row


def _keys_of_row(row: dict[str, Any]) -> list[str]:
    """Return a row's keys as the pillar has them; kinds of firmware differ between systems."""
    keys = {
        section if section == "firmware" else f"{section}:{key}": None
        for section, below in row.items()
        for key in below
    }
    return list(keys)


def _sound(pillar: Pillar, kind: str, problems: Problems) -> dict[str, Any]:
    """Return a map of maps, with None for those that have problems."""
    maps = pillar.get(kind) or {}
    if not isinstance(maps, dict):
        return {}
    start = f"netboot:{kind}:"
    told: set[str] = set()
    for problem in problems:
        if problem.startswith(start):
            path = problem[len(start) :].partition(": ")[0]
            for _ in range(4):
                told.add(path)
                path = path.rpartition(":")[0]
    # A path ends where its problem begins, unless a name has ": " itself.
    shown = {name: printable(str(name)) for name in maps}
    for name in (name for name in shown.values() if ": " in name):
        if any(problem.startswith(f"{start}{name}:") for problem in problems):
            told.add(name)
    return {name: None if shown[name] in told else one for name, one in maps.items()}


def _check_default_image(pillar: Pillar, problems: Problems) -> None:
    defaults = pillar.get("default_image") or {}
    if not isinstance(defaults, dict):
        return
    for arch in _map(pillar, "default_variant"):
        if arch not in defaults:
            problems.append(
                f"netboot:default_variant:{arch}: requires netboot:default_image:{arch}"
            )
    for arch, name in defaults.items():
        key = f"netboot:default_image:{printable(str(arch))}:"
        told = any(problem.startswith(key) for problem in problems)
        if not told and name not in pillar["images"]:
            hint = nearest(name, list(pillar["images"]))
            problems.append(f"{key} netboot:images has no {name!r}{hint}")


def _check_menu(menu: Any, problems: Problems) -> None:
    extras = menu.get("extra") if isinstance(menu, dict) else None
    for title, extra in (extras if isinstance(extras, dict) else {}).items():
        if not isinstance(extra, dict):
            continue
        if len({"kernel", "chain", "script"} & set(extra)) != 1:
            problems.append(
                f"netboot:menu:extra:{title}: set exactly one of kernel, chain and script"
            )
        elif "kernel" not in extra and (extra.get("initrd") or extra.get("arguments")):
            problems.append(f"netboot:menu:extra:{title}: initrd and arguments require kernel")


def _check_passwords(pillar: Pillar, problems: Problems) -> None:
    """Check that an entry asks for a password only if some user has one."""
    menu = pillar.get("menu") or {}
    if not isinstance(menu, dict) or _map(menu, "password").get("users"):
        return
    for where, named in (("images", _map(pillar, "images")), ("menu:extra", _map(menu, "extra"))):
        problems += [
            f"netboot:{where}:{name}:password: requires netboot:menu:password:users"
            for name, one in named.items()
            if isinstance(one, dict) and one.get("password") is True
        ]


def _behind_passwords(pillar: Pillar) -> list[list[str]]:
    """Return a list of [image, variant] that ask for a password."""
    password = pillar["menu"]["password"]
    return [
        [name, variant]
        for name, image in pillar["images"].items()
        for variant in VARIANTS
        if password["users"] and (image.get("password") or variant in password["variants"])
    ]


def _map(settings: Any, key: str) -> dict[str, Any]:
    return settings[key] if isinstance(settings.get(key), dict) else {}


def _window_warnings(config: Config) -> list[str]:
    window = config["window"]
    if not netboot_window.missed(window, config["schedule"]):
        return []
    return [
        f"netboot:schedule: may never run in netboot:window ({window['text']}), which is shorter "
        "than its interval with splay_s; set a shorter interval"
    ]


def _warnings(images: dict[str, Any], mirrors: list[str], order: Iterable[str]) -> list[str]:
    found = []
    for name, image in images.items():
        if image.get("skip_iso_deploy"):
            continue
        if not image.get("sums") and not set(SAFE_DIGESTS) & set(image["checksum"]):
            found.append(
                f"netboot:images:{name}:checksum: {' and '.join(sorted(image['checksum']))} alone "
                "can be forged; add sha256 or sha512"
            )
        sources = netboot_config.sources(image, mirrors, order)
        forgeable = [url for url in sources if url.startswith(("http://", "ftp://"))]
        if image.get("sums") and not sources and "master" in order:
            found.append(
                f"netboot:images:{name}:sums: any minion of this master can say that it is a "
                "mirror, and forge both files; name the mirror in netboot:mirrors, or set checksum"
            )
        if image.get("sums") and forgeable:
            found.append(
                f"netboot:images:{name}:sums: an attacker on the network path can forge ISO and "
                "sum file; use https URLs, or set checksum"
            )
    return found
