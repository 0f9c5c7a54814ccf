"""Fetching: the final name has the verified file or what it had before, and staging is clean."""

import fcntl
import hashlib
import http.server
import socketserver
import threading

import pytest
from salt.exceptions import CommandExecutionError, SaltInvocationError

BODY = bytes(range(256)) * 10000
DIGESTS = {
    kind: hashlib.new(kind, BODY).hexdigest() for kind in ("sha512", "sha256", "sha1", "md5")
}


@pytest.fixture
def folders(tmp_path):
    staging, dist = tmp_path / "staging", tmp_path / "dist"
    staging.mkdir(mode=0o700)
    dist.mkdir()
    return staging, dist


@pytest.fixture
def fetch(modules, folders):
    staging, dist = folders

    def _fetch(url, checksum=None):
        return modules.iso_fetch.fetch(
            url, str(dist / "a.iso"), {"sha256": DIGESTS["sha256"]} | (checksum or {}), str(staging)
        )

    return _fetch


def test_fetched_and_verified(web, fetch, folders):
    (web.folder / "a.iso").write_bytes(BODY)
    fetched = fetch(f"{web.url}/a.iso", DIGESTS)
    staging, dist = folders
    assert (dist / "a.iso").read_bytes() == BODY
    assert (dist / "a.iso").stat().st_mode & 0o777 == 0o644
    assert fetched["size"] == len(BODY)
    assert fetched["digests"] == DIGESTS
    assert list(staging.iterdir()) == []


def test_sha256_is_recorded_whatever_the_pillar_gives(web, modules, folders):
    (web.folder / "a.iso").write_bytes(BODY)
    staging, dist = folders
    fetched = modules.iso_fetch.fetch(
        f"{web.url}/a.iso", str(dist / "a.iso"), {"md5": DIGESTS["md5"]}, str(staging)
    )
    assert fetched["digests"]["sha256"] == DIGESTS["sha256"]


def test_no_checksum_is_refused(modules, folders):
    staging, dist = folders
    with pytest.raises(SaltInvocationError):
        modules.iso_fetch.fetch("http://127.0.0.1:9/a.iso", str(dist / "a.iso"), {}, str(staging))


@pytest.mark.parametrize("kind", DIGESTS)
def test_wrong_digest_names_both_and_publishes_nothing(web, fetch, folders, kind):
    (web.folder / "a.iso").write_bytes(BODY)
    wrong = "0" * len(DIGESTS[kind])
    with pytest.raises(CommandExecutionError) as raised:
        fetch(f"{web.url}/a.iso", {kind: wrong})
    assert wrong in str(raised.value)
    assert DIGESTS[kind] in str(raised.value)
    staging, dist = folders
    assert list(dist.iterdir()) == []
    assert list(staging.iterdir()) == []


def test_old_file_stays_when_its_successor_is_wrong(web, fetch, folders):
    (web.folder / "a.iso").write_bytes(b"<html>not found</html>")
    staging, dist = folders
    (dist / "a.iso").write_bytes(b"old")
    with pytest.raises(CommandExecutionError):
        fetch(f"{web.url}/a.iso")
    assert (dist / "a.iso").read_bytes() == b"old"


def test_missing_file(web, fetch):
    with pytest.raises(CommandExecutionError, match=r"a\.iso cannot be fetched: 404"):
        fetch(f"{web.url}/a.iso")


def test_nobody_listens(fetch):
    with pytest.raises(CommandExecutionError, match="cannot be fetched: .*refused"):
        fetch("http://127.0.0.1:9/a.iso")


class EndsEarly(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(BODY[:100000])

    def log_message(self, *args):
        pass


def test_source_that_ends_early(fetch, folders):
    with socketserver.TCPServer(("127.0.0.1", 0), EndsEarly) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        with pytest.raises(CommandExecutionError, match="a.iso"):
            fetch(f"http://127.0.0.1:{server.server_address[1]}/a.iso")
        thread.join()
    staging, dist = folders
    assert list(dist.iterdir()) == []
    assert list(staging.iterdir()) == []


class TooLarge(EndsEarly):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", str(10**17))
        self.end_headers()


def test_no_room(fetch):
    with socketserver.TCPServer(("127.0.0.1", 0), TooLarge) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        with pytest.raises(CommandExecutionError, match="has 100000000000000000 bytes, and only"):
            fetch(f"http://127.0.0.1:{server.server_address[1]}/a.iso")
        thread.join()


def test_part_of_a_killed_run_is_started_over(web, fetch, folders):
    (web.folder / "a.iso").write_bytes(BODY)
    staging, dist = folders
    (staging / "a.iso.part").write_bytes(b"half")
    fetch(f"{web.url}/a.iso")
    assert (dist / "a.iso").read_bytes() == BODY
    assert list(staging.iterdir()) == []


def test_second_fetch_at_the_same_time_is_refused(web, fetch, folders):
    (web.folder / "a.iso").write_bytes(BODY)
    staging, _dist = folders
    with open(staging / "a.iso.part", "wb") as part:
        fcntl.flock(part, fcntl.LOCK_EX)
        with pytest.raises(CommandExecutionError, match="being fetched by another run"):
            fetch(f"{web.url}/a.iso")


def test_verify(modules, tmp_path):
    path = tmp_path / "a.iso"
    path.write_bytes(BODY)
    assert modules.iso_fetch.verify(str(path), DIGESTS)["digests"] == DIGESTS
    with pytest.raises(CommandExecutionError, match="is not the expected file"):
        modules.iso_fetch.verify(str(path), {"md5": "0" * 32})
