"""
Menus for an image's own GRUB, which machines with Secure Boot load over TFTP: the same entries as
those of iPXE's menus. Pure.

ALT's signed GRUB has ``linux``, ``initrd``, ``chainloader``, ``search``, ``regexp``, ``test``,
``configfile`` and the like, but no ``http``, and Secure Boot lets it load no module. It asks for
``grub.cfg-01-MAC`` beside itself before ``grub.cfg``; Debian's asks for ``grub.cfg`` alone, which
therefore loads the other. So a machine is recognized by its MAC address, and nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import jinja2
from salt.exceptions import CommandExecutionError

import netboot_signatures
from netboot_firmware import GRUB
from netboot_host_scripts import variables
from netboot_hosts import BOARDS, identities, settings_of
from netboot_labels import LABELS, language, latin
from netboot_menus import view
from netboot_names import NICS, boot_file, host_key, some
from netboot_shapes import Arming, Config, Entry, Host, ImageRecord

Maps = dict[str, Any]

_HEAD = "# Managed by netboot-alt: changes are lost at the next apply.\n"
#: GRUB's names of architectures (``$grub_cpu``), by those of menus.
CPUS = {"x86_64": "x86_64", "aarch64": "arm64"}
#: Boot loaders of installed systems, which a local disk may have: a signed one first. GRUB returns
#: success to its firmware when it ends, after which OVMF starts no other boot entry.
_LOCAL = {
    "x86_64": (
        "/EFI/altlinux/shimx64.efi",
        "/EFI/altlinux/grubx64.efi",
        "/EFI/Microsoft/Boot/bootmgfw.efi",
        "/EFI/BOOT/BOOTX64.EFI",
    ),
    "aarch64": (
        "/EFI/altlinux/shimaa64.efi",
        "/EFI/altlinux/grubaa64.efi",
        "/EFI/BOOT/BOOTAA64.EFI",
    ),
}
#: Name of its menu in the TFTP root.
MENU = f"{GRUB}/grub.cfg"
# What iPXE's settings are called in GRUB; others are empty, as unknown ones are in iPXE.
_SETTINGS = {
    **dict.fromkeys(("mac", "netX/mac", "net0/mac"), "net_default_mac"),
    "ip": "net_default_ip",
    "next-server": "net_default_server",
    "lang": "nb_lang",
    "nb-via": "nb_via",
}
# Words of a command line that stand for several, or for none.
_SEVERAL = {"${nb-ip}": "$nb_ip", "${nb-arguments}": "$nb_arguments"}
_NONE = ("${nb-answers}", "${nb-board-arguments}", "${linux_extra_cmdline}")
_HOTKEYS = 9


class Made(NamedTuple):
    """
    ``menus``, ``hosts``: texts by file name in the TFTP root; ``problems`` and ``warnings``: one
    line each.
    """

    menus: dict[str, str]
    hosts: dict[str, str]
    problems: list[str]
    warnings: list[str]


def served(config: Config) -> dict[str, str]:
    """
    Return the labels of the images whose shim and GRUB machines load, by kind of firmware.

    config
        The configuration.
    """
    return {
        kind: own["image"]
        for kind, own in config.get("secure_boot", {}).items()
        if own["way"] == "grub"
    }


def quoted(text: str) -> str:
    """
    Return a text as one word of GRUB's script language, in which nothing has a meaning.

    text
        The text. Line breaks and other signs that cannot be seen become spaces.
    """
    plain = "".join(char if char.isprintable() else " " for char in text)
    return "'" + plain.replace("'", "'\\''") + "'"


def word(text: str) -> str:
    """
    Return a text with settings of iPXE (``${...}``) as one word of GRUB's script language.

    text
        The text; settings that GRUB does not have become empty.
    """
    made = []
    for number, part in enumerate(re.split(r"\$\{([^}]*)\}", text)):
        if number % 2 == 0:
            made.append(quoted(part) if part else "")
        elif name := _variable(part):
            made.append(f'"${name}"')
    return "".join(made) or "''"


def _variable(setting: str) -> str:
    if setting.startswith("nb-text-"):
        return setting.replace("-", "_")
    return _SETTINGS.get(setting, "")


def _unknown(text: str) -> list[str]:
    """Return the settings of iPXE in a text that GRUB does not have."""
    known = (*_SEVERAL, *_NONE)
    found = re.findall(r"\$\{([^}]*)\}", text)
    return [one for one in found if not _variable(one) and f"${{{one}}}" not in known]


# -- menus -----------------------------------------------------------------------------------------


def render(
    template: str,
    config: Config,
    entries: list[Entry],
    hosts: Maps,
    groups: Maps,
    images: list[ImageRecord],
    waits: bool = False,
) -> Made:
    """
    Return GRUB's menu and the settings of hosts; nothing if no image's GRUB is served.

    template
        The text of the template.

    config, entries, waits
        See ``netboot_menus.render``.

    hosts, groups
        ``netboot:hosts`` and ``netboot:groups`` (maps, without problems).

    images
        The images that are ready.

    Raises CommandExecutionError when the template is broken.
    """
    kinds = served(config)
    if not kinds:
        return Made({}, {}, [], [])
    by_label = {image["label"]: image for image in images}
    rows = [row for row in config["firmware"] if row["kind"] in kinds]
    scripts = _host_files(hosts, groups, config)
    menus, warned = [], []
    for row in rows:
        own = by_label.get(kinds[row["kind"]])
        mine = [one for one in entries if one["arch"] in row["boots"]]
        offered = [one for one in mine if not _left_out(one)]
        menus.append(_menu(config, row["arch"], offered, by_label, own))
        warned += [*_of_entries(config, mine), *_of_version(row["kind"], config, own)]
    languages = _languages(config)
    environment = jinja2.Environment(  # noqa: S701 (scripts, not HTML)
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["quoted"] = quoted
    try:
        text = environment.from_string(template).render(
            menus=menus,
            languages=languages,
            known=bool(scripts),
            # Its own menu can be edited, and has a command line.
            locked=not config["menu"]["shell"] or bool(config["menu"]["password"]["users"]),
            waits=waits,
        )
    except jinja2.TemplateError as err:
        raise CommandExecutionError(f"GRUB's menu template is broken: {err}") from err
    return Made(
        {MENU: text},
        scripts,
        [wrong for row in rows for wrong in lacking(config, row["kind"], by_label)],
        list(dict.fromkeys([*warned, *_of_hosts(hosts, groups, config, entries)])),
    )


def _languages(config: Config) -> list[dict[str, Any]]:
    menu = config["menu"]
    found = []
    for locale in menu["languages"]:
        texts = {**LABELS[language(locale)], **menu["labels"]}
        named = {_variable(f"nb-text-{name}"): _drawn(config, text) for name, text in texts.items()}
        found.append({"locale": locale, "texts": named})
    return found


def _drawn(config: Config, text: str) -> str:
    return text if config["menu"]["unicode"] else latin(text)


def _menu(
    config: Config,
    arch: str,
    entries: list[Entry],
    images: dict[str, ImageRecord],
    own: ImageRecord | None,
) -> dict[str, Any]:
    menu = config["menu"]
    lines = []
    for number, entry in enumerate(entries, 1):
        key = str(number) if number <= _HOTKEYS else ""
        # What a name has of iPXE's settings is a text, not a setting.
        name = quoted(f"{key or ' '}  {_drawn(config, entry['image'])}: ")
        lines.append(
            {
                "id": f"nb-{entry['id']}",
                "key": key,
                "title": name + word(entry["remark"]),
                "refused": refused(entry, images.get(entry["label"]), own),
                "nic": word(NICS[entry["nic"]]) if entry["nic"] else "",
                "kernel": quoted(entry["kernel"]),
                "initrd": quoted(entry["initrd"]),
                "names": quoted(f"{boot_file(entry['kernel'])}, {boot_file(entry['initrd'])} ..."),
                "cmdline": _cmdline(entry),
            }
        )
    return {
        "cpu": CPUS[arch],
        "timeout_s": menu["arch_timeout_s"].get(arch, menu["timeout_s"]),
        "default": view(config, arch, entries)["default"],
        "lines": lines,
        # Those of other systems.
        "suffixes": [path.rpartition("/")[2] for path in _LOCAL[arch][:2]],
        "local": [quoted(path) for path in _LOCAL[arch]],
    }


def _cmdline(entry: Entry) -> str:
    # GRUB hands the initrd over itself.
    own = f"initrd={boot_file(entry['initrd'])}"
    words = [one for one in entry["cmdline"].split() if one != own and one not in _NONE]
    return " ".join(_SEVERAL.get(one) or word(one) for one in words)


def refused(entry: Entry, image: ImageRecord | None, own: ImageRecord | None) -> str:
    """
    Return why Secure Boot refuses an entry's kernel in this GRUB, as a text of the menu; or an
    empty string.

    entry, image
        The entry and its image.

    own
        The image whose shim and GRUB are served: that shim must know who signed the kernel.
    """
    facts: Any = image["facts"] if image else {}
    secure = facts.get("secure_boot") or {}
    if image is own and own is not None:
        return entry["secure_lacks"]
    signature = secure.get("files", {}).get(facts.get("kernel"), {})
    if not signature.get("signers") or signature.get("changed"):
        return "kernel-unsigned"
    theirs: Any = own["facts"].get("secure_boot", {}) if own else {}
    shim = theirs.get("files", {}).get(theirs.get("shim"))
    # Not by name: ALT's key was replaced twice, and its name may have stayed.
    knows = shim and netboot_signatures.accepts_on_record(shim, signature)
    return "" if knows else "kernel-of-others"


def lacking(config: Config, kind: str, images: dict[str, ImageRecord]) -> Iterator[str]:
    """
    Yield why the image in the pillar has no boot loaders for a kind of firmware.

    config, kind
        The configuration; the kind.

    images
        The images that are ready, by their labels. One that is not is no problem of its own.
    """
    image = images.get(served(config)[kind])
    if image is None:
        return
    key = f"netboot:secure_boot:{kind}:image"
    other = "name another image, or set shim and ipxe instead"
    arch = next(row["arch"] for row in config["firmware"] if row["kind"] == kind)
    if image.get("form") == "mount":
        # A mount has what is in the ISO's own tree alone.
        other = f"unpack it, without mount: true, {other}"
    secure: Any = image["facts"].get("secure_boot", {})
    missing = [what for what in ("shim", "grub") if not secure.get(what)]
    if image["facts"]["arch"] != arch:
        yield f"{key}: {image['name']} is an image for {image['facts']['arch']}; {other}"
    elif missing and not is_unread(image):
        what = " nor ".join({"shim": "shim", "grub": "GRUB"}[one] for one in missing)
        yield f"{key}: {image['name']} has no signed {what}; {other}"


def is_unread(image: ImageRecord) -> bool:
    """
    Return whether an earlier version inspected an image: an apply inspects it again.

    image
        The image.
    """
    return "secure_boot" not in image["facts"]


# -- hosts -----------------------------------------------------------------------------------------


def _macs(name: str, host: Maps) -> list[str]:
    return [value for kind, value in identities(name, host) if kind == "mac"]


def file_of(mac: str) -> str:
    """
    Return the name in the TFTP root of a machine's own settings, for which GRUB asks.

    mac
        MAC address without colons, in lower case.
    """
    return f"{GRUB}/grub.cfg-01-{'-'.join(re.findall('..', mac))}"


def _host_files(hosts: Maps, groups: Maps, config: Config) -> dict[str, str]:
    made = {}
    for name, host in hosts.items():
        settings = settings_of(host, groups)
        if settings.get("secure_boot") is not False and not any(one in host for one in BOARDS):
            text = _host_file(name, settings, config)
            made.update({file_of(mac): text for mac in _macs(name, host)})
    return made


def _host_file(name: str, settings: Host, config: Config) -> str:
    own = variables(settings, config, "nb-arguments")
    own.pop("nb-files", None)  # always over TFTP
    if "timeout_s" in settings:
        own["nb-timeout"] = str(settings["timeout_s"])
    lines = []
    if settings.get("once"):
        own["nb-entry"] = "local"
        if config["arms"]:
            # There only while it is armed; without it the local disk boots.
            lines.append(f'source "$prefix"/once/{quoted(host_key(name) + ".cfg")}')
    return _settings_file(f"Host: {name}", own, [*lines, *_TO_THE_MENU])


_TO_THE_MENU = ['if [ "$nb_known" != y ]; then', "  set nb_known=y", '  source "$prefix/grub.cfg"']
_TO_THE_MENU += ["fi"]


def _settings_file(title: str, own: dict[str, str], last: list[str]) -> str:
    lines = [f"# {quoted(title)[1:-1]}"]
    lines += [f"set {name.replace('-', '_')}={word(value)}" for name, value in own.items()]
    return _HEAD + "\n".join(lines + last) + "\n"


def armed_script(arming: Arming) -> str:
    """
    Return what an armed host's settings load, which exists until it has booted.

    arming
        The host's arming.
    """
    own = {
        "nb-via": f"/host/{host_key(arming['host'])}.{arming['arming']}",
        "nb-entry": arming["entry"],
        **({"nb-straight": "1"} if arming["straight"] else {}),
    }
    title = f"Host: {arming['host']}, armed: this file is removed after a complete boot."
    return _settings_file(title, own, [])


def arms(config: Config, arming: Arming) -> bool:
    """
    Return whether a host may boot what it is armed for in GRUB: if its boot can be seen there. That
    is a stage that comes from the web server, as the initrd comes over TFTP.

    config, arming
        The configuration; the host's arming.
    """
    seen = not arming["server"] and not arming.get("install")
    by_mac = any(one.startswith("mac=") for one in arming["told_by"])
    return bool(served(config)) and config["arms"] and seen and by_mac


# -- warnings --------------------------------------------------------------------------------------


def _left_out(entry: Entry) -> str:
    """Return why GRUB's menu does not have an entry, or an empty string."""
    if entry["password"]:
        return "it asks for a password, which GRUB cannot check with the web server"
    for what in ("kernel", "initrd"):
        if not entry[what].startswith("/"):
            return f"GRUB cannot load {what}_url"
    return ""


