"""
Forget old versions of the libraries in this tree, so that a running minion uses the new versions.

Salt reloads a module after a sync, but what that module imports comes from Python's
``sys.modules``, where a minion that runs its jobs in threads (``multiprocessing: false``) keeps the
version from before the sync. So each module and state of this project begins with these lines, and
imports the libraries beside this file after them::

    import netboot_fresh

    netboot_fresh.forget_old()
"""

from __future__ import annotations

import os
import sys

_FILE = os.path.abspath(__file__)
_FOLDER = os.path.dirname(_FILE)
_seen: dict[str, tuple[int, int, int]] = {}


def forget_old() -> None:
    """
    Drop the libraries in this directory from ``sys.modules`` if any of their files was replaced.

    Modules that were imported before stay usable: a running apply ends with the version that it
    started with.
    """
    now = _versions()
    if now == _seen:
        return
    own = os.path.basename(_FILE)
    # This library too, if its own file was replaced: the next import loads the new version.
    keep = () if own in _seen and now.get(own) != _seen[own] else (_FILE,)
    for name, module in list(sys.modules.items()):
        path = os.path.abspath(getattr(module, "__file__", None) or "/")
        if os.path.dirname(path) == _FOLDER and path not in keep:
            # Another thread may be doing the same.
            sys.modules.pop(name, None)
    _seen.clear()
    _seen.update(now)


def _versions() -> dict[str, tuple[int, int, int]]:
    with os.scandir(_FOLDER) as files:
        return {
            file.name: (file.stat().st_ino, file.stat().st_mtime_ns, file.stat().st_size)
            for file in files
            if file.name.endswith(".py")
        }
