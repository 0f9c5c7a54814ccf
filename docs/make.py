"""
Make `docs/pillar.md` and `docs/pillar.schema.json` from the table of keys.

    PYTHONPATH=salt/_utils .venv/bin/python docs/make.py
"""

import json
from pathlib import Path
from typing import Any

from netboot_keys import ARCH, KEYS, NAMES

HERE = Path(__file__).parent
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
    "secure_boot.*": {"required": ["shim", "ipxe"]},
    "secure_boot.*.shim": _DIGESTS,
    "secure_boot.*.ipxe": _DIGESTS,
}


def reference() -> str:
    """Return the pillar reference as Markdown."""
    lines = [
        "# Pillar reference",
        "",
        "All keys are below `netboot`. This page is made from the table `KEYS` in",
        "`salt/_utils/netboot_keys.py` by `docs/make.py`. Editors can check a pillar against",
        "[pillar.schema.json](pillar.schema.json).",
        "",
        "| key | default | meaning |",
        "| --- | --- | --- |",
    ]
    for row in KEYS:
        key = row.path.replace("*", "ARCH" if NAMES.get(row.path) is ARCH else "NAME")
        unless = f", unless `{row.unless}` is true" if row.unless else ""
        meaning = row.meaning + (f" Required{unless}." if row.required else "")
        lines.append(f"| `{key.replace('.', ':')}` | {_shown(row.default)} | {meaning} |")
    return "\n".join(lines) + "\n"


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


def files() -> dict[Path, str]:
    """Return the texts of both files."""
    text = json.dumps(schema(), indent=1, ensure_ascii=False) + "\n"
    return {HERE / "pillar.md": reference(), HERE / "pillar.schema.json": text}


if __name__ == "__main__":
    for path, text in files().items():
        path.write_text(text)
