"""
Forget libraries of an earlier version of this tree, so that a running minion uses the new one.

Salt loads a module again once it has been synced, but what that module imports comes from Python's
``sys.modules``. There, a minion that runs its jobs in threads (``multiprocessing: false``) keeps
the version from before the sync, and so does one whose parent process has loaded the module. So
each module and state of this project begins with these lines, and imports its libraries after
them, never inside a function, as this directory is on Python's path only while a module is loaded::

    import netboot_fresh

    netboot_fresh.forget_old()
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import threading
from types import ModuleType

Versions = dict[str, tuple[int, int, int]]

_DIRECTORY = os.path.dirname(os.path.abspath(__file__))
# Salt syncs everybody's libraries into this directory; what else lies here is not ours to forget.
_OURS = ("iso9660", "iso_", "netboot_", "probe_")

# Not when importlib.reload below executes this file again: the lock is held then.
if "_lock" not in globals():
    _lock = threading.Lock()
    _seen: Versions = {}


def forget_old() -> None:
    """
    Drop our libraries from ``sys.modules`` if any of their files was replaced.

    All of them, as one may have imported another. A module that is loaded keeps those it holds.
    """
    global _seen
    with _lock:
        now = _versions()
        if now == _seen:
            return
        for name, module in list(sys.modules.items()):
            if name != __name__ and _is_ours(name, module):
                _drop(name)
        # This library, too, may be a new one. It stays the same module, with the same lock.
        importlib.reload(sys.modules[__name__])
        _seen = now


def _drop(name: str) -> None:
    # Returns once no other thread is importing it: Python needs it in sys.modules up to the end.
    try:
        importlib.import_module(name)
    except Exception:  # noqa: BLE001 (whatever it raises: then it is not in sys.modules any more)
        return
    sys.modules.pop(name, None)


def _is_ours(name: str, module: ModuleType) -> bool:
    """Whether a library is one that was imported by its plain name, not by Salt's loader."""
    path = getattr(module, "__file__", None) or ""
    return name.startswith(_OURS) and os.path.dirname(os.path.abspath(path)) == _DIRECTORY


def _versions() -> Versions:
    versions = {}
    with os.scandir(_DIRECTORY) as files:
        for file in files:
            if file.name.startswith(_OURS) and file.name.endswith(".py"):
                # Absent, if a sync removes it at this moment.
                with contextlib.suppress(FileNotFoundError):
                    stat = file.stat()
                    versions[file.name] = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
    return versions
