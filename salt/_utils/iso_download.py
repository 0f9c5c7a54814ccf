"""
Fetch ISOs: verified while they stream, published only when complete, several at once, resumed after
a kill. No file gets its final name before all its digests match.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
import time
from typing import Any, Callable, NamedTuple, cast

from salt.exceptions import CommandExecutionError, SaltInvocationError

import iso_delta
import netboot_files
import netboot_proxy
from iso_choice import Choice
from iso_coming import Coming
from iso_hashes import compare
from iso_part import Part, in_words, note_path, part_path, progress, read_note, unlink
from iso_sources import open_source
from iso_wire import MIN_RATE, TIMED_OUT
from netboot_names import shown
from netboot_records import Records
from netboot_shapes import Config, IsoRecord

log = logging.getLogger(__name__)

_PROGRESS_EVERY_S = 10
# On a terminal, such as that of salt-call.
_SHOWN_EVERY_S = 1
_LONGEST_PAUSE_S = 60
# Of a source that is not the last one: when it goes away, the next one continues after seconds.
_HURRIED_TRIES = 3
_HURRIED_PAUSE_S = 1
_HURRIED_STALL_S = 8
_STARTED = "iso_download.started"


class How(NamedTuple):
    """
    How ISOs are fetched.

    ``staging``
        Directory on the same file system, closed to others, for unverified files.
    ``attempts``
        How often a source is tried that fails without delivering anything new, with pauses of
        1, 2, 4, ... seconds (at most 60) in between.
    ``stall_timeout_s``
        Seconds without data, or with less than 1 KiB/s, after which a source counts as failed.
    ``coming``
        What shows clients how far the fetches are, or None.
    ``choose``
        Returns the ``Choice`` among the sources of a file, given these, its path and digests.
    ``seeds``
        Returns paths of older revisions of a file, given its path; None: there are no deltas.
    """

    staging: str
    attempts: int
    stall_timeout_s: int
    coming: Coming | None = None
    choose: Callable[[list[str], str, dict[str, str]], Choice] = lambda sources, *_: Choice(sources)
    seeds: Callable[[str], list[str]] | None = None


class Fetches:
    """
    The fetches of a run.

    how
        See ``How``.

    context
        The ``__context__`` of the run, which holds the fetches that were started.
    """

    def __init__(self, how: How, context: Any) -> None:
        self._how = how
        self._started: dict[str, _Job] = context.setdefault(_STARTED, {})

    @classmethod
    def of(
        cls,
        config: Config,
        context: Any,
        choose: Callable[[list[str], str, dict[str, str]], Choice] | None = None,
        seeds: Callable[[str], list[str]] | None = None,
    ) -> Fetches:
        """
        Return the fetches of a run.

        config
            The configuration.

        context
            See the class.

        choose, seeds : None
            See ``How``.
        """
        netboot_proxy.use(config)
        fetch = config["fetch"]
        staging = config["paths"]["staging"]
        mirrors = [url for image in config["images"] for url in image.get("mirrors", [])]
        how = How(
            staging,
            fetch["attempts"],
            fetch["stall_timeout_s"],
            Coming(config),
            choose or (lambda sources, *_: Choice(sources, mirrors)),
            seeds if config.get("deltas") else None,
        )
        return cls(how, context)

    def start(self, fetches: list[dict[str, Any]], at_once: int) -> None:
        """
        Start fetching several files at once; calls of ``fetch`` in the same run wait for them.

        The fetches end with the process that started them.

        fetches
            Maps with ``sources``, ``path`` and ``checksum``, see ``fetch``.

        at_once
            How many run at the same time; the others wait for their turn.
        """
        turn = threading.Semaphore(at_once)
        for one in fetches:
            self._started[one["path"]] = _Job(
                one["sources"], one["path"], one["checksum"], self._how, turn
            )

    def is_started(self, path: str) -> bool:
        """
        Return whether this run has started a fetch that no call of ``fetch`` has waited for yet.

        path
            The file.
        """
        return path in self._started

    def fetch(
        self, sources: list[str], path: str, checksum: dict[str, str], to_be_claimed: bool = False
    ) -> IsoRecord:
        """
        Fetch a file and publish it under its name once its digests match.

        sources
            Its URLs (http, https, ftp, file), tried in order.

        path
            Its final name (absolute path).

        checksum
            Expected digests in hexadecimal, by algorithm: sha512, sha256, sha1, md5; all are
            checked.

        to_be_claimed : False
            Leave a note of the file's source in the staging directory, for ``claim``.

        Returns the record of the file, with ``skipped``: what was wrong with sources before the
        last one, and ``reused``: what a delta saved, in words, or an empty string.

        Raises CommandExecutionError, with each URL and the cause, when the file cannot be
        downloaded completely or is not the expected file; ``path`` is then unchanged.
        """
        job = self._started.pop(path, None) or _Job(sources, path, checksum, self._how)
        name = os.path.basename(path)
        part = part_path(self._how.staging, path)
        terminal = sys.stderr if sys.stderr and sys.stderr.isatty() else None
        while not job.ended(_SHOWN_EVERY_S if terminal else _PROGRESS_EVERY_S):
            one = progress(part)
            if not one or not one["running"]:
                continue
            if terminal:
                print(f"\r{name}: {in_words(one)}\033[K", end="", file=terminal, flush=True)
            else:
                log.info("%s: %s", name, in_words(one))
        if terminal:
            print("\r\033[K", end="", file=terminal, flush=True)
        record = job.result()
        if not to_be_claimed:
            unlink(note_path(part))
        return record


def claim(records: Records, path: str, staging: str, record: IsoRecord) -> None:
    """
    Put a verified ISO on record: as fetched by these states, if a run was killed after publishing
    it and before recording it.

    records
        The records of this machine.

    path, staging
        See ``Fetches.fetch`` with ``to_be_claimed``, and ``How``.

    record
        The result of ``Fetches.fetch`` or ``iso_hashes.digests``.
    """
    part = part_path(staging, path)
    note = read_note(part)
    identity = record["identity"] or {}
    published = not os.path.lexists(part) and note.get("inode") == identity.get("inode")
    if published:
        record = cast("IsoRecord", {"source": note["url"], **record})
    records.write_iso(path, record)
    if published:
        unlink(note_path(part))


def running(staging: str) -> list[dict[str, Any]]:
    """
    List the progress of fetches, including those of other runs on this machine, see
    ``iso_fetch.progress``.

    staging
        See ``How``.
    """
    try:
        parts = sorted(name for name in os.listdir(staging) if name.endswith(".part"))
    except FileNotFoundError:
        return []
    except OSError as err:
        raise CommandExecutionError(f"{staging} cannot be read: {err.strerror}") from err
    found = (progress(os.path.join(staging, part)) for part in parts)
    return [one for one in found if one]


# -- fetching, in threads -------------------------------------------------------------------------


class _Job:
    """A fetch in its own thread, which ends with the process whatever it is waiting for."""

    def __init__(
        self,
        sources: list[str],
        path: str,
        checksum: dict[str, str],
        how: How,
        turn: threading.Semaphore | None = None,
    ) -> None:
        if not checksum:
            raise SaltInvocationError("An ISO is never fetched without a checksum.")
        self._answer: IsoRecord | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(
            target=self._run,
            args=(turn, sources, path, checksum, how),
            daemon=True,
        )
        self._thread.start()

    def _run(
        self,
        turn: threading.Semaphore | None,
        sources: list[str],
        path: str,
        checksum: dict[str, str],
        how: How,
    ) -> None:
        try:
            with turn or contextlib.nullcontext():
                self._answer = _fetch(sources, path, checksum, how)
        except BaseException as err:  # noqa: BLE001 (raised again by result)
            self._error = err
        finally:
            if how.coming:
                how.coming.show()

    def ended(self, timeout_s: float) -> bool:
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def result(self) -> IsoRecord:
        if self._error:
            raise self._error
        return cast("IsoRecord", self._answer)


def _fetch(sources: list[str], path: str, checksum: dict[str, str], how: How) -> IsoRecord:
    problems: list[str] = []
    choice = how.choose(sources, path, checksum)
    record: IsoRecord | None = None
    try:
        with contextlib.closing(Part(how.staging, path, checksum)) as part:
            while url := choice.next():
                try:
                    seeds = how.seeds(path) if how.seeds and choice.is_mirror(url) else []
                    found, reused = _from_source(part, url, checksum, how, choice.others(), seeds)
                    part.publish(path)
                    record = {
                        "size": part.size,
                        "digests": found,
                        "identity": netboot_files.identity(path),
                        "verified_at": int(time.time()),
                        "source": url,
                    }
                    return cast("IsoRecord", {**record, "skipped": problems, "reused": reused})
                except CommandExecutionError as err:
                    problems.append(shown(str(err)))
                    log.warning("%s", problems[-1])
    except OSError as err:
        raise CommandExecutionError(
            f"{shown(' or '.join(sources))} cannot be saved as {path}: {err.strerror}."
        ) from err
    finally:
        choice.ended(record)
    if not problems:
        name = os.path.basename(path)
        problems = [f"none of the servers that netboot:fetch:from lets it ask has {name}."]
    raise CommandExecutionError(" ".join(problems))


def _from_source(
    part: Part,
    url: str,
    checksum: dict[str, str],
    how: How,
    others: bool,
    seeds: list[str],
) -> tuple[dict[str, str], str]:
    """
    Return the digests of the complete, correct file from a source, or raise an error; and what was
    reused of older revisions.

    ``others``: whether another source could continue; ``seeds``: older revisions.
    """
    again = False
    while True:
        reused = None
        if seeds and not part.size and not again:
            # By it other servers of the site see that this one goes on.
            show = how.coming.show_sometimes if how.coming else lambda: None
            reused = iso_delta.receive(part, url, seeds, how.staging, how.stall_timeout_s, show)
        resumed = bool(reused) or _receive_patiently(part, url, how, others)
        found = part.digests()
        try:
            compare(url, found, checksum)
            return found, reused or ""
        except CommandExecutionError as err:
            part.start_over()
            if again or not resumed:
                raise
            # The bytes of an earlier run or of another mirror may be wrong.
            log.warning(
                "%s The resumed download was wrong; fetching it from the start.", shown(str(err))
            )
            again = True


def _receive_patiently(part: Part, url: str, how: How, others: bool) -> bool:
    """Receive a file to its end; return whether it was resumed."""
    failed, furthest, since = 0, part.size, time.monotonic()
    tries = min(how.attempts, _HURRIED_TRIES) if others else how.attempts
    stall_s = min(how.stall_timeout_s, _HURRIED_STALL_S) if others else how.stall_timeout_s
    while True:
        try:
            return _receive(part, url, how, stall_s, others)
        except ConnectionError as err:
            # A source that is too slow counts as failed, even if it delivered a little: also one
            # that breaks off after each byte.
            enough = MIN_RATE * (time.monotonic() - since)
            if part.size - furthest > enough and not isinstance(err, ConnectionAbortedError):
                failed, furthest, since = 0, part.size, time.monotonic()
            failed += 1
            silent = str(err) == TIMED_OUT or isinstance(err, ConnectionAbortedError)
            if failed >= tries or (silent and others):
                raise CommandExecutionError(f"{url} cannot be fetched: {err}.") from err
            pause = _HURRIED_PAUSE_S if others else min(2 ** (failed - 1), _LONGEST_PAUSE_S)
            log.warning("%s: %s; trying again in %d s.", shown(url), err, pause)
            time.sleep(pause)
        except (FileNotFoundError, CommandExecutionError) as err:
            raise CommandExecutionError(f"{url} cannot be fetched: {err}.") from err


def _receive(part: Part, url: str, how: How, stall_s: int, others: bool) -> bool:
    """Receive what the part lacks; return whether it had some bytes before."""
    note = part.note
    same = note.get("url") == url
    if part.size and part.size == note.get("total") and same:
        return True
    validator = note.get("validator") if same else None
    source = open_source(url, stall_s, part.size, validator)
    if source.start and source.total != note.get("total"):
        source.close()
        if others:
            # Of two revisions one is stale, perhaps this one: the last source decides.
            raise CommandExecutionError(
                f"it has {source.total} bytes, but what was received before is of a file with "
                f"{note.get('total')}"
            )
        source = open_source(url, stall_s)
    with contextlib.closing(source):
        if source.start != part.size:
            part.start_over()
        part.check_space(source.total)
        part.write_note(url, source.validator, source.total)
        for chunk in source.chunks:
            part.add(chunk)
            if how.coming:
                how.coming.show_sometimes()
            if source.total is not None and part.size > source.total:
                part.start_over()
                raise CommandExecutionError(
                    f"the server sent more than the {source.total} bytes that it announced"
                )
    if source.total is not None and part.size < source.total:
        raise ConnectionError(f"it ended early, after {part.size} of {source.total} bytes")
    return source.start > 0
