"""
iPXE menus: what each architecture's script offers, rendered by a template. Pure.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import jinja2
from salt.exceptions import CommandExecutionError

from netboot_entries import MOUNTING
from netboot_labels import LABELS, LACKS, language, latin
from netboot_names import NICS, boot_file
from netboot_shapes import Config, Entry

#: Architectures that have a menu, each with the architectures of the images that it offers. A BIOS
#: loads the x86_64 script for both, which checks the CPU; UEFI boots its own architecture only.
MENUS = {
    "x86_64": ("x86_64", "i586"),
    "i586": ("i586",),
    "aarch64": ("aarch64",),
    "riscv64": ("riscv64",),
    "loongarch64": ("loongarch64",),
}


#: A menu with more entries has a page for each image.
_LONGEST_PAGE = 12
#: Only digits are hotkeys of entries.
_HOTKEYS = 9


class Text(NamedTuple):
    """A text of a menu as a variable: in letters that all firmware draws, and as it was written."""

    name: str
    plain: str
    written: str


class Step(NamedTuple):
    """
    What a machine with some memory lacks some for, and with one step more does not: ``shorts``,
    what lines say of it, by number; ``entries``, which may boot by themselves, and what instead.
    """

    shorts: dict[int, str]
    entries: dict[str, str]


class Line(NamedTuple):
    """A line of a menu; ``label``: the label that it jumps to."""

    label: str
    title: str
    key: str
    bios_only: bool


def render(
    template: str,
    config: Config,
    entries: list[Entry],
    hosts: bool = False,
    waits: bool = False,
) -> dict[str, str]:
    """
    Return the texts of the menu scripts by file name, one for each architecture.

    template
        The text of the template.

    config
        The configuration.

    entries
        The boot entries.

    hosts : False
        Whether the pillar has hosts: then the menu shows to machines that they are none of them.

    waits : False
        Whether images are still being fetched: then the menu shows how far they are.

    Raises CommandExecutionError when the template is broken.
    """
    environment = jinja2.Environment(  # noqa: S701 (scripts, not HTML)
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    try:
        menu = environment.from_string(template)
        return {
            f"config-{arch}.ipxe": menu.render(
                _context(config, arch, entries), hosts=hosts, waits=waits
            )
            for arch in MENUS
        }
    except jinja2.TemplateError as err:
        raise CommandExecutionError(f"The menu template is broken: {err}") from err


class _Names:
    """
    Names that the pillar gives, as the menu has them: those with Russian letters become variables
    where the firmware may draw them as they are.
    """

    def __init__(self, unicode: bool) -> None:
        self._unicode = unicode
        self.texts: dict[str, Text] = {}

    def drawn(self, name: str) -> str:
        if name.isascii() or not self._unicode:
            return latin(name)
        text = Text(f"nb-name-{len(self.texts) + 1}", latin(name), name)
        return f"${{{self.texts.setdefault(name, text).name}}}"


def _languages(config: Config) -> list[dict[str, Any]]:
    """Return the menu's languages with their locales and texts, the default last."""
    menu = config["menu"]
    found: dict[str, dict[str, Any]] = {}
    for locale in menu["languages"]:
        code = language(locale)
        texts = {**LABELS[code], **menu["labels"]}
        made = {
            "code": code,
            "locales": [],
            "texts": [Text(f"nb-text-{name}", latin(text), text) for name, text in texts.items()],
        }
        found.setdefault(code, made)["locales"].append(locale)
    return list(found.values())[::-1]


def _context(config: Config, arch: str, entries: list[Entry]) -> dict[str, Any]:
    names = _Names(config["menu"]["unicode"])
    mine = [entry for entry in entries if entry["arch"] in MENUS[arch]]
    shorts = {one: number for number, one in enumerate(dict.fromkeys(map(_short, mine)), 1)}
    offered: list[Any] = [
        {
            **entry,
            "title": f"{names.drawn(entry['image'])}: {entry['remark']} "
            f"${{nb-short-{shorts[_short(entry)]}}}"
            f"{'${nb-lacks-' + entry['secure_lacks'] + '}' if entry['secure_lacks'] else ''}",
        }
        for entry in mine
    ]
    pages = _pages(offered, arch, names) if len(offered) > _LONGEST_PAGE else []
    extras: list[dict[str, Any]] = [
        {**extra, "label": f"+{number}", "title": names.drawn(extra["title"])}
        for number, extra in enumerate(config["menu"]["extra"], 1)
        if arch in extra["arches"]
    ]
    lines = [Line(page["label"], page["title"], "", page["bios_only"]) for page in pages]
    return {
        "config": config,
        "title": names.drawn(config["menu"]["title"]),
        "languages": _languages(config),
        "names": names.texts.values(),
        "nics": NICS,
        "arch": arch,
        "entries": offered,
        "default": _default(offered, config, arch),
        "lines": _numbered(lines) if pages else _lines(offered, arch),
        "extra_lines": [
            Line(_guarded(extra["label"], extra["password"]), f"   {extra['title']}", "", False)
            for extra in extras
        ],
        "extras": extras,
        "pages": pages,
        "shorts": shorts,
        "room": _room(mine, shorts),
        "lacks": [one for one in LACKS if any(entry["secure_lacks"] == one for entry in mine)],
        "sums": {
            entry["label"]: entry
            for entry in mine
            if entry["kernel_sha256"]
            and entry["initrd_sha256"]
            # iPXE knows them by their names alone.
            and boot_file(entry["kernel"]) != boot_file(entry["initrd"])
        },
    }


