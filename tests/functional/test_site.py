"""Servers of a site and mirrors: who fetches what from whom, over HTTP on loopback.

`Mine` stands in for the mine of a Salt master; `integration/test_fleet.py` has a real one.
"""

import functools
import hashlib
import http.server
import threading
import time

import pytest

import iso_download
import iso_sums
import netboot_site
from iso_download import Fetches, How
from netboot_records import Records
from netboot_site import Site
from tests.unit.test_netboot_pillar import resolve

from .sources import BadWeb, serving

FILE = "a.iso"
BODY = bytes(range(256)) * 20_000
DIGESTS = {"sha256": hashlib.sha256(BODY).hexdigest()}


class Mine:
    """What minions sent, as `mine.get` returns it; both take a moment, as with a real master."""

    def __init__(self):
        self.sent, self.asked = {}, 0

    def of(self, id_):
        def get(target, function):
            assert target == "*"
            self.asked += 1
            return {who: data[function] for who, data in self.sent.items() if function in data}

        def send(name, mine_function, text):
            assert mine_function == "test.echo"
            time.sleep(0.05)
            self.sent.setdefault(id_, {})[name] = text
            return True

        return get, send


class Machine:
    """A netboot server: its directory with a web server, its records, and its site."""

    def __init__(self, base, mine, id_, upstream, pillar):
        self.root = base / id_
        (self.root / "dist").mkdir(parents=True)
        (self.root / ".staging").mkdir()
        (self.root / "tftp").mkdir()
        handler = functools.partial(Quiet, directory=self.root)
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.server.asked = []
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        image = {"url": f"{upstream}/{FILE}", "checksum": DIGESTS}
        pillar = {
            "root": str(self.root),
            "images": {"A": image},
            "share_url": self.url,
            **pillar,
        }
        self.records = Records(str(base / f"{id_}-records"))
        resolved = resolve(pillar, state_dir=self.records.directory)
        assert resolved["problems"] == []
        self.records.write("applied", "config", resolved["config"])
        self.site = Site(self.records, id_, *mine.of(id_))
        self.iso = self.root / "dist" / FILE

    @property
    def sources(self):
        return self.records.config()["images"][0]["sources"]

    def fetch(self, checksum=DIGESTS):
        how = How(str(self.root / ".staging"), 2, 5, iso_download.Coming(self.records.config()))
        how = how._replace(choose=self.site.choice)
        record = Fetches(how, {}).fetch(self.sources, str(self.iso), checksum)
        self.records.write_iso(str(self.iso), record)
        return record

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        super().do_GET()

    def log_message(self, *args):
        """Nothing."""


@pytest.fixture
def upstream():
    with serving(BadWeb()) as server:
        server.files[f"/{FILE}"] = BODY
        yield server


@pytest.fixture
def machines(tmp_path, upstream):
    mine, made = Mine(), []

    def machine(id_, **pillar):
        pillar = {key: value for key, value in {"site": "msk", **pillar}.items() if value}
        made.append(Machine(tmp_path, mine, id_, upstream.url, pillar))
        return made[-1]

    machine.mine = mine
    yield machine
    for one in made:
        one.stop()


def at_once(*machines):
    records = {}

    def run(one):
        records[one] = one.fetch()

    threads = [threading.Thread(target=run, args=(one,)) for one in machines]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [records[one] for one in machines]


def test_three_at_once_cost_one_download(machines, upstream):
    upstream.faults = [{"slow": 0.03}]
    three = [machines(name) for name in ("n1", "n2", "n3")]
    records = at_once(*three)
    assert [asked[:2] for asked in upstream.asked] == [("/a.iso", None)]
    assert all(one.iso.read_bytes() == BODY for one in three)
    # The first id has it from elsewhere.
    assert records[0]["source"] == f"{upstream.url}/{FILE}"
    assert {one["source"] for one in records[1:]} <= {f"{one.url}/dist/{FILE}" for one in three}
    assert not any(one["claims"] for data in machines.mine.sent.values() for one in data.values())


