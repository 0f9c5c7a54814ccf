"""
Fetch an ISO over HTTP, verified while it streams, published only as a whole.

:depends: requests (Salt needs it, and its thin has it)
"""

import fcntl
import hashlib
import logging
import os
import re
import shutil
import time

import requests
from salt.exceptions import CommandExecutionError, SaltInvocationError

log = logging.getLogger(__name__)

__virtualname__ = "iso_fetch"

_CHUNK = 1 << 20
_CONNECT_TIMEOUT_S = 10
# A source that sends nothing for this long has stalled.
_STALL_TIMEOUT_S = 60
_PROGRESS_EVERY_S = 10


def __virtual__():
    return __virtualname__


def fetch(url, path, checksum, staging):
    """
    Fetch a file and publish it under its name once its digests are right.

    url
        Address of the ISO (http or https). Redirects are followed, proxies are taken from the
        environment.

    path
        File name that it gets (absolute path).

    checksum
        Expected digests in hexadecimal, by algorithm: sha512, sha256, sha1, md5; all are checked.

    staging
        Folder on the same filesystem, closed to others, for the file while it is unverified.

    Returns a map: ``size`` (bytes), ``digests`` (those of ``checksum``, and always sha256),
    ``identity`` as of ``identity``.

    Raises CommandExecutionError, naming the URL and the cause, when the file cannot be had whole
    or is not the expected one; ``path`` is then as it was.

    CLI Example:

    .. code-block:: bash

        salt 'netboot*' iso_fetch.fetch http://example.org/a.iso /srv/export/dist/a.iso \\
            '{sha256: ...}' /srv/export/.staging
    """
    _expected(checksum)
    part = os.path.join(staging, os.path.basename(path) + ".part")
    try:
        # A killed run may have left its part: it is locked only while somebody writes to it.
        with open(part, "ab") as file:
            _lock(file, url)
            try:
                file.truncate(0)
                digests, size = _download(url, file, checksum)
                _compare(url, digests, checksum)
                os.fchmod(file.fileno(), 0o644)
                file.flush()
                os.fsync(file.fileno())
                os.replace(part, path)
            except BaseException:
                os.unlink(part)
                raise
    except OSError as err:
        raise CommandExecutionError(f"{url} cannot be kept as {path}: {err}") from err
    _sync_folder(os.path.dirname(path))
    return {"size": size, "digests": digests, "identity": identity(path)}


def verify(path, checksum):
    """
    Hash a file and compare it with its expected digests.

    path
        The file (absolute path).

    checksum
        Expected digests in hexadecimal, by algorithm.

    Returns the same map as ``fetch``. Raises CommandExecutionError when a digest differs or the
    file cannot be read.

    CLI Example:

    .. code-block:: bash

        salt 'netboot*' iso_fetch.verify /srv/export/dist/a.iso '{sha256: ...}'
    """
    hashers = _hashers(checksum)
    try:
        before = identity(path)
        with open(path, "rb") as file:
            for chunk in iter(lambda: file.read(_CHUNK), b""):
                for hasher in hashers.values():
                    hasher.update(chunk)
    except OSError as err:
        raise CommandExecutionError(f"{path} cannot be read: {err.strerror}") from err
    digests = {kind: hasher.hexdigest() for kind, hasher in hashers.items()}
    _compare(path, digests, checksum)
    return {"size": before["size"], "digests": digests, "identity": before}


def identity(path):
    """
    Return what tells whether a verified file is still the same one, without reading it.

    path
        The file (absolute path).

    Returns a map of ``size`` (bytes), ``mtime_ns``, ``ctime_ns`` and ``inode``, or None if there
    is no such file.

    CLI Example:

    .. code-block:: bash

        salt 'netboot*' iso_fetch.identity /srv/export/dist/a.iso
    """
    try:
        stat = os.stat(path)
    except FileNotFoundError:
        return None
    return {
        "size": stat.st_size,
        "mtime_ns": stat.st_mtime_ns,
        "ctime_ns": stat.st_ctime_ns,
        "inode": stat.st_ino,
    }


def _expected(checksum):
    if not checksum:
        raise SaltInvocationError("An ISO is never fetched without a checksum.")


def _hashers(checksum):
    _expected(checksum)
    # SHA-256 is always wanted: `hash=` on the command line of ALT's first stage takes no other.
    return {kind: hashlib.new(kind) for kind in {"sha256", *checksum}}


def _compare(what, digests, checksum):
    for kind, wanted in sorted(checksum.items()):
        if digests[kind] != wanted.lower():
            raise CommandExecutionError(
                f"{what} is not the expected file: its {kind} is {digests[kind]}, "
                f"the pillar says {wanted}."
            )


def _lock(file, url):
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as err:
        raise CommandExecutionError(
            f"{url} is being fetched by another run on this machine; wait for it."
        ) from err


def _download(url, file, checksum):
    hashers = _hashers(checksum)
    size = 0
    try:
        response = requests.get(
            url,
            stream=True,
            timeout=(_CONNECT_TIMEOUT_S, _STALL_TIMEOUT_S),
            # The digest is that of the file, not of a compressed form of it.
            headers={"Accept-Encoding": "identity"},
        )
        response.raise_for_status()
        announced = response.headers.get("Content-Length")
        total = int(announced) if announced and announced.isdigit() else None
        _check_space(url, file, total)
        progress = _Progress(url, total)
        for chunk in response.iter_content(_CHUNK):
            file.write(chunk)
            for hasher in hashers.values():
                hasher.update(chunk)
            size += len(chunk)
            progress.show(size)
    except requests.RequestException as err:
        raise CommandExecutionError(f"{url} cannot be fetched: {_cause(err)}") from err
    if total is not None and size != total:
        raise CommandExecutionError(
            f"{url} ended early: {size} of {total} bytes came. Apply again to retry."
        )
    return {kind: hasher.hexdigest() for kind, hasher in hashers.items()}, size


def _cause(err):
    """The innermost reason of a requests error, without the object addresses of its wrappers."""
    while isinstance(getattr(err, "reason", None), Exception) or (
        err.args and isinstance(err.args[0], Exception)
    ):
        err = err.reason if isinstance(getattr(err, "reason", None), Exception) else err.args[0]
    return re.sub(r"<[^>]*>: *", "", str(err)) or type(err).__name__


def _check_space(url, file, total):
    free = shutil.disk_usage(file.name).free
    if total is not None and total > free:
        raise CommandExecutionError(
            f"{url} has {total} bytes, and only {free} are free where {file.name} lies."
        )


class _Progress:
    """A log line now and then: how much, how fast, how long still."""

    def __init__(self, url, total):
        self.url, self.total = url, total
        self.started = self.shown = time.monotonic()

    def show(self, size):
        now = time.monotonic()
        if now - self.shown < _PROGRESS_EVERY_S:
            return
        self.shown = now
        rate = size / (now - self.started)
        if self.total:
            log.info(
                "%s: %d %%, %.1f MB/s, %d s left",
                self.url,
                100 * size // self.total,
                rate / 1e6,
                (self.total - size) / rate,
            )
        else:
            log.info("%s: %.1f MB, %.1f MB/s", self.url, size / 1e6, rate / 1e6)


def _sync_folder(path):
    handle = os.open(path, os.O_DIRECTORY)
    os.fsync(handle)
    os.close(handle)