def _of_entries(config: Config, entries: list[Entry]) -> Iterator[str]:
    key = "with Secure Boot"
    out: dict[str, list[str]] = {}
    for entry in entries:
        if why := _left_out(entry):
            out.setdefault(why, []).append(entry["id"])
    for why, ids in out.items():
        yield f"Not in the menu {key}: {some(ids)}: {why}"
    left = [one for one in entries if not _left_out(one)]
    if ids := [one["id"] for one in left if one["before"]]:
        yield f"extra_ipxe_conf has no effect {key}: {some(ids)}"
    if left and config["http"].get("clients_at_once"):
        yield f"netboot:http:clients_at_once has no effect {key}, as GRUB does not wait for turns"
    for entry in left:
        if unknown := _unknown(entry["cmdline"]):
            settings = some(f"${{{one}}}" for one in unknown)
            yield (
                f"{entry['id']}: {settings} in its arguments is empty {key}, as GRUB has "
                "no such setting"
            )
    if ids := [one["id"] for one in left if re.search(r"[\\'\"]", one["cmdline"])]:
        yield (
            f"{some(ids)}: quotes and backslashes in arguments reach the kernel with a backslash "
            f"before each {key}, as GRUB escapes them"
        )
    if titles := [extra["title"] for extra in config["menu"]["extra"]]:
        yield f"Not in the menu {key}, as they are for iPXE: netboot:menu:extra: {some(titles)}"


