"""
Fetch an ISO, verified while it streams, published only as a whole.

What has come lies as ``NAME.part`` in a folder that nobody else may look into, beside a note
(``NAME.part.json``) of where it came from. A run that was killed is gone on with where it stopped,
after what is there was hashed again. Nothing gets its final name before all its digests are right.
"""

import contextlib
import errno
import fcntl
import hashlib
import json
import logging
import os
import queue
import re
import shutil
import threading
import time

from salt.exceptions import CommandExecutionError, SaltInvocationError

log = logging.getLogger(__name__)

__virtualname__ = "iso_fetch"

_CHUNK = 1 << 20
# Chunks that may wait for a hasher: the memory that a fetch takes.
_WAITING = 8
# What was written is sent to the disk in between, so that nothing is left to wait for in the end.
_FLUSH_BYTES = 16 << 20
_PROGRESS_EVERY_S = 10
_LONGEST_PAUSE_S = 60
_STARTED = "iso_fetch.started"


def __virtual__():
    return __virtualname__


def fetch(sources, path, checksum, staging, attempts=5, stall_timeout_s=60, to_be_claimed=False):
    """
    Fetch a file and publish it under its name once its digests are right.

    sources
        Addresses of the ISO (http, https, ftp, file), tried in order; or one address.

    path
        File name that it gets (absolute path).

    checksum
        Expected digests in hexadecimal, by algorithm: sha512, sha256, sha1, md5; all are checked.

    staging
        Folder on the same filesystem, closed to others, for the file while it is unverified.

    attempts
        How often a source is tried that breaks off without having brought anything new, with
        pauses of 1, 2, 4, ... seconds (at most 60) in between.

    stall_timeout_s
        Seconds without a byte, or with fewer than 1 KiB/s, after which a source counts as broken
        off.

    to_be_claimed : False
        Leave a note of where the file came from in the staging folder, for ``claim``.

    Returns a map: ``size`` (bytes), ``digests`` (those of ``checksum``, and always sha256),
    ``identity`` as of ``identity``, ``verified_at`` (seconds since 1970), ``source`` (address).

    Raises CommandExecutionError, naming each URL and the cause, when the file cannot be had whole
    or is not the expected one; ``path`` is then as it was.

    CLI Example:

    .. code-block:: bash

        salt 'netboot*' iso_fetch.fetch http://example.org/a.iso /srv/export/dist/a.iso \\
            '{sha256: ...}' /srv/export/.staging
    """
    started = __context__.get(_STARTED, {}).pop(path, None)
    job = started or _Job(
        __salt__["iso_sources.opener"](),
        [sources] if isinstance(sources, str) else sources,
        path,
        checksum,
        staging,
        attempts,
        stall_timeout_s,
    )
    name = os.path.basename(path)
    while not job.ended(_PROGRESS_EVERY_S):
        for one in progress(staging):
            if one["file"] == name and one["running"]:
                log.info("%s: %s", name, _in_words(one))
                _event(name, one)
    try:
        record = job.result()
    except CommandExecutionError as err:
        _event(name, {"file": name, "error": str(err)})
        raise
    _event(name, {"file": name, "size": record["size"], "percent": 100, "running": False})
    if not to_be_claimed:
        _unlink(_note_path(_part_path(staging, path)))
    return record


def claim(path, staging, record):
    """
    Put a verified ISO on record: as one that was fetched, if a run that published it was killed
    before it came to this.

    path, staging
        As for ``fetch`` with ``to_be_claimed``.

    record
        What ``fetch`` or ``digests`` returned.

    Returns the record.

    CLI Example:

    .. code-block:: bash

        salt 'netboot*' iso_fetch.claim /srv/export/dist/a.iso /srv/export/.staging '{...}'
    """
    part = _part_path(staging, path)
    note = _read_note(part)
    published = not os.path.lexists(part) and note.get("inode") == record["identity"]["inode"]
    if published:
        record = {"source": note["url"], **record}
    __salt__["netboot_records.write"]("isos", os.path.basename(path), record)
    if published:
        _unlink(_note_path(part))
    return record


