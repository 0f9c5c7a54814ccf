"""
ISOs on their way, for people in front of a menu: a script that menus include, as long as ISOs are
fetched.
"""

from __future__ import annotations

import contextlib
import threading
import time
from typing import Any

import netboot_files
from iso_part import part_path, progress, unlink
from netboot_labels import latin
from netboot_shapes import Config

_EVERY_S = 5
# Menus set ``nb-say`` where they cannot draw a line.
_LINES = """\
set nb-coming {line}
iseq ${{nb-say}} echo && echo ${{nb-coming}} || item --gap ${{nb-coming}}
"""


class Coming:
    """
    Shows clients how far the ISOs of a configuration are, whatever run of these states fetches
    them.

    config
        The configuration.
    """

    _lock = threading.Lock()

    def __init__(self, config: Config) -> None:
        self._path = config["paths"]["coming"]
        self._staging = config["paths"]["staging"]
        self._names: dict[str, list[str]] = {}
        for image in config["images"]:
            # Of one that waits also its next ISO, see netboot_held.coming.
            held = [image["held"]["pillar"]] if "held" in image else []
            for file in {one["file"] for one in (image, *held)}:
                self._names.setdefault(file, []).append(image["name"])
        self._shown_at = 0.0

    def show_sometimes(self) -> None:
        """Show it if that was some seconds ago."""
        if time.monotonic() - self._shown_at >= _EVERY_S:
            self.show()

    def show(self) -> None:
        """
        Write the script, or remove it if nothing is being fetched.

        Fetches never fail because of it. It has the time, as a killed fetch leaves it.
        """
        with self._lock, contextlib.suppress(OSError):
            self._shown_at = time.monotonic()
            lines = [
                _LINES.format(line=line)
                for file, names in self._names.items()
                for line in _lines(names, progress(part_path(self._staging, file)))
            ]
            if lines:
                text = "#!ipxe\n" + "".join(lines)
                netboot_files.write(self._path, text, 0o644, self._staging, durable=False)
            else:
                unlink(self._path)


def _lines(names: list[str], one: dict[str, Any] | None) -> list[str]:
    """Return the lines of a menu for what is known of a part."""
    if not one or not one["running"]:
        return []
    done = f"{one['size'] / 1e9:.1f} GB"
    if one["total"]:
        done = f"{one['percent']} % ${{nb-text-of}} {one['total'] / 1e9:.1f} GB"
    at = time.strftime("%H:%M")
    return [f"{latin(name)}: {done} ${{nb-text-at}} {at}" for name in names]
