"""
Make `docs/pillar.md`, `docs/ru/pillar.md` and `docs/pillar.schema.json` from the table of keys.

    PYTHONPATH=salt/_utils .venv/bin/python docs/make.py

Put on record that the Russian pages follow the English ones as they are now:

    PYTHONPATH=salt/_utils .venv/bin/python docs/make.py --translated network.md hosts.md
"""

import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from netboot_keys import ARCH, KEYS, NAMES, Key

HERE = Path(__file__).parent
#: The Russian of each text in the reference, by the English text.
MEANINGS = HERE / "ru/meanings.yaml"
#: Of each translated page: the digests of its English sections as they were translated.
SOURCES = HERE / "ru/sources.json"
HEAD = """\
# Pillar reference

All keys are below `netboot`. This page is made from the table `KEYS` in
`salt/_utils/netboot_keys.py` by `docs/make.py`. Editors can check a pillar against
[pillar.schema.json](pillar.schema.json).

| key | default | meaning |
| --- | --- | --- |"""
REQUIRED = "Required."
UNLESS = "Required, unless `{}` is true."
_DIGESTS = {"required": ["checksum"], "properties": {"checksum": {"minProperties": 1}}}
_TRUE = {"const": True}
# What JSON Schema can express of the rules between keys, by the map that has them.
RULES: dict[str, dict[str, Any]] = {
    "images.*": {
        "anyOf": [
            _DIGESTS,
            {"required": ["sums"], "properties": {"sums": _TRUE}},
            {"required": ["skip_iso_deploy"], "properties": {"skip_iso_deploy": _TRUE}},
        ]
    },
    "firmware.*": _DIGESTS,
    "secure_boot.*": {"oneOf": [{"required": ["shim", "ipxe"]}, {"required": ["image"]}]},
    "secure_boot.*.shim": _DIGESTS,
    "secure_boot.*.ipxe": _DIGESTS,
}


def reference(say: Callable[[str], str] = str) -> str:
    """Return the pillar reference as Markdown, its texts as `say` translates them."""
    lines = [say(HEAD)]
    for row in KEYS:
        meaning = say(row.meaning)
        if row.required:
            meaning += " " + (say(UNLESS).format(row.unless) if row.unless else say(REQUIRED))
        lines.append(f"| `{_key(row)}` | {_shown(row.default)} | {meaning} |")
    return "\n".join(lines) + "\n"


def russian() -> str:
    """Return the pillar reference in Russian; what lacks a translation stays English."""
    texts = yaml.safe_load(MEANINGS.read_text())
    return reference(lambda text: texts.get(text, text))


def untranslated() -> str:
    """Return what `meanings.yaml` lacks, and what nothing uses any more, as one line."""
    texts = yaml.safe_load(MEANINGS.read_text())
    used = [(HEAD, "HEAD"), (REQUIRED, "REQUIRED"), (UNLESS, "UNLESS")]
    used += [(row.meaning, _key(row)) for row in KEYS]
    missing = [place for text, place in used if not texts.get(text)]
    unused = [f'"{text}"' for text in texts if text not in dict(used)]
    said = ["has no translation for " + ", ".join(missing)] if missing else []
    said += ["has texts that no key uses: " + ", ".join(unused)] if unused else []
    return f"{MEANINGS.relative_to(HERE.parent)} {' and '.join(said)}" if said else ""


def sections(page: Path) -> dict[str, list[str]]:
    """Return the lines of a Markdown page by heading (`## Passwords`), without the headings."""
    made: dict[str, list[str]] = {}
    lines: list[str] = []
    code = False
    for line in page.read_text().splitlines():
        code ^= line.lstrip().startswith("```")
        if line.startswith("#") and not code:
            if line in made:
                raise ValueError(f"{page} has two sections {line!r}: their links would be the same")
            made[line] = lines = []
        else:
            lines.append(line)
    return made