def start(fetches, staging, at_once=4, attempts=5, stall_timeout_s=60):
    """
    Start to fetch several files at once, for calls of ``fetch`` in the same run to wait for.

    fetches
        List of maps with ``sources``, ``path`` and ``checksum``, as for ``fetch``.

    staging, attempts, stall_timeout_s
        As for ``fetch``.

    at_once
        How many files come at the same time; the others wait for their turn.

    The fetches end with the process that started them, so alone this is of no use.

    CLI Example:

    .. code-block:: bash

        salt 'netboot*' iso_fetch.start '[]' /srv/export/.staging
    """
    turn = threading.Semaphore(at_once)
    jobs = __context__.setdefault(_STARTED, {})
    for one in fetches:
        jobs[one["path"]] = _Job(
            __salt__["iso_sources.opener"](),
            one["sources"],
            one["path"],
            one["checksum"],
            staging,
            attempts,
            stall_timeout_s,
            turn,
        )


def is_started(path):
    """
    Say whether a fetch was started in this run that no call of ``fetch`` has waited for yet.

    path
        The file (absolute path).

    CLI Example:

    .. code-block:: bash

        salt 'netboot*' iso_fetch.is_started /srv/export/dist/a.iso
    """
    return path in __context__.get(_STARTED, {})


def progress(staging=None):
    """
    Tell how far fetches are, those of other runs on this machine too.

    staging
        The folder that was given to ``fetch``. Default: that of the applied configuration.

    Returns a list of maps: ``file``, ``url``, ``size`` (bytes that are there), ``total`` (bytes or
    None), ``percent``, ``rate`` (bytes a second since the source was opened), ``seconds_left``
    (these three may be None), ``running`` (False: left by a run that was killed or failed, and
    gone on with by the next).

    CLI Example:

    .. code-block:: bash

        salt 'netboot*' iso_fetch.progress
    """
    if staging is None:
        applied = __salt__["netboot_records.read"]("applied", "config")
        if not applied:
            raise CommandExecutionError("Nothing was applied on this machine yet; name the folder.")
        staging = os.path.join(applied["root"], ".staging")
    try:
        parts = sorted(name for name in os.listdir(staging) if name.endswith(".part"))
    except OSError as err:
        raise CommandExecutionError(f"{staging} cannot be read: {err.strerror}") from err
    found = (_progress_of(os.path.join(staging, part)) for part in parts)
    return [one for one in found if one]


def verify(path, checksum=None):
    """
    Hash a file and compare it with its expected digests.

    path
        The file (absolute path).

    checksum
        Expected digests in hexadecimal, by algorithm. Default: those with which it was verified
        last; when it is not that file any more, the next apply takes it out of service.

    Returns the same map as ``digests``. Raises CommandExecutionError when a digest differs or the
    file cannot be read.

    CLI Example:

    .. code-block:: bash

        salt 'netboot*' iso_fetch.verify /srv/export/dist/a.iso
    """
    if checksum is not None:
        found = digests(path, checksum)
        _compare(path, found["digests"], checksum)
        return found
    name = os.path.basename(path)
    record = __salt__["netboot_records.read"]("isos", name)
    if not record:
        raise CommandExecutionError(f"{path} was never verified; give its checksum.")
    found = digests(path, record["digests"])
    try:
        _compare(path, found["digests"], record["digests"])
    except CommandExecutionError:
        __salt__["netboot_records.remove"]("isos", name)
        raise
    return found


def digests(path, kinds):
    """
    Hash a file.

    path
        The file (absolute path).

    kinds
        Algorithms: sha512, sha256, sha1, md5. SHA-256 is always among them.

    Returns a map: ``size`` (bytes), ``digests``, ``identity`` as of ``identity``, ``verified_at``
    (seconds since 1970). Raises CommandExecutionError when the file cannot be read.

    CLI Example:

    .. code-block:: bash

        salt 'netboot*' iso_fetch.digests /srv/export/dist/a.iso '[sha512]'
    """
    before = identity(path)
    try:
        with open(path, "rb", buffering=0) as file, contextlib.closing(_Hashes(kinds)) as hashes:
            for chunk in iter(lambda: file.read(_CHUNK), b""):
                hashes.add(chunk)
            found = hashes.digests()
    except OSError as err:
        raise CommandExecutionError(f"{path} cannot be read: {err.strerror}") from err
    if before != identity(path):
        raise CommandExecutionError(f"{path} changed while it was read; apply again.")
    return {
        "size": before["size"],
        "digests": found,
        "identity": before,
        "verified_at": int(time.time()),
    }


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


