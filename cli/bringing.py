"""
ISOs for machines over ssh that have no internet: fetched by this host, sent through the connection.

Each is looked for or fetched when the first machine asks for it, and sent while it still comes in.
Machines compare digests themselves; this host does so too, so that it never keeps a wrong one.
"""

import contextlib
import fcntl
import http.server
import json
import os
import re
import sys
import threading
import time
import zlib
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "salt/_utils"))

import iso_hashes
import iso_sums
import netboot_files
from iso_download import Fetches, How
from iso_part import part_path, read_note
from netboot_names import CONTROLLER, has_digests, shown
from netboot_paths import STATE_DIR
from netboot_records import Records

from .asking import AskError
from .words import size

FOLDER = Path(".cache/isos")
_PIECE = 1 << 18
# Less than the time after which a machine takes a source for stalled, see fetch.stall_timeout_s.
_PATIENCE_S = 20
_POLL_S = 0.1
_ATTEMPTS, _STALL_S = 5, 60


def wanted(asker):
    """Return the images whose ISOs this host brings to machines, by file name."""
    try:
        answers = asker.ask("netboot.config")
    except AskError as err:
        answers = err.answers  # the apply says what is wrong with the others
    images = {}
    for answer in answers.values():
        config = answer.get("config") if isinstance(answer, dict) else None
        for image in config["images"] if config else ():
            if not image.get("controller"):
                continue
            other = images.setdefault(image["file"], image)
            if any(other[key] != image[key] for key in ("checksum", "sums")):
                raise AskError(
                    f"{image['file']} is not the same ISO on all of these machines, by their "
                    "checksums: apply the states to one after another."
                )
    return images


