"""
Templates of the state tree, rendered as ``file.managed`` renders them, and kept in step on the disk
without a temporary file beside them, which a daemon might read after a kill.
"""

from __future__ import annotations

import os
import stat
from typing import Any

import salt.utils.stringutils
import salt.utils.templates
from salt.exceptions import CommandExecutionError

import netboot_files
from netboot_shapes import Config
from netboot_state import State


def read(source: str, cached: str) -> str:
    """
    Return a template as it is.

    source, cached
        See ``text``.

    Raises CommandExecutionError when it does not exist.
    """
    if not cached:
        raise CommandExecutionError(f"{source} does not exist in the state tree.")
    with open(cached, encoding="utf-8") as file:
        return file.read()


def text(source: str, cached: str, config: Config, opts: Any, **context: Any) -> str:
    """
    Return the text of a template that needs nothing but the applied configuration.

    source
        Its ``salt://`` URL.

    cached
        Path of its copy on this machine (``cp.cache_file``); empty if there is no such template.

    config
        The configuration, which ``netboot.applied`` returns in the template.

    opts
        ``__opts__`` of the state.

    context
        More variables.

    Raises CommandExecutionError when it does not exist, or cannot be rendered.
    """
    done = salt.utils.templates.JINJA(
        read(source, cached),
        from_str=True,
        to_str=True,
        context=context,
        saltenv="base",
        grains={},
        pillar={},
        salt={"netboot.applied": lambda: config},
        opts=opts,
    )
    if not done["result"]:
        raise CommandExecutionError(f"{source} cannot be rendered: {done['data']}")
    return str(done["data"])


def in_step(state: State, path: str, text: str, staging: str) -> bool:
    """
    Bring a file in step with its text, mode 0644 and owner root, and sweep what kills left there.

    state
        The running state; it gets changes and comment.

    path
        Absolute path.

    text
        Its text.

    staging
        See ``netboot_files.write``.

    Returns whether there was something to do, also under ``test=True``.
    """
    changes = dict.fromkeys(netboot_files.left_behind(path), "removed")
    old = netboot_files.read(path)
    if old is None:
        changes["diff"] = "New file"
    elif old != text:
        changes["diff"] = salt.utils.stringutils.get_diff(
            old.splitlines(keepends=True), text.splitlines(keepends=True)
        )
    elif not _is_open(path):
        changes["mode"] = "0644"
    act = state.plan(changes)
    if changes:
        state.comment = f"{path} {state.would_be} updated."
    if act:
        netboot_files.sweep(path)
        if "diff" in changes:
            netboot_files.write(path, text, 0o644, staging)
        os.chown(path, 0, 0)
        os.chmod(path, 0o644)
    return bool(changes)


def _is_open(path: str) -> bool:
    found = os.stat(path)
    return (stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid) == (0o644, 0, 0)
