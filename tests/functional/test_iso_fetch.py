"""
Fetching: whatever a source does and whenever a run is killed, the final name has the verified file
or what it had before, and a later run converges.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import random
import re
import shutil
import subprocess
import sys
import threading
import time

import pytest
from salt.exceptions import CommandExecutionError, SaltInvocationError

from iso_download import Fetches, How
from tests.conftest import CHECKOUT

from .sources import BadFtp, BadWeb, serving

BODY = random.Random(1).randbytes(6_000_000)  # noqa: S311 (any bytes will do)
DIGESTS = {
    kind: hashlib.new(kind, BODY).hexdigest() for kind in ("sha512", "sha256", "sha1", "md5")
}
OTHER = BODY[:3_000_000] + b"another release" + BODY[3_000_015:]
HALF = {"cut": 3_000_000}


def fetches(staging, attempts=5, stall_timeout_s=60):
    """The fetches of a run."""
    return Fetches(How(str(staging), attempts, stall_timeout_s), {})


@pytest.fixture
def staging(tmp_path):
    folder = tmp_path / "staging"
    folder.mkdir(mode=0o700)
    return folder


@pytest.fixture
def iso(tmp_path):
    (tmp_path / "dist").mkdir()
    return tmp_path / "dist/a.iso"


@pytest.fixture
def bad():
    with serving(BadWeb()) as server:
        server.files["/a.iso"] = BODY
        server.tags["/a.iso"] = '"1"'
        yield server


@pytest.fixture
def ftp():
    with serving(BadFtp()) as server:
        server.files["p11/a.iso"] = BODY
        yield server


@pytest.fixture
def fetch(staging, iso):
    def _fetch(*sources, checksum=None, attempts=1, stall_timeout_s=60, **more):
        return fetches(staging, attempts, stall_timeout_s).fetch(
            list(sources), str(iso), checksum or {"sha256": DIGESTS["sha256"]}, **more
        )

    return _fetch


@pytest.fixture
def refused(fetch):
    """Fetch what must not come, and return why not."""

    def _refused(*sources, **more):
        with pytest.raises(CommandExecutionError) as raised:
            fetch(*sources, **more)
        return str(raised.value)

    return _refused


def test_fetched_and_verified(bad, fetch, iso, staging):
    fetched = fetch(f"{bad.url}/a.iso", checksum=DIGESTS)
    assert iso.read_bytes() == BODY
    assert iso.stat().st_mode & 0o777 == 0o644
    assert fetched["size"] == len(BODY)
    assert fetched["digests"] == DIGESTS
    assert list(staging.iterdir()) == []


def test_sha256_is_recorded_whatever_the_pillar_gives(bad, fetch):
    fetched = fetch(f"{bad.url}/a.iso", checksum={"md5": DIGESTS["md5"]})
    assert fetched["digests"]["sha256"] == DIGESTS["sha256"]


def test_no_checksum_is_refused(iso, staging):
    with pytest.raises(SaltInvocationError):
        fetches(staging).fetch(["http://127.0.0.1:9/a.iso"], str(iso), {})


@pytest.mark.parametrize("kind", DIGESTS)
def test_wrong_digest_names_both_and_publishes_nothing(bad, refused, iso, staging, kind):
    wrong = "0" * len(DIGESTS[kind])
    said = refused(f"{bad.url}/a.iso", checksum={**DIGESTS, kind: wrong})
    assert f"{bad.url}/a.iso is not the expected file" in said
    assert wrong in said
    assert DIGESTS[kind] in said
    assert not iso.exists()
    assert list(staging.iterdir()) == []


# What sources do: the faults, what is said, and whether the part is kept to be gone on with.
FAULTS = {
    "404": ({"status": 404}, "cannot be fetched: 404", False),
    "503": ({"status": 503}, "cannot be fetched: 503", False),
    "403": ({"status": 403}, "cannot be fetched: the server answered 403", False),
    "a page with 200": ({"html": True}, "the server sent text/html, not the file", False),
    "closes early": (HALF, "cannot be fetched: ", True),
    "closes early, length unknown": ({**HALF, "length": None}, "is not the expected file", False),
    "stalls": ({"stall": 3_000_000}, "timed out without receiving data", True),
    "drips": ({"drip": 3_000_000}, "bytes were received in 1 s", True),
    "stalls at once": ({"stall": 0}, "timed out without receiving data", False),
    "announces more": ({"length": len(BODY) + 9}, "cannot be fetched: ", True),
    "announces less": ({"length": 4_000_000}, "is not the expected file", False),
    "announces too much": ({"length": 10**17}, f"it has {10**17} bytes, but only", False),
    "redirects in circles": ({"to": "/a.iso"}, "infinite loop", False),
    "redirects to a local file": ({"to": "file:///etc/hostname"}, "is not allowed", False),
}


@pytest.mark.parametrize("old", [None, b"the old verified one"])
@pytest.mark.parametrize(("fault", "said", "kept"), FAULTS.values(), ids=FAULTS)
def test_fault_of_a_source(bad, fetch, refused, iso, staging, fault, said, kept, old):
    if old:
        iso.write_bytes(old)
    bad.always = fault
    message = refused(f"{bad.url}/a.iso", stall_timeout_s=1)
    assert f"{bad.url}/a.iso" in message
    assert said in message
    assert (iso.read_bytes() if iso.exists() else None) == old
    assert bool(list(staging.iterdir())) == kept
    bad.always = {}
    fetch(f"{bad.url}/a.iso")
    assert iso.read_bytes() == BODY
    assert list(staging.iterdir()) == []


def test_nobody_listens(refused):
    assert "127.0.0.1:9/a.iso cannot be fetched: " in refused("http://127.0.0.1:9/a.iso")


def test_user_and_password_are_not_told(bad, refused, caplog):
    said = refused(f"http://me:secret@127.0.0.1:{bad.server_port}/none.iso")
    assert "secret" not in said + caplog.text
    assert "127.0.0.1" in said


@pytest.mark.parametrize("password", ["1/secret", "s%cret@", "1/sec@secret"])
def test_password_with_a_slash_is_not_told(bad, refused, caplog, password):
    said = refused(f"http://me:{password}@127.0.0.1:{bad.server_port}/none.iso", "http://[secret@/")
    assert "secret" not in said + caplog.text
    assert "//127.0.0.1" in said


def test_user_and_password_are_sent_to_that_server_only(bad, fetch, iso):
    bad.files["/b.iso"] = b""
    bad.faults = [{"to": f"{bad.url}/a.iso"}]
    fetch(f"http://me:s%40e@127.0.0.1:{bad.server_port}/b.iso")
    assert iso.read_bytes() == BODY
    assert bad.authorizations == ["Basic bWU6c0Bl", None]


def test_broken_connections_are_retried_and_gone_on_with(bad, fetch, iso):
    bad.faults = [{"cut": 2_000_000}, {"status": 503}, {"cut": 2_000_000}]
    begun = time.monotonic()
    fetch(f"{bad.url}/a.iso", attempts=3)
    assert iso.read_bytes() == BODY
    # Pauses of 1, 2 and, as something new had come, 1 second.
    assert time.monotonic() - begun >= 4
    starts = [int(asked[1][6:-1]) for asked in bad.asked[1:]]
    assert 0 < starts[0] == starts[1] < starts[2]


def test_drip_is_given_up_although_something_new_comes(bad, fetch, iso):
    bad.files["/mirror/a.iso"] = BODY
    bad.faults = [{"drip": 1000}]
    fetch(f"{bad.url}/a.iso", f"{bad.url}/mirror/a.iso", attempts=2, stall_timeout_s=1)
    assert iso.read_bytes() == BODY
    assert [asked[0] for asked in bad.asked] == ["/a.iso", "/mirror/a.iso"]


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("/ALT Linux/a.iso", "/ALT%20Linux/a.iso"),
        ("/ALT%20Linux/a.iso", "/ALT%20Linux/a.iso"),
        ("/download?token=a b&x=/c", "/download?token=a%20b&x=/c"),
        ("/\u0438/a.iso", "/%D0%B8/a.iso"),
    ],
)
def test_address_with_spaces_or_a_query(bad, fetch, iso, path, asked):
    bad.files[asked] = BODY
    fetch(f"{bad.url}{path}")
    assert iso.read_bytes() == BODY
    assert bad.asked[0][0] == asked


def test_token_is_not_told(bad, refused, caplog):
    said = refused(f"{bad.url}/a.iso?token=secret", f"{bad.url}/b.iso?secret")
    assert "secret" not in said + caplog.text
    assert f"{bad.url}/a.iso?... cannot be fetched" in said


def test_redirects_are_followed(bad, fetch, iso):
    bad.files["/b.iso"] = b""
    bad.faults = [{"to": "/a.iso"}]
    fetch(f"{bad.url}/b.iso")
    assert iso.read_bytes() == BODY


@pytest.mark.parametrize("scheme", ["http", "ftp"])
def test_proxy_of_the_environment(bad, fetch, iso, monkeypatch, scheme):
    monkeypatch.setenv(f"{scheme}_proxy", bad.url)
    monkeypatch.setenv("no_proxy", "")
    fetch(f"{scheme}://nowhere.invalid/a.iso")
    assert iso.read_bytes() == BODY
    assert bad.asked[0][0] == f"{scheme}://nowhere.invalid/a.iso"


def test_mirrors_are_tried_in_order(bad, fetch, iso):
    bad.files["/rotten/a.iso"] = OTHER
    wrong = [f"{bad.url}/gone/a.iso", "http://127.0.0.1:9/a.iso", f"{bad.url}/rotten/a.iso"]
    fetched = fetch(*wrong, f"{bad.url}/a.iso", f"{bad.url}/never-asked/a.iso")
    assert iso.read_bytes() == BODY
    assert fetched["source"] == f"{bad.url}/a.iso"
    assert [asked[0] for asked in bad.asked] == ["/gone/a.iso", "/rotten/a.iso", "/a.iso"]


def test_all_mirrors_that_fail_are_named(bad, refused):
    bad.files["/rotten/a.iso"] = OTHER
    said = refused(f"{bad.url}/gone/a.iso", f"{bad.url}/rotten/a.iso")
    assert f"{bad.url}/gone/a.iso cannot be fetched: 404" in said
    assert f"{bad.url}/rotten/a.iso is not the expected file" in said


# Going on with what an earlier run left


@pytest.fixture
def left(bad, refused):
    """Leave half a file."""
    bad.faults = [HALF]
    refused(f"{bad.url}/a.iso")
    del bad.asked[:]


def start_of(asked):
    return int(asked[1][len("bytes=") : -1])


def test_later_run_goes_on(bad, fetch, iso, staging, left):
    here = (staging / "a.iso.part").stat().st_size
    assert here > 0
    fetch(f"{bad.url}/a.iso")
    assert iso.read_bytes() == BODY
    assert bad.asked == [("/a.iso", f"bytes={here}-", '"1"')]
    assert list(staging.iterdir()) == []


def test_other_file_on_the_server_is_fetched_from_its_start(bad, fetch, iso, left):
    bad.files["/a.iso"], bad.tags["/a.iso"] = OTHER, '"2"'
    fetch(f"{bad.url}/a.iso", checksum={"sha256": hashlib.sha256(OTHER).hexdigest()})
    assert iso.read_bytes() == OTHER
    assert len(bad.asked) == 1


def test_server_that_ignores_range(bad, fetch, iso, left):
    bad.faults = [{"whole": True}]
    fetch(f"{bad.url}/a.iso")
    assert iso.read_bytes() == BODY
    assert len(bad.asked) == 1


def test_other_bytes_under_the_same_tag_are_fetched_from_their_start(bad, fetch, iso, left):
    bad.files["/a.iso"] = OTHER[::-1]
    fetch(f"{bad.url}/a.iso", checksum={"sha256": hashlib.sha256(OTHER[::-1]).hexdigest()})
    assert iso.read_bytes() == OTHER[::-1]
    assert [asked[1] is None for asked in bad.asked] == [False, True]


@pytest.mark.parametrize("size", [len(BODY) - 4_000_000, len(BODY) + 1000])
def test_file_of_another_size_is_fetched_from_its_start(bad, fetch, iso, left, size):
    bad.files["/a.iso"] = (BODY + BODY)[7 : 7 + size]
    fetch(
        f"{bad.url}/a.iso",
        checksum={"sha256": hashlib.sha256(bad.files["/a.iso"]).hexdigest()},
    )
    assert iso.read_bytes() == bad.files["/a.iso"]


def test_another_mirror_goes_on(bad, fetch, iso, left):
    bad.files["/mirror/a.iso"] = BODY
    fetch(f"{bad.url}/mirror/a.iso")
    assert iso.read_bytes() == BODY
    ((_, asked, condition),) = bad.asked
    assert asked.startswith("bytes=")
    assert condition is None


def test_rotten_half_is_fetched_again(bad, fetch, iso, staging, left):
    with open(staging / "a.iso.part", "r+b") as part:
        part.write(b"rotten")
    fetch(f"{bad.url}/a.iso")
    assert iso.read_bytes() == BODY
    assert [asked[1] is None for asked in bad.asked] == [False, True]


def test_whole_part_is_verified_without_asking_again(bad, fetch, iso, staging, left):
    (staging / "a.iso.part").write_bytes(BODY)
    fetch(f"{bad.url}/a.iso")
    assert iso.read_bytes() == BODY
    assert bad.asked == []


def test_part_that_nothing_is_known_of_is_started_over(bad, fetch, iso, staging):
    (staging / "a.iso.part").write_bytes(b"half")
    fetch(f"{bad.url}/a.iso")
    assert iso.read_bytes() == BODY
    assert bad.asked == [("/a.iso", None, None)]


def test_weak_tag_is_no_condition(bad, fetch, left, staging, iso, refused):
    (staging / "a.iso.part").unlink()
    bad.tags["/a.iso"] = 'W/"1"'
    bad.faults = [HALF]
    refused(f"{bad.url}/a.iso")
    fetch(f"{bad.url}/a.iso")
    assert bad.asked[-1][1:] == (f"bytes={start_of(bad.asked[-1])}-", None)


# ftp and file


def test_ftp(ftp, fetch, refused, iso):
    ftp.faults = [HALF]
    said = refused(f"{ftp.url}/p11/a.iso")
    assert f"{ftp.url}/p11/a.iso cannot be fetched: 426" in said
    fetch(f"{ftp.url}/p11/a.iso")
    assert iso.read_bytes() == BODY
    assert any(line.startswith("REST ") for line in ftp.asked)


def test_ftp_file_that_changed_is_fetched_from_its_start(ftp, fetch, refused, iso):
    ftp.faults = [HALF]
    refused(f"{ftp.url}/p11/a.iso")
    ftp.files["p11/a.iso"], ftp.changed = OTHER, "20250903000000"
    fetch(f"{ftp.url}/p11/a.iso", checksum={"sha256": hashlib.sha256(OTHER).hexdigest()})
    assert iso.read_bytes() == OTHER
    assert not any(line.startswith("REST ") for line in ftp.asked)


@pytest.mark.parametrize("lacks", [("REST",), ("SIZE", "MDTM"), ("SIZE", "MDTM", "REST")])
def test_ftp_server_that_knows_little(ftp, fetch, refused, iso, lacks):
    ftp.lacks = lacks
    ftp.faults = [HALF]
    refused(f"{ftp.url}/p11/a.iso")
    fetch(f"{ftp.url}/p11/a.iso")
    assert iso.read_bytes() == BODY


def test_ftp_that_stalls(ftp, refused):
    ftp.faults = [{"stall": 1000}]
    assert "timed out" in refused(f"{ftp.url}/p11/a.iso", stall_timeout_s=1)


def test_ftp_without_the_file(ftp, refused):
    assert "cannot be fetched: 550 no such file" in refused(f"{ftp.url}/p11/b.iso")


def test_ftp_path_that_would_be_another_command(ftp, refused):
    assert "cannot be fetched: " in refused(f"{ftp.url}/a%0D%0ADELE%20b.iso")
    assert not any(line.startswith("DELE") for line in ftp.asked)


def test_file(fetch, iso, tmp_path):
    (tmp_path / "with space.iso").write_bytes(BODY)
    fetch(f"file://{tmp_path}/with%20space.iso")
    assert iso.read_bytes() == BODY


def test_file_that_is_none(refused, tmp_path):
    os.mkfifo(tmp_path / "pipe.iso")
    assert "it is not a regular file" in refused(f"file://{tmp_path}/pipe.iso")
    assert "Is a directory" in refused(f"file://{tmp_path}/")
    assert "No such file" in refused(f"file://{tmp_path}/none.iso")


# The disk


@pytest.fixture
def small(tmp_path):
    """A filesystem of 9 MB, with a staging folder and a name for an ISO."""
    mount = tmp_path / "small"
    mount.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=9m", "none", mount], check=True)
    try:
        (mount / "staging").mkdir(mode=0o700)
        yield mount
    finally:
        subprocess.run(["umount", mount], check=True)


def test_no_room_is_found_before_the_first_byte(bad, small):
    (small / "other").write_bytes(bytes(5_000_000))
    with pytest.raises(CommandExecutionError, match=f"it has {len(BODY)} bytes, but only"):
        fetches(small / "staging").fetch([f"{bad.url}/a.iso"], str(small / "a.iso"), DIGESTS)
    assert list((small / "staging").iterdir()) == []


def test_room_that_another_fetch_needs_is_not_free(bad, modules, small):
    bad.files["/b.iso"] = BODY
    bad.always = {"slow": 0.03}
    places = [
        {"path": str(small / name), "sources": [f"{bad.url}/{name}"], "checksum": DIGESTS}
        for name in ("a.iso", "b.iso")
    ]

    def one(place):
        with contextlib.suppress(CommandExecutionError):
            fetches(small / "staging", attempts=1).fetch(place["sources"], place["path"], DIGESTS)

    first = threading.Thread(target=one, args=(places[0],))
    first.start()
    staging = str(small / "staging")
    # Until it knows how much it needs.
    wait_for(lambda: any(one["total"] for one in modules.iso_fetch.progress(staging)))
    one_try = fetches(staging, attempts=1)
    with pytest.raises(CommandExecutionError, match="bytes, but only"):
        one_try.fetch(places[1]["sources"], places[1]["path"], DIGESTS)
    first.join()
    assert (small / "a.iso").read_bytes() == BODY


@pytest.mark.parametrize("known", [True, False])
def test_disk_that_fills_up_meanwhile(bad, small, known):
    def fill():
        with contextlib.suppress(OSError):
            (small / "other").write_bytes(bytes(9_000_000))

    fault = {"meanwhile": fill}
    bad.faults = [fault if known else {**fault, "length": None}]
    args = ([f"{bad.url}/a.iso"], str(small / "a.iso"), DIGESTS)
    with pytest.raises(CommandExecutionError) as raised:
        fetches(small / "staging").fetch(*args)
    if known:
        assert "No space left on device" in str(raised.value)
        assert f"{bad.url}/a.iso cannot be saved as {small}/a.iso" in str(raised.value)
    else:
        assert "bytes (the server does not send its size), for which" in str(raised.value)
    assert list((small / "staging").iterdir()) == []
    (small / "other").unlink()
    fetches(small / "staging").fetch(*args)
    assert (small / "a.iso").read_bytes() == BODY


def test_body_without_length_leaves_room_for_others(bad, small, caplog):
    bad.files["/endless/a.iso"] = bytes(20_000_000)
    bad.faults = [{"length": None}]
    free = shutil.disk_usage(small).free
    sources = [f"{bad.url}/endless/a.iso", f"{bad.url}/a.iso"]
    fetches(small / "staging").fetch(sources, str(small / "a.iso"), DIGESTS)
    taken = int(re.search(r"it has more than (\d+) bytes", caplog.text)[1])
    assert 0 < free - taken < 3 << 20
    assert (small / "a.iso").read_bytes() == BODY


# Several runs


RUN = """
import sys
sys.path.insert(0, "salt/_utils")
from iso_download import CommandExecutionError, Fetches, How
try:
    fetches = Fetches(How(sys.argv[4], 5, 60), {})
    fetches.fetch([sys.argv[1]], sys.argv[2], {"sha256": sys.argv[3]})