def test_who_comes_later_waits_though_its_id_is_first(machines, upstream):
    upstream.faults = [{"slow": 0.05}]
    first, second = machines("n2"), machines("n1")
    thread = threading.Thread(target=first.fetch)
    thread.start()
    time.sleep(4)
    assert second.fetch()["source"] == f"{first.url}/dist/{FILE}"
    thread.join()
    assert len(upstream.asked) == 1


def test_what_a_peer_has_is_never_fetched_from_elsewhere(machines, upstream):
    first, second = machines("n1"), machines("n2")
    first.fetch()
    first.site.share()
    before = time.monotonic()
    assert second.fetch()["source"] == f"{first.url}/dist/{FILE}"
    assert time.monotonic() - before < 2  # it does not have to wait for anybody
    assert len(upstream.asked) == 1


def test_claim_of_a_server_without_power_is_taken_over(machines, upstream, monkeypatch):
    monkeypatch.setattr(netboot_site, "_SILENT_S", 3)
    first, second = machines("n1"), machines("n2")
    first.site._claims[FILE] = "fetches"
    first.site.share()
    before = time.monotonic()
    assert second.fetch()["source"] == f"{upstream.url}/{FILE}"
    assert time.monotonic() - before < 12


def test_server_that_fetches_for_ever_is_not_waited_for_as_long(machines, upstream, monkeypatch):
    """Any minion can say so, and show it."""
    monkeypatch.setattr(netboot_site, "_receives", lambda _url: True)
    monkeypatch.setattr(netboot_site, "_PATIENCE_S", 6)
    liar = {"url": "http://127.0.0.1:1", "isos": {}, "claims": {FILE: "fetches"}}
    machines.mine.sent["n0"] = {"netboot_site_msk": liar}
    second = machines("n2")
    fetched = []
    thread = threading.Thread(target=lambda: fetched.append(second.fetch()), daemon=True)
    thread.start()
    thread.join(30)
    assert [one["source"] for one in fetched] == [f"{upstream.url}/{FILE}"]


def test_peer_that_is_gone_in_the_middle_is_continued_elsewhere(machines, upstream):
    first, second = machines("n1"), machines("n2")
    first.fetch()
    first.site.share()
    with serving(BadWeb()) as dying:
        dying.files[f"/dist/{FILE}"] = BODY
        dying.always = {f"/dist/{FILE}": {"cut": 3_000_000}}
        machines.mine.sent["n1"]["netboot_site_msk"]["url"] = dying.url
        dying.faults = [{"cut": 3_000_000}, *[{"status": 503}] * 9]
        begun = time.monotonic()
        record = second.fetch()
    assert record["source"] == f"{upstream.url}/{FILE}"
    assert time.monotonic() - begun < 10
    assert upstream.asked[-1][1].startswith("bytes=")
    assert int(upstream.asked[-1][1][6:-1]) > 1_000_000
    assert "503" in record["skipped"][0]


def test_peer_that_lies_is_skipped_and_named(machines, upstream):
    first, second = machines("n1"), machines("n2")
    first.fetch()
    first.site.share()
    first.iso.write_bytes(BODY[::-1])
    record = second.fetch()
    assert record["source"] == f"{upstream.url}/{FILE}"
    assert second.iso.read_bytes() == BODY
    assert first.url in record["skipped"][0]


def test_order_of_the_pillar(machines, upstream):
    mirror, server = machines("m1", mirror="also", site=None), machines("n1")
    mirror.fetch()
    mirror.site.share()
    assert server.fetch()["source"] == f"{mirror.url}/dist/{FILE}"
    stubborn = machines("n2", fetch={"from": ["upstream", "peers"]})
    assert stubborn.fetch()["source"] == f"{upstream.url}/{FILE}"