def _short(entry: Entry) -> tuple[int, str]:
    """
    Return how much memory an entry needs, in 256 MiB, and as its line says it where that lacks.

    Less than a step is not missed: it is an estimate, and firmware takes some for itself.
    """
    need = f"{entry['memory_mib'] / 1024:.1f} ${{nb-text-memory}}"
    return entry["memory_mib"] // 256, "" if need in entry["remark"] else f"({need}) "


def _room(entries: list[Entry], shorts: dict[tuple[int, str], int]) -> list[Step]:
    """Return, for each step of memory that a machine has, what needs just one more."""
    room = [Step({}, {}) for _ in range(max((need for need, _ in shorts), default=0))]
    for (need, text), number in shorts.items():
        room[need - 1].shorts[number] = text
    groups: dict[tuple[str, str], list[Entry]] = {}
    for entry in entries:
        groups.setdefault((entry["label"], entry["variant"]), []).append(entry)
    for first, *others in groups.values():
        need = _short(first)[0]
        mounts = (one for one in others if one["method"] in MOUNTING and _short(one)[0] < need)
        room[need - 1].entries[first["id"]] = next((one["id"] for one in mounts), "")
    return room


def _pages(entries: list[Entry], arch: str, names: _Names) -> list[dict[str, Any]]:
    """Return a page for each image, in the order of the entries."""
    images: dict[str, list[Entry]] = {}
    for entry in entries:
        images.setdefault(entry["image"], []).append(entry)
    return [
        {
            "label": f"@{of_image[0]['label']}",
            "title": names.drawn(image),
            "bios_only": of_image[0]["arch"] != arch,
            "lines": _lines(of_image, arch),
        }
        for image, of_image in images.items()
    ]


def _lines(entries: list[Entry], arch: str) -> list[Line]:
    return _numbered(
        [
            Line(
                _guarded(entry["id"], entry["password"]), entry["title"], "", entry["arch"] != arch
            )
            for entry in entries
        ]
    )


def _numbered(lines: list[Line]) -> list[Line]:
    """Return the lines with hotkeys, as long as there are digits."""
    return [
        line._replace(key=str(number), title=f"{number}  {line.title}")
        if number <= _HOTKEYS
        else line._replace(title=f"   {line.title}")
        for number, line in enumerate(lines, 1)
    ]


def _guarded(label: str, password: bool) -> str:
    return f"!{label}" if password else label


def _default(entries: list[Entry], config: Config, arch: str) -> str:
    """Return the default entry; an installer only if the pillar sets it."""
    image = config["default_image"].get(arch)
    variant = config["default_variant"].get(arch)
    fit = (one for one in entries if (one["image"], one["variant"]) == (image, variant))
    return next((one["id"] for one in fit), "local")


def unmet_defaults(config: Config, entries: list[Entry]) -> list[str]:
    """
    Return the problems of default images that have entries, but none that the menu may start.

    config, entries
        See ``render``.

    Returns a list of one-line strings.
    """
    found = []
    for arch, image in config["default_image"].items():
        of_image = [one for one in entries if one["image"] == image]
        there = [one["variant"] for one in of_image if one["arch"] in MENUS[arch]]
        if of_image and not there:
            found.append(
                f"netboot:default_image:{arch}: {image} is an image for {of_image[0]['arch']}"
            )
        variant = config["default_variant"].get(arch)
        if there and variant not in there:
            found.append(
                f"netboot:default_image:{arch}: {image} has no {variant}; set "
                f"netboot:default_variant:{arch} to one of {', '.join(dict.fromkeys(there))} "
                "to start it when the menu times out"
            )
        if any(one["password"] for one in of_image if one["variant"] == variant):
            found.append(
                f"netboot:default_image:{arch}: {image}: {variant} asks for a password, so clients "
                "boot from their own disks when the menu times out"
            )
    return found


def view(config: Config, arch: str, entries: list[Entry]) -> dict[str, Any]:
    """
    Return what the menu of an architecture shows, in its first language.

    config, entries
        See ``render``.

    arch
        The architecture.

    Returns a map: ``title``, ``default`` (id of the line that starts), ``timeout_s`` and ``lines``,
    maps: ``id``, ``title``, ``password`` (whether it asks for one), ``bios_only``, and ``page``
    (title of the page that it is on, or empty).
    """
    menu = config["menu"]
    made = _context(config, arch, entries)
    words = {
        text.name: text.written if menu["unicode"] else text.plain
        for text in (*made["languages"][-1]["texts"], *made["names"])
    }

    def drawn(text: str) -> str:
        return re.sub(r"\$\{([\w-]+)\}", lambda match: words.get(match[1], ""), text)

    def line(one: Line, page: str = "") -> dict[str, Any]:
        return {
            "id": one.label.lstrip("!"),
            "title": drawn(one.title).strip(),
            "password": one.label.startswith("!"),
            "bios_only": one.bios_only,
            "page": page,
        }

    local = Line("local", "l  ${nb-text-local}", "l", False)
    shown = [line(local), *map(line, () if made["pages"] else made["lines"])]
    for page in made["pages"]:
        shown += (line(one, drawn(page["title"])) for one in page["lines"])
    return {
        "title": drawn(made["title"]),
        "default": made["default"],
        "timeout_s": menu["arch_timeout_s"].get(arch, menu["timeout_s"]),
        "lines": shown + [line(one) for one in made["extra_lines"]],
    }
