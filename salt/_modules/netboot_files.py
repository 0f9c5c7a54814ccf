"""
Files that are replaced at once: whoever reads one, and whenever the power fails, it is whole.
"""

import os
import stat
import tempfile

__virtualname__ = "netboot_files"


def __virtual__():
    return __virtualname__


def read(path):
    """
    Return what a file holds, or None if there is none.

    path
        Absolute path.

    Bytes that are not UTF-8 come as surrogates, which ``write`` turns back (PEP 383).

    CLI Example:

    .. code-block:: bash

        salt 'netboot*' netboot_files.read /etc/netboot/dnsmasq.conf
    """
    try:
        with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
            return file.read()
    except (FileNotFoundError, NotADirectoryError):
        return None


def write(path, text, mode=None, staging=None):
    """
    Write a file; its folder must exist.

    path
        Absolute path.

    text
        What it is to hold.

    mode : None
        Its permissions (number). Default: those that it has, 0644 for a new file.

    staging
        Folder on the same file system for the file while it is written. Default: its own folder.

    Raises OSError when it can't be written.

    CLI Example:

    .. code-block:: bash

        salt 'netboot*' netboot_files.write /tmp/example text
    """
    folder = os.path.dirname(path)
    data = text.encode(errors="surrogateescape")
    if mode is None:
        mode = stat.S_IMODE(os.stat(path).st_mode) if os.path.exists(path) else 0o644
    handle, temporary = tempfile.mkstemp(dir=staging or folder, prefix=".netboot.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            os.fchmod(file.fileno(), mode)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError:
        os.unlink(temporary)
        raise
    handle = os.open(folder, os.O_DIRECTORY)
    os.fsync(handle)
    os.close(handle)