# -- telling how far it is -----------------------------------------------------------------------


def _progress_of(part):
    """How far a part is, or None if it has just become whole."""
    try:
        found = os.stat(part)
    except FileNotFoundError:
        return None
    note = _read_note(part)
    size, total = found.st_size, note.get("total")
    rate = left = None
    running = _locked_by_anybody(found.st_ino)
    seconds = time.time() - note.get("started", 0)
    if running and note and seconds > 0:
        rate = max(0, size - note["from"]) / seconds
    if rate and total:
        left = int((total - size) / rate)
    return {
        "file": os.path.basename(part)[: -len(".part")],
        "url": _public(note.get("url", "")),
        "size": size,
        "total": total,
        "percent": 100 * size // total if total else None,
        "rate": int(rate) if rate else None,
        "seconds_left": left,
        "running": running,
    }


def _locked_by_anybody(inode):
    # proc_locks(5). Trying to lock the file would be in the way of a run that begins just now.
    with open("/proc/locks", encoding="ascii") as locks:
        return any(f":{inode} " in line for line in locks)


def _in_words(one):
    words = [f"{one['percent']} %" if one["total"] else f"{one['size'] / 1e6:.1f} MB"]
    if one["rate"]:
        words.append(f"{one['rate'] / 1e6:.1f} MB/s")
    if one["seconds_left"] is not None:
        words.append(f"{one['seconds_left']} s left")
    return ", ".join(words)


def _event(name, data):
    # Only a minion's own process has a bus at hand. salt-call would ask a master for each event,
    # and wait for one that is away.
    if __opts__.get("file_client") != "local" and __opts__.get("__cli") != "salt-call":
        __salt__["event.fire_master"](data, f"netboot/iso/{name}/fetch")


# -- fetching: from here on nothing of Salt's loader is used, as it runs in threads ---------------


class _Job:
    """A fetch in a thread of its own, which ends with the process whatever it is waiting for."""

    def __init__(self, open_source, sources, path, checksum, staging, attempts, stall_s, turn=None):
        if not checksum:
            raise SaltInvocationError("An ISO is never fetched without a checksum.")
        self._answer = None
        self._error = None
        self._thread = threading.Thread(
            target=self._run,
            args=(turn, open_source, sources, path, checksum, staging, attempts, stall_s),
            daemon=True,
        )
        self._thread.start()

    def _run(self, turn, *args):
        try:
            with turn or contextlib.nullcontext():
                self._answer = _fetch(*args)
        except BaseException as err:  # noqa: BLE001 (raised again where it is waited for)
            self._error = err

    def ended(self, timeout_s):
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def result(self):
        if self._error:
            raise self._error
        return self._answer


def _fetch(open_source, sources, path, checksum, staging, attempts, stall_s):
    problems = []
    try:
        with contextlib.closing(_Part(staging, path, checksum)) as part:
            for url in sources:
                try:
                    found = _from_source(part, open_source, url, checksum, attempts, stall_s)
                    part.publish(path)
                    return {
                        "size": part.size,
                        "digests": found,
                        "identity": identity(path),
                        "verified_at": int(time.time()),
                        "source": url,
                    }
                except CommandExecutionError as err:
                    problems.append(_public(str(err)))
                    log.warning("%s", problems[-1])
    except OSError as err:
        raise CommandExecutionError(
            f"{_public(' or '.join(sources))} cannot be kept as {path}: {err.strerror}."
        ) from err
    raise CommandExecutionError(" ".join(problems))


