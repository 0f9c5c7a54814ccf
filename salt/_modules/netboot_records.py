"""
What outlives a run: small JSON records in ``/var/lib/netboot`` (root, 0700, never served).

Records have a kind (``applied``, ``isos``, ``images``, ``owned``, ``once``, ``services``,
``control``) and a name. A record is either there as a whole or not at all, whenever the power
fails. The minion option ``netboot.state_dir`` puts them elsewhere.
"""

import errno
import json
import os
import re

from salt.exceptions import CommandExecutionError, SaltInvocationError

__virtualname__ = "netboot_records"

_FORETOLD = "netboot_records.foretold"


def __virtual__():
    return __virtualname__


def directory():
    """
    Return the path under which the records lie.

    CLI Example:

    .. code-block:: bash

        salt 'netboot*' netboot_records.directory
    """
    return __opts__.get("netboot.state_dir", "/var/lib/netboot")


def _path(kind, name):
    for part in (kind, name):
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]*", part):
            raise SaltInvocationError(f"{part!r} cannot be the kind or name of a record.")
    return os.path.join(directory(), kind, name + ".json")


def names(kind):
    """
    List the names of the records of a kind, sorted.

    kind
        Kind of record (text).

    Returns an empty list where there are none, or where this user may not look.

    CLI Example:

    .. code-block:: bash

        salt 'netboot*' netboot_records.names images
    """
    try:
        files = os.listdir(os.path.join(directory(), kind))
    except OSError as err:
        if err.errno in (errno.ENOENT, errno.EACCES):
            return []
        raise
    return sorted(file[: -len(".json")] for file in files if file.endswith(".json"))


def read(kind, name):
    """
    Return a record, or None if there is none (or this user may not read it).

    kind, name
        Which record (texts).

    Raises CommandExecutionError when the file does not hold JSON.

    CLI Example:

    .. code-block:: bash

        salt 'netboot*' netboot_records.read applied config
    """
    path = _path(kind, name)
    foretold = __context__.get(_FORETOLD, {})
    if path in foretold:
        return foretold[path]
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except OSError as err:
        if err.errno in (errno.ENOENT, errno.EACCES):
            return None
        raise
    except ValueError as err:
        raise CommandExecutionError(
            f"{path} is damaged ({err}); remove it and apply again."
        ) from err


def write(kind, name, value):
    """
    Keep a record.

    kind, name
        Which record (texts).

    value
        Anything that JSON can hold.

    CLI Example:

    .. code-block:: bash

        salt 'netboot*' netboot_records.write applied config '{}'
    """
    path = _path(kind, name)
    folder = os.path.dirname(path)
    os.makedirs(directory(), mode=0o700, exist_ok=True)
    os.makedirs(folder, mode=0o700, exist_ok=True)
    text = json.dumps(value, indent=1, sort_keys=True)
    __salt__["netboot_files.write"](path, text, mode=0o600)


def foretell(kind, name, value):
    """
    Let ``read`` return, for the rest of this run, what a state under ``test=True`` would write.

    kind, name
        Which record (texts).

    value
        The record, or None if it would be removed.

    CLI Example:

    .. code-block:: bash

        salt 'netboot*' netboot_records.foretell applied config '{}'
    """
    __context__.setdefault(_FORETOLD, {})[_path(kind, name)] = value


def remove(kind, name):
    """
    Drop a record; it need not exist.

    kind, name
        Which record (texts).

    CLI Example:

    .. code-block:: bash

        salt 'netboot*' netboot_records.remove images alt-server-11
    """
    try:
        os.unlink(_path(kind, name))
    except FileNotFoundError:
        pass
