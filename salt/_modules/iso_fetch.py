"""
Inspect the ISOs on a netboot server: the progress of fetches, and the digests of files.
"""

from salt.exceptions import CommandExecutionError

import netboot_fresh

netboot_fresh.forget_old()

import iso_download
import iso_hashes
import netboot_checks
from netboot_names import DIGEST_DIGITS
from netboot_records import Records

__virtualname__ = "iso_fetch"


def __virtual__():
    return __virtualname__


def _records():
    return Records.of(__opts__, __context__)


def _check(checksum):
    """Raise CommandExecutionError unless these are digests by algorithm."""
    if not isinstance(checksum, dict) or not checksum:
        raise CommandExecutionError("checksum: must be a map, such as {sha256: 0123...}.")
    for kind, digest in checksum.items():
        if kind not in DIGEST_DIGITS:
            known = ", ".join(DIGEST_DIGITS)
            raise CommandExecutionError(f"checksum: {kind!r} is not one of {known}.")
        if wrong := netboot_checks.digest(DIGEST_DIGITS[kind])(digest):
            raise CommandExecutionError(f"checksum:{kind}: {wrong}.")


def progress(staging=None):
    """
    List the progress of fetches, including those of other runs on this machine.

    staging : None
        The directory for half-fetched files. Default: that of the applied configuration.

    Returns a list of maps: ``file``, ``url``, ``size`` (bytes so far), ``total`` (bytes or None),
    ``percent``, ``rate`` (bytes a second since the source was opened), ``seconds_left`` (these
    three may be None), ``running`` (False: left by a killed or failed run; the next run resumes
    it).

    Raises CommandExecutionError when nothing was applied to this machine yet.

    CLI Example:

    .. code-block:: bash

        salt 'netboot*' iso_fetch.progress
    """
    return iso_download.running(staging or _records().config()["paths"]["staging"])


def verify(path, checksum=None):
    """
    Hash a file and compare it with its expected digests.

    path
        The file (absolute path).

    checksum : None
        Expected digests in hexadecimal, by algorithm (sha512, sha256, sha1, md5). Default: the
        digests of its last verification; if they no longer match, the next apply takes the file
        out of service.

    Returns a map: ``size`` (bytes), ``digests``, ``identity`` (``mtime_ns``, ``ctime_ns``,
    ``inode``) and ``verified_at`` (seconds since 1970).

    Raises CommandExecutionError when a digest differs, ``checksum`` is not such a map, or the file
    cannot be read.

    CLI Example:

    .. code-block:: bash

        salt 'netboot*' iso_fetch.verify /srv/export/dist/alt-server-11.0-x86_64.iso
    """
    if checksum is not None:
        _check(checksum)
        found = iso_hashes.digests(path, checksum)
        iso_hashes.compare(path, found["digests"], checksum)
        return found
    records = _records()
    record = records.iso(path)
    if not record:
        raise CommandExecutionError(f"{path} was never verified; pass its checksum.")
    found = iso_hashes.digests(path, record["digests"])
    try:
        iso_hashes.compare(path, found["digests"], record["digests"])
    except CommandExecutionError:
        records.remove_iso(path)
        raise
    return found