def _from_source(part, open_source, url, checksum, attempts, stall_s):
    """Digests of the whole and right file from one source; else CommandExecutionError."""
    for last in (False, True):
        gone_on = _receive_patiently(part, open_source, url, attempts, stall_s)
        found = part.digests()
        try:
            _compare(url, found, checksum)
            return found
        except CommandExecutionError as err:
            part.start_over()
            if last or not gone_on:
                raise
            # The bytes of an earlier run or of another mirror may be what is wrong.
            log.warning("%s It was gone on with; fetching all of it again.", _public(str(err)))
    return None


def _receive_patiently(part, open_source, url, attempts, stall_s):
    """Receive a file to its end; returns whether it was gone on with."""
    failed, furthest = 0, part.size
    while True:
        try:
            return _receive(part, open_source, url, stall_s)
        except ConnectionError as err:
            # A drip is given up, and that it went on a little is no reason to try it for ever.
            if part.size > furthest and not isinstance(err, ConnectionAbortedError):
                failed, furthest = 0, part.size
            failed += 1
            if failed >= attempts:
                raise CommandExecutionError(f"{url} cannot be fetched: {err}.") from err
            pause = min(2 ** (failed - 1), _LONGEST_PAUSE_S)
            log.warning("%s: %s; trying again in %d s.", _public(url), err, pause)
            time.sleep(pause)
        except (FileNotFoundError, CommandExecutionError) as err:
            raise CommandExecutionError(f"{url} cannot be fetched: {err}.") from err


def _receive(part, open_source, url, stall_s):
    """Receive what the part lacks; returns whether it had something before."""
    note = part.note
    same = note.get("url") == url
    if part.size and part.size == note.get("total") and same:
        return True
    validator = note.get("validator") if same else None
    source = open_source(url, part.size, validator, stall_timeout_s=stall_s)
    if source.start and source.total != note.get("total"):
        source.close()
        source = open_source(url, stall_timeout_s=stall_s)
    with contextlib.closing(source):
        if source.start != part.size:
            part.start_over()
        part.check_space(source.total)
        part.write_note(url, source.validator, source.total)
        for chunk in source.chunks:
            part.add(chunk)
            if source.total is not None and part.size > source.total:
                part.start_over()
                raise CommandExecutionError(
                    f"more than the {source.total} bytes came that it announced"
                )
    if source.total is not None and part.size < source.total:
        raise ConnectionError(f"it ended early, {part.size} of {source.total} bytes came")
    return source.start > 0


class _Part:
    """A file while it is unverified. What comes is written, hashed and put to disk side by side."""

    def __init__(self, staging, path, checksum):
        self._path = _part_path(staging, path)
        self._kinds = checksum
        self._file = _open_locked(self._path)
        self._disk = _Aside(lambda _: os.fdatasync(self._file.fileno()))
        self._hashes = _Hashes(checksum)
        self.size = self._flushed = 0
        self.note = _read_note(self._path)
        if self.note:
            for chunk in iter(lambda: self._file.read(_CHUNK), b""):
                self._hashes.add(chunk)
                self.size += len(chunk)
        else:
            self._file.truncate(0)

    def add(self, chunk):
        self._hashes.add(chunk)
        self.size += len(chunk)
        left = memoryview(chunk)
        try:
            while left:
                left = left[self._file.write(left) :]
        except OSError as err:
            if err.errno in (errno.ENOSPC, errno.EDQUOT):
                # A full disk hurts others too.
                self.start_over()
            raise
        if self.size - self._flushed >= _FLUSH_BYTES:
            self._flushed = self.size
            self._disk.put(None)

    def start_over(self):
        # The note goes first: a part without one is not gone on with.
        _unlink(_note_path(self._path))
        self._file.seek(0)
        self._file.truncate(0)
        self._hashes.close()
        self._hashes = _Hashes(self._kinds)
        self.note = {}
        self.size = self._flushed = 0

    def digests(self):
        return self._hashes.digests()

    def check_space(self, total):
        """Refuse what would not fit, together with what other fetches have still to bring."""
        if total is None:
            return
        folder = os.path.dirname(self._path)
        others = 0
        for name in os.listdir(folder):
            part = os.path.join(folder, name)
            one = _progress_of(part) if name.endswith(".part") and part != self._path else None
            if one and one["running"] and one["total"]:
                others += max(0, one["total"] - one["size"])
        free = max(0, shutil.disk_usage(folder).free - others)
        if total - self.size > free:
            raise CommandExecutionError(
                f"it has {total} bytes, and only {free} are free where {self._path} lies"
                + (f", which has {self.size} of them" if self.size else "")
            )

    def write_note(self, url, validator, total):
        self.note = {
            "url": url,
            "validator": validator,
            "total": total,
            "from": self.size,
            "started": time.time(),
            "inode": os.fstat(self._file.fileno()).st_ino,
        }
        path = _note_path(self._path)
        with open(path + ".new", "w", encoding="utf-8") as file:
            json.dump(self.note, file)
        os.replace(path + ".new", path)

    def publish(self, path):
        self._disk.close()
        os.fchmod(self._file.fileno(), 0o644)
        os.fsync(self._file.fileno())
        os.replace(self._path, path)
        handle = os.open(os.path.dirname(path), os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    def close(self):
        """Leave a part that can be gone on with, and no other."""
        with contextlib.suppress(OSError):
            self._disk.close()
        self._hashes.close()
        if not (self.size and self.note):
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.stat(self._path), os.fstat(self._file.fileno())):
                    _unlink(_note_path(self._path))
                    os.unlink(self._path)
        self._file.close()