def test_a_server_that_is_no_mirror_is_none(machines, upstream):
    """Without site and mirror: servers elsewhere must not fetch over its line."""
    plain, server = machines("n1", site=None), machines("n2")
    plain.fetch()
    assert plain.site.share() is True
    assert machines.mine.sent == {}
    assert server.fetch()["source"] == f"{upstream.url}/{FILE}"


def test_what_is_left_out_is_never_asked(machines, upstream):
    lonely = machines("n1", fetch={"from": ["peers", "master"]})
    with pytest.raises(iso_download.CommandExecutionError, match="none of the servers"):
        lonely.fetch()
    assert upstream.asked == []


def test_another_revision_of_a_peer_is_not_taken(machines, upstream):
    first, second = machines("n1"), machines("n2")
    first.fetch()
    first.site.share()
    newer = BODY + b"newer"
    upstream.files[f"/{FILE}"] = newer
    record = second.fetch({"sha256": hashlib.sha256(newer).hexdigest()})
    assert record["source"] == f"{upstream.url}/{FILE}"
    assert f"/dist/{FILE}" not in first.server.asked


@pytest.mark.parametrize(
    "sent",
    [
        None,
        "netboot",
        {"url": "file:///etc", "isos": {}, "claims": {}},
        {"url": "http://127.0.0.1:1/x?", "isos": {}, "claims": {}},
        {"url": "http://127.0.0.1:1", "isos": {FILE: "x"}, "claims": {}},
        {"url": "http://127.0.0.1:1", "isos": [], "claims": {}},
        {"url": "http://127.0.0.1:1", "isos": {}, "claims": 3},
        {"url": "http://127.0.0.1:1", "isos": {}, "claims": {FILE: "fetches", 1: "fetches"}},
        {"url": "http://127.0.0.1:1", "isos": {1: {}}, "claims": {}},
    ],
)
def test_what_a_stranger_sends_to_the_mine_is_no_server(machines, sent):
    server = machines("n1")
    machines.mine.sent["n2"] = {"netboot_site_msk": sent}
    assert server.site.peers() == {}
    assert server.fetch()["size"] == len(BODY)


def test_nobody_but_the_pillar_says_whose_sum_file_is_believed(machines, upstream):
    """With it comes the digest that decides; any minion can say that it is a mirror."""
    forged = {"url": "http://127.0.0.1:1", "isos": {FILE: DIGESTS}, "claims": {}}
    machines.mine.sent["web7"] = {"netboot_mirrors": forged}
    server = machines("n1")
    assert server.site.urls(server.records.config()["images"][0]) == [f"{upstream.url}/{FILE}"]
    alone = machines("n2", fetch={"from": ["peers", "master"]})
    (image,) = alone.records.config()["images"]
    assert alone.site.urls(image) == [f"http://127.0.0.1:1/dist/{FILE}"]
    none = machines("n3", fetch={"from": ["peers"]})
    with pytest.raises(iso_download.CommandExecutionError, match="netboot:fetch:from lets it ask"):
        iso_sums.expected(none.site.urls(none.records.config()["images"][0]), 5)


def test_a_master_that_answers_rubbish_is_none(machines, upstream):
    server = machines("n1")
    server.site._get_mine = lambda *_: "rubbish"
    assert server.fetch()["source"] == f"{upstream.url}/{FILE}"


def test_a_master_that_goes_away_is_waited_for_once(machines, upstream):
    first, second = machines("n1"), machines("n2")
    first.fetch()
    first.site.share()
    second.site.peers()
    asked = []

    def silent(*_):
        asked.append(time.monotonic())
        raise TimeoutError("Message timed out")

    second.site._get_mine = silent
    # What it said last still counts.
    assert second.fetch()["source"] == f"{first.url}/dist/{FILE}"
    third = machines("n3")
    third.site._get_mine = silent
    assert third.fetch()["source"] == f"{upstream.url}/{FILE}"
    assert len(asked) == 2