def _of_version(kind: str, config: Config, own: ImageRecord | None) -> Iterator[str]:
    if own is None:
        return
    secure: Any = own["facts"].get("secure_boot", {})
    version = secure.get("grub_version", "")
    # Seen with Debian's 2.06, not with 2.12; what ALT's patches change is not known.
    if config["dhcp"]["mode"] == "proxy" and re.match(r"2\.0[0-6]\b", version):
        yield (
            f"netboot:secure_boot:{kind}:image: GRUB {version} of {own['name']} is expected to "
            "hang beside another DHCP server, as it asks that one for its files; set "
            "netboot:dhcp:mode to server, name an image with GRUB 2.12, or set shim and ipxe "
            "instead"
        )


def _of_hosts(hosts: Maps, groups: Maps, config: Config, entries: list[Entry]) -> Iterator[str]:
    by_id = {entry["id"]: entry for entry in entries}
    boards, unknown, unseen, handed = [], [], [], []
    for name, host in hosts.items():
        settings = settings_of(host, groups)
        if any(one in host for one in BOARDS):
            boards.append(name)
        elif settings.get("secure_boot") is False:
            continue
        elif not _macs(name, host):
            unknown.append(name)
        elif settings.get("once") and config["armed_by"]:
            handed.append(name)
        elif settings.get("once"):
            entry = by_id.get(variables(settings, config, "nb-arguments").get("nb-entry", ""))
            if entry and entry["method"] != "http":
                unseen.append(name)
    key = "netboot:hosts: with Secure Boot"
    for names, why in (
        (unknown, "get the general menu, as GRUB recognizes machines by mac alone"),
        (boards, "have no effect, as GRUB does not know products and manufacturers"),
        (unseen, "boot from their own disks: this server sees a boot by its stage over http alone"),
        (handed, "boot from their own disks, as another server arms them (netboot:arms)"),
    ):
        if names:
            yield f"{key} these {why}: {some(names)}"