def _open_locked(path):
    """Open a part that no other run has, for as long as it is open."""
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The run that had the lock before may just have published the file.
            if os.path.samestat(os.stat(path), os.fstat(handle)):
                return open(handle, "r+b", buffering=0)
        except BlockingIOError as err:
            os.close(handle)
            raise CommandExecutionError(
                f"{path} is being fetched by another run on this machine; wait for it."
            ) from err
        except FileNotFoundError:
            pass
        os.close(handle)


def _part_path(staging, path):
    return os.path.join(staging, os.path.basename(path) + ".part")


def _note_path(part):
    return part + ".json"


def _read_note(part):
    try:
        with open(_note_path(part), encoding="utf-8") as file:
            return json.load(file)
    except (FileNotFoundError, ValueError):
        return {}


def _public(text):
    """A text without the users and passwords that URLs in it may hold."""
    return re.sub(r"//[^/\s]*@", "//", text)


def _unlink(path):
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


# -- hashing --------------------------------------------------------------------------------------


class _Aside:
    """Does something to one thing after another, in a thread of its own."""

    def __init__(self, work):
        self._queue = queue.Queue(_WAITING)
        self._error = None
        self._thread = threading.Thread(target=self._run, args=(work,), daemon=True)
        self._thread.start()

    def _run(self, work):
        while True:
            ended, item = self._queue.get()
            if ended:
                return
            try:
                if not self._error:
                    work(item)
            except OSError as err:
                self._error = err

    def put(self, item):
        self._queue.put((False, item))

    def close(self):
        """Wait until all is done. Raises the OSError that it met."""
        if self._thread.is_alive():
            self._queue.put((True, None))
            self._thread.join()
        if self._error:
            raise self._error


class _Hashes:
    """Several digests of the same bytes, each computed in a thread (hashlib releases the GIL)."""

    def __init__(self, kinds):
        # SHA-256 is always wanted: `hash=` on the command line of ALT's first stage takes no other.
        self._hashers = {kind: hashlib.new(kind) for kind in {"sha256", *kinds}}
        self._asides = [_Aside(hasher.update) for hasher in self._hashers.values()]

    def add(self, chunk):
        for aside in self._asides:
            aside.put(chunk)

    def digests(self):
        self.close()
        return {kind: hasher.hexdigest() for kind, hasher in self._hashers.items()}

    def close(self):
        for aside in self._asides:
            aside.close()


def _compare(what, found, checksum):
    for kind, wanted in sorted(checksum.items()):
        if found[kind] != wanted.lower():
            raise CommandExecutionError(
                f"{what} is not the expected file: its {kind} is {found[kind]}, "
                f"not {wanted.lower()}."
            )
