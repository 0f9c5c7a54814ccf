"""
Images that stay as they are for now: until their wave, or the window; or go back.

Such an image has, for the whole apply, the file and the digests that are in service instead of
those of the pillar. So all other states keep, mend, offer and prune what is in service.
"""

from __future__ import annotations

import posixpath
from typing import Any

import netboot_previous
import netboot_window
from netboot_names import has_digests
from netboot_records import Records
from netboot_shapes import Config, Held, Image, ImageRecord


def held(records: Records, config: Config) -> Config:
    """
    Return the configuration of an apply.

    records
        The records of this machine.

    config
        What the pillar resolves to; these records have it as theirs.
    """
    new = config.copy()
    if "images" in config:
        new["images"] = [_held(records, config, image) for image in config["images"]]
    return new


def recorded(config: Config) -> Config:
    """
    Return the configuration as it goes on record: as the pillar has it, with the files in service,
    and without what was given to one apply.

    config
        The configuration of an apply.
    """
    images: Any = [
        {**image["held"]["pillar"], "file": image["file"]} if "held" in image else image
        for image in config.get("images", [])
    ]
    kept: Any = {key: value for key, value in config.items() if key != "given"}
    if "images" in config:
        kept["images"] = images
    return kept  # type: ignore[no-any-return]


def text(waits: str) -> str:
    """
    Return what an image does that is held, as a sentence for a state's comment.

    waits
        See ``netboot_shapes.Held``.
    """
    return f"Another revision waits for {waits}."


def coming(image: Image) -> Image | None:
    """
    Return an image as the pillar has it, if its ISO can be fetched while it waits for the window:
    under a name of its own it replaces nothing. Otherwise None.

    image
        An image of the configuration of an apply.
    """
    if "held" not in image or not image["held"]["window"]:
        return None
    pillar: Any = image["held"]["pillar"]
    return pillar if pillar["file"] != image["file"] else None


def _held(records: Records, config: Config, image: Image) -> Image:
    label, given = image["label"], config["given"]
    record, was = records.image(label), records.previous(label)
    if not record or not record["tree"].startswith(f"{config['paths']['trees']}/"):
        return image
    if (
        was
        and (given["wave"] == "back" or was["back"])
        and netboot_previous.is_there(records, label)
    ):
        # An apply that was to go back and was killed is ended first, whatever this one is given.
        waits = "another wave, as it had to go back first" if given["wave"] == "go" else ""
        return _as_it_is(records, image, was["image"], waits, False)
    if config["waves"] and given["wave"] != "go":
        waits, window = "its wave", False
    else:
        waits = netboot_window.awaited(config)
        window = bool(waits)
    if not waits or not (image["sums"] or is_another(records, record, image["checksum"])):
        return image
    return _as_it_is(records, image, record, waits, window)


def is_another(records: Records, record: ImageRecord, checksum: dict[str, str]) -> bool:
    """
    Return whether digests are of another revision than the one in service, or may be.

    records
        The records of this machine.

    record
        The record of the image.

    checksum
        The digests, by algorithm.
    """
    known = records.iso(record["file"])
    digests = {"sha256": str(record["iso_sha256"])}
    if known and known["digests"]["sha256"] == record["iso_sha256"]:
        digests = known["digests"]
    return not has_digests(digests, checksum)


def _as_it_is(
    records: Records, image: Image, record: ImageRecord, waits: str, window: bool
) -> Image:
    pillar: Any = image
    why: Held = {"pillar": pillar, "waits": waits, "window": window}
    file = record["file"]
    known = records.iso(file)
    sources = image["sources"]
    if file != image["file"]:
        sources = [f"{posixpath.dirname(url)}/{file}" for url in sources]
        source = known.get("source") if known else None
        sources = list(dict.fromkeys([*([source] if source else []), *sources]))
    return {
        **image,
        "file": file,
        "sources": sources,
        "mirrors": [f"{posixpath.dirname(url)}/{file}" for url in image["mirrors"]],
        "checksum": {"sha256": str(record["iso_sha256"])},
        "sums": False,
        "refresh": False,
        "held": why,
    }