class Iso:
    """
    An ISO that machines may ask for.

    folder
        Where it is kept.

    image
        Of a configuration: ``file``, ``controller``, ``checksum``, ``sums``.
    """

    def __init__(self, folder, image):
        self._folder, self._image = folder, image
        self._staging = folder / ".staging"
        self._lock, self._thread, self._checksum = threading.Lock(), None, None
        self.path = None  # once it is verified
        self.problem = ""
        self.fetched = self.sent = 0  # bytes

    def start(self):
        """Look for it or fetch it, once."""
        with self._lock:
            if not self._thread:
                self._thread = threading.Thread(target=self._bring, daemon=True)
                self._thread.start()

    def checksum(self):
        """Its digests: those of the pillar, or that of its sum file."""
        if not self._checksum:
            image = self._image
            self._checksum = (
                image["checksum"]
                or iso_sums.expected(self._sources(), _STALL_S, file=image["file"])["checksum"]
            )
        return self._checksum

    def _sources(self):
        # The path of a file: URL is one of the machine.
        return [url for url in self._image["controller"] if not url.startswith("file:")]

    def _bring(self):
        file = self._image["file"]
        try:
            # Another ./netboot ssh may fetch it.
            with (self._staging / f"{file}.lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                self.path = self._verified() or self._fetch()
        except Exception as err:  # noqa: BLE001 (machines are told, whatever it is)
            self.problem = shown(str(err))
            print(f"netboot: {file} cannot be sent: {self.problem}", file=sys.stderr)

    def _verified(self):
        """Return the path of the verified ISO on this host, or None."""
        file, records = self._image["file"], Records(str(self._folder / ".records"))
        for folder in (str(self._folder), _served()):
            path = os.path.join(folder, file)
            identity = netboot_files.identity(path)
            if not identity:
                continue
            known = records.iso(file)
            if not known or known["identity"] != identity:
                known = iso_hashes.digests(path, self.checksum())
            if has_digests(known["digests"], self.checksum()):
                records.write_iso(file, known)
                return path
        return None

    def _fetch(self):
        path = str(self._folder / self._image["file"])
        before = _size(part_path(str(self._staging), path))
        if not self._sources():
            raise AskError("it has no URL that this host could fetch it from")
        fetches = Fetches(How(str(self._staging), _ATTEMPTS, _STALL_S), {})
        record = fetches.fetch(self._sources(), path, self.checksum())
        self.fetched = record["size"] - before
        del record["skipped"], record["reused"]
        Records(str(self._folder / ".records")).write_iso(self._image["file"], record)
        return path

    def at_hand(self):
        """Return path and size of what can be sent by now, or None."""
        if self.path:
            return self.path, os.stat(self.path).st_size
        part = part_path(str(self._staging), self._image["file"])
        total = read_note(part).get("total")
        return (part, total) if total and os.path.exists(part) else None

    def awaited(self, patience_s):
        """The same; waits for it so many seconds."""
        until = time.monotonic() + patience_s
        while not self.problem and time.monotonic() < until:
            if found := self.at_hand():
                return found
            time.sleep(_POLL_S)
        return None

    def is_growing(self):
        """Whether more of it may come."""
        return self._thread is not None and self._thread.is_alive()


def _size(path):
    return os.stat(path).st_size if os.path.exists(path) else 0


def _served():
    """The directory in which this host has ISOs, if it is a netboot server."""
    try:
        return Records(STATE_DIR).config()["paths"]["dist"]
    except Exception:  # noqa: BLE001 (it is none, or this user may not read its records)
        return "/srv/export/dist"


class _Handler(http.server.BaseHTTPRequestHandler):
    """One file each; what is not in ``isos`` is not there."""

    protocol_version = "HTTP/1.1"

    def do_HEAD(self):
        self._answer(body=False)

    def do_GET(self):
        self._answer(body=True)

    def _answer(self, body):
        self.close_connection = True
        name, isos = self.path.lstrip("/"), self.server.isos
        if name in iso_sums.FILES:
            self._sums(iso_sums.FILES[name], body)
        elif name not in isos:
            self.send_error(404)
        elif body:
            self._send(isos[name])
        else:
            found = isos[name].path and os.stat(isos[name].path).st_size
            self._head(200, {} if found is None else {"Content-Length": found})

    def _head(self, status, headers):
        self.send_response(status)
        for key, value in {"Connection": "close", **headers}.items():
            self.send_header(key, str(value))
        self.end_headers()

    def _sums(self, kind, body):
        """A sum file, for images that have their digests from one."""
        lines = []
        for file, iso in self.server.isos.items():
            with contextlib.suppress(Exception):  # the machine says that it lacks the line
                if digest := iso.checksum().get(kind):
                    lines.append(f"{digest}  {file}\n")
        if not lines:
            self.send_error(404)
            return
        text = "".join(lines).encode()
        self._head(200, {"Content-Type": "text/plain", "Content-Length": len(text)})
        if body:
            self.wfile.write(text)

    def _send(self, iso):
        iso.start()
        found = iso.awaited(_PATIENCE_S)
        if not found:
            # 503: it may come later.
            status, why = (409, iso.problem) if iso.problem else (503, "not there yet")
            self.send_response(status, re.sub(r"[^ -~]+", " ", why)[:500])
            self._head_end()
            return
        path, total = found
        tag = '"{}"'.format("-".join(iso.checksum().values()))
        asked = re.fullmatch(r"bytes=([0-9]{1,18})-", self.headers.get("Range") or "")
        start = int(asked[1]) if asked and self.headers.get("If-Range") in (None, tag) else 0
        if start >= total and start:
            self._head(416, {"Content-Range": f"bytes */{total}", "Content-Length": 0})
            return
        headers = {"Content-Type": "application/octet-stream", "ETag": tag}
        headers["Content-Length"] = total - start
        if start:
            headers["Content-Range"] = f"bytes {start}-{total - 1}/{total}"
        try:
            # Its part, too, is this file when it has its name.
            with open(path, "rb", buffering=0) as file:
                self._head(206 if start else 200, headers)
                self._stream(iso, file, start, total)
        except OSError:
            return  # it hung up, or will ask once more

    def _head_end(self):
        for key, value in (("Content-Length", "0"), ("Connection", "close")):
            self.send_header(key, value)
        self.end_headers()

    def _stream(self, iso, file, at, total):
        file.seek(at)
        while at < total:
            ended = not iso.is_growing()
            piece = file.read(min(_PIECE, total - at))
            if piece:
                self.wfile.write(piece)
                at += len(piece)
                iso.sent += len(piece)
            elif ended or os.fstat(file.fileno()).st_size < at:
                return  # it ends early: the source was wrong, and is fetched from its start
            else:
                time.sleep(_POLL_S)

    def log_message(self, *args):
        """Nothing: machines say what is wrong."""


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        """Nothing: a machine that hung up."""


@contextlib.contextmanager
def served(images, folder=FOLDER):
    """
    Serve ISOs on this host's loopback while the block runs.

    images
        What ``wanted`` returns.

    Yields the port. It is the same each time, if that is free: so a machine asks the same URL when
    it resumes.
    """
    (folder / ".staging").mkdir(parents=True, exist_ok=True, mode=0o700)
    isos = {file: Iso(folder, image) for file, image in images.items()}
    usual = 20000 + zlib.crc32(str(folder.resolve()).encode()) % 10000
    try:
        server = _Server(("127.0.0.1", usual), _Handler)
    except OSError:
        server = _Server(("127.0.0.1", 0), _Handler)
    server.isos = isos
    thread = threading.Thread(target=server.serve_forever, args=(_POLL_S,), daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        for file, iso in isos.items():
            if iso.sent:
                done = f"{size(iso.fetched)} fetched by this host, {size(iso.sent)} sent"
                print(f"netboot: {file}: {done}", file=sys.stderr)


def words_for(port, words):
    """The words of state.apply, with those that send the port along and say where it is."""
    import yaml  # noqa: PLC0415 (only here)

    given = [word for word in words if word.startswith("pillar=")]
    pillar = {}
    for word in given:
        pillar.update(yaml.safe_load(word.partition("=")[2]) or {})
    pillar[CONTROLLER] = f"http://127.0.0.1:{port}"
    return [
        f"--remote-port-forwards={port}:127.0.0.1:{port}",
        *(word for word in words if word not in given),
        f"pillar={json.dumps(pillar)}",
    ]