except CommandExecutionError as err:
    sys.exit(f"refused: {err}")
"""


@pytest.fixture
def run(bad, iso, staging):
    """Start a run in a process of its own."""

    def _run():
        return subprocess.Popen(
            [
                sys.executable,
                "-c",
                RUN,
                f"{bad.url}/a.iso",
                str(iso),
                DIGESTS["sha256"],
                str(staging),
            ],
            cwd=CHECKOUT,
            stderr=subprocess.PIPE,
            text=True,
        )

    return _run


def wait_for(what, timeout_s=60):
    end = time.monotonic() + timeout_s
    while not what():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.01)


def test_killed_at_any_point(bad, run, iso, staging):
    """SIGKILL when any number of bytes has come, and around the change of names."""
    bad.always = {"slow": 0.002}
    chance = random.Random()  # noqa: S311
    process = run()
    wait_for(lambda: bad.asked)
    begun = time.monotonic()
    assert process.wait() == 0
    took = time.monotonic() - begun
    iso.unlink()
    ended = killed = gone_on = 0
    # By chance, so until it has met all that there is to meet.
    while killed < 30 or not ended or not gone_on:
        assert time.monotonic() < begun + 300, (killed, ended, gone_on)
        del bad.asked[:]
        process = run()
        wait_for(lambda: bad.asked or process.poll() is not None)  # noqa: B023
        time.sleep(chance.uniform(0, 1.2 * took))
        process.kill()
        process.communicate()
        gone_on += sum(asked[1] is not None for asked in bad.asked)
        if process.returncode == 0:
            ended += 1
        else:
            assert process.returncode == -9
            killed += 1
        if iso.exists():
            assert iso.read_bytes() == BODY
            iso.unlink()
    bad.always = {}
    assert run().wait() == 0
    assert iso.read_bytes() == BODY
    assert list(staging.iterdir()) == []


def test_killed_run_is_gone_on_with(bad, run, iso, staging):
    bad.always = {"slow": 0.02}
    process = run()
    part = staging / "a.iso.part"
    wait_for(lambda: part.exists() and part.stat().st_size > 1_000_000)
    process.kill()
    process.communicate()
    del bad.asked[:]
    bad.always = {}
    assert run().wait() == 0
    assert iso.read_bytes() == BODY
    assert start_of(bad.asked[0]) > 1_000_000


def test_runs_at_the_same_time(bad, run, iso, staging):
    bad.always = {"slow": 0.002}
    for _ in range(3):
        said = [process.communicate()[1] for process in [run() for _ in range(3)]]
        assert iso.read_bytes() == BODY
        assert "" in said
        assert all(not one or "being fetched by another run" in one for one in said)
        iso.unlink()
    assert list(staging.iterdir()) == []


def test_run_that_comes_when_the_other_one_publishes(bad, fetch, iso, staging):
    """It has opened the part before that became the ISO, and gets the lock afterwards."""
    opened = os.open(staging / "a.iso.part", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(opened, fcntl.LOCK_EX)
    os.rename(staging / "a.iso.part", iso)
    os.write(opened, b"published")
    os.close(opened)
    fetch(f"{bad.url}/a.iso")
    assert iso.read_bytes() == BODY


def test_what_is_unverified_is_closed_to_others(bad, run, staging, iso, tmp_path):
    for folder in (tmp_path, *tmp_path.parents):
        if folder.name.startswith(("pytest-", "popen-", tmp_path.name)):  # pytest closes its own
            folder.chmod(0o755)
    iso.write_bytes(b"old")
    assert cat_as_nobody(iso).stdout == b"old"
    bad.always = {"slow": 0.02}
    process = run()
    part = staging / "a.iso.part"
    wait_for(lambda: part.exists() and part.stat().st_size > 1_000_000)
    assert part.stat().st_mode & 0o777 == 0o600
    assert b"Permission denied" in cat_as_nobody(part).stderr
    staging.chmod(0o755)
    assert b"Permission denied" in cat_as_nobody(part).stderr
    process.kill()
    process.communicate()


def cat_as_nobody(path):
    return subprocess.run(["cat", path], user=65534, group=65534, capture_output=True, check=False)


# Telling how far it is


def test_progress_from_another_terminal(bad, run, modules, staging):
    assert modules.iso_fetch.progress(str(staging)) == []
    bad.always = {"slow": 0.02}
    process = run()
    part = staging / "a.iso.part"
    wait_for(lambda: part.exists() and part.stat().st_size > 2_000_000)
    (one,) = modules.iso_fetch.progress(str(staging))
    assert one["file"] == "a.iso"
    assert one["url"] == f"{bad.url}/a.iso"
    assert 2_000_000 < one["size"] < one["total"] == len(BODY)
    assert 33 <= one["percent"] < 100
    assert 1_000_000 < one["rate"] < 100_000_000
    assert 0 <= one["seconds_left"] < 10
    assert one["running"] is True
    process.kill()
    process.communicate()
    (one,) = modules.iso_fetch.progress(str(staging))
    assert one["running"] is False
    assert one["rate"] is None


def test_progress_of_the_applied_configuration(modules, configured):
    with pytest.raises(CommandExecutionError, match="Nothing was applied"):
        modules.iso_fetch.progress()
    configured()
    assert modules.iso_fetch.progress() == []


# Verifying


def test_verify(modules, tmp_path):
    path = tmp_path / "a.iso"
    path.write_bytes(BODY)
    assert modules.iso_fetch.verify(str(path), DIGESTS)["digests"] == DIGESTS
    with pytest.raises(CommandExecutionError, match="is not the expected file"):
        modules.iso_fetch.verify(str(path), {"md5": "0" * 32})
    with pytest.raises(CommandExecutionError, match="never verified"):
        modules.iso_fetch.verify(str(path))


@pytest.mark.parametrize(
    ("checksum", "said"),
    [
        ({"sha3": "aa"}, "checksum: 'sha3' is not one of sha512, sha256, sha1, md5."),
        ({"md5": "aa"}, "checksum:md5: must be 32 hexadecimal digits, but has 2."),
        ({"md5": 12}, "checksum:md5: must be 32 hexadecimal digits, in quotes."),
        ("0" * 64, "checksum: must be a map, such as {sha256: 0123...}."),
        ({}, "checksum: must be a map, such as {sha256: 0123...}."),
    ],
)
def test_verify_takes_digests_alone(modules, checksum, said):
    with pytest.raises(CommandExecutionError, match=f"^{re.escape(said)}$"):
        modules.iso_fetch.verify("/nowhere.iso", checksum)


def test_note_tells_only_what_is_needed(bad, refused, staging):
    bad.faults = [HALF]
    refused(f"{bad.url}/a.iso")
    note = json.loads((staging / "a.iso.part.json").read_text())
    assert set(note) == {"url", "validator", "total", "from", "started", "inode"}