def digests(page: Path) -> dict[str, str]:
    """Return digests of the sections of a page by heading; they ignore where lines are broken."""
    made = {}
    for heading, lines in sections(page).items():
        words = " ".join(" ".join(lines).split())
        made[heading] = hashlib.sha256(words.encode()).hexdigest()[:16]
    return made


def english(page: str) -> Path:
    """Return the path of the English page: README.md is not below `docs/`."""
    return (HERE.parent if page == "README.md" else HERE) / page


def translated(*pages: str) -> None:
    """Put on record that these pages are translated as they are now."""
    known = json.loads(SOURCES.read_text()) if SOURCES.exists() else {}
    known |= {page: digests(english(page)) for page in pages}
    SOURCES.write_text(json.dumps(known, indent=1, ensure_ascii=False) + "\n")


def _key(row: Key) -> str:
    name = "ARCH" if NAMES.get(row.path) is ARCH else "NAME"
    return row.path.replace("*", name).replace(".", ":")


def _shown(default: Any) -> str:
    if isinstance(default, tuple):
        default = f"[{', '.join(map(str, default))}]" if default else None
    shown = "" if default is None else f"`{default}`"
    return shown.lower() if isinstance(default, bool) else shown


def schema() -> dict[str, Any]:
    """Return the same as JSON Schema, draft 2020-12: a file with the pillar key `netboot`."""
    netboot = _map(())
    by_name = netboot["properties"]["images"]["additionalProperties"]
    named = {"properties": {"name": NAMES["images.*"].schema, **by_name["properties"]}}
    listed = {**by_name, **named, "required": ["name"]}
    # The form of asheplyakov/netinstall-alt.
    netboot["properties"]["images"] = {
        "anyOf": [netboot["properties"]["images"], {"type": "array", "items": listed}]
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Pillar of netboot-alt",
        "type": "object",
        "required": ["netboot"],
        "properties": {"netboot": netboot},
    }


def _map(path: tuple[str, ...]) -> dict[str, Any]:
    """The schema of a map: its keys are those of the table that begin with its path."""
    below = [row for row in KEYS if tuple(row.path.split("."))[: len(path)] == path]
    names = list(dict.fromkeys(row.path.split(".")[len(path)] for row in below))
    children = {name: _value((*path, name)) for name in names}
    if "*" in children:
        made: dict[str, Any] = {"type": "object", "additionalProperties": children["*"]}
        check = NAMES.get(".".join((*path, "*")))
        if check:
            made["propertyNames"] = check.schema
        return made
    made = {"type": "object", "properties": children, "additionalProperties": False}
    required = [row for row in below if row.required and row.path.count(".") == len(path)]
    for row in required:
        name = row.path.rpartition(".")[2]
        there = {"required": [name]}
        lifted = {"properties": {row.unless: {"const": True}}, "required": [row.unless]}
        made.setdefault("allOf", []).append({"anyOf": [there, lifted]} if row.unless else there)
    if rule := RULES.get(".".join(path)):
        made.setdefault("allOf", []).append(rule)
    return made


def _value(path: tuple[str, ...]) -> dict[str, Any]:
    row = next((row for row in KEYS if row.path == ".".join(path)), None)
    if row is None:
        return _map(path)
    described = {"description": row.meaning, **row.check.schema}
    if row.default is not None:
        default = row.default
        described["default"] = list(default) if isinstance(default, tuple) else default
    return described


def files() -> dict[str, str]:
    """Return the texts of all files by path below `docs/`."""
    text = json.dumps(schema(), indent=1, ensure_ascii=False) + "\n"
    return {"pillar.md": reference(), "ru/pillar.md": russian(), "pillar.schema.json": text}


if __name__ == "__main__":
    if sys.argv[1:2] == ["--translated"]:
        translated(*sys.argv[2:])
    else:
        for path, text in files().items():
            (HERE / path).write_text(text)
        sys.exit(untranslated() or None)
