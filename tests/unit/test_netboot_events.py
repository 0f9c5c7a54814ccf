"""The queue of events: each step once, not too many."""

import json

import jinja2
import pytest
import yaml

import netboot_events
import netboot_live
from tests import pages
from tests.conftest import CHECKOUT

ENTRY = "alt_education_p11-livecd"


@pytest.fixture
def server(tmp_path, monkeypatch):
    pages.Services(monkeypatch)
    one = pages.empty(tmp_path)
    one.image("ALT Education p11")
    one.host("pc1", "525400000001", ENTRY)
    return one


def look(server, queue, now):
    """What is added to the queue when the log is as it is at that time."""
    lines = server.log.read_text().splitlines(keepends=True)
    server.log.write_text("".join(line for line in lines if json.loads(line)["t"] <= now))
    live = netboot_live.look(server.write(), now)
    server.log.write_text("".join(lines))
    return netboot_events.added(queue, live.boots, now)


def steps(queue):
    return [(one["mac"][-2:], one["step"]) for one in queue["events"]]


def test_each_step_once_whenever_it_is_looked(server):
    """A boot of one minute, looked at every few seconds."""
    queue = look(server, {}, pages.NOW)
    server.boot(1, pages.NOW + 10, ENTRY, "stage")
    for second in range(20, 400, 7):
        queue = look(server, queue, pages.NOW + second)
    assert steps(queue) == [
        *(("01", one) for one in ("script", "menu", "chosen", "kernel", "initrd", "boot")),
        ("01", "running"),
    ]
    assert [one["number"] for one in queue["events"]] == list(range(1, 8))
    last = queue["events"][-1]
    assert (last["host"], last["entry"], last["at"]) == ("pc1", ENTRY, "2026-11-26T18:01:10Z")
    assert netboot_events.tag(last) == "netboot/client/52:54:00:00:00:01/running"


def test_what_was_before_is_no_news(server):
    server.boot(1, pages.NOW - 400, ENTRY, "stage")
    assert look(server, {}, pages.NOW)["events"] == []
    queue = look(server, look(server, {}, pages.NOW), pages.NOW + 60)
    assert queue["events"] == []


def test_boot_of_yesterday_is_no_news_whatever_it_looks_like_now(server):
    server.boot(1, pages.NOW - 86400, ENTRY, "stage")
    queue = look(server, {}, pages.NOW)
    (key,) = queue["states"]
    queue["states"][key] = "loading"
    assert look(server, queue, pages.NOW + 60)["events"] == []


def test_client_that_fell_silent(server):
    queue = look(server, {}, pages.NOW)
    server.boot(1, pages.NOW + 1, ENTRY, "boot")
    queue = look(server, queue, pages.NOW + 60)
    assert steps(queue)[-1] == ("01", "boot")
    for second in (200, 260):
        queue = look(server, queue, pages.NOW + second)
        assert steps(queue)[-2:] == [("01", "boot"), ("01", "gone silent")]
    assert queue["events"][-1]["cause"] == "stage-not-asked"
    assert netboot_events.tag(queue["events"][-1]).endswith("/gone-silent")


def test_machine_was_off_for_a_day(server):
    """What happened meanwhile is sent then."""
    queue = look(server, {}, pages.NOW)
    server.boot(1, pages.NOW + 10, until="local")
    queue = look(server, queue, pages.NOW + 86400)
    assert steps(queue) == [("01", "script"), ("01", "menu"), ("01", "local disk")]


def test_flood(server):
    """The newest stay, and how many were dropped is known."""
    queue = look(server, {}, pages.NOW)
    for number in range(400):
        server.boot(1 + number % 140, pages.NOW + 10 + number * 60, until="local")
    queue = look(server, queue, pages.NOW + 30_000)
    assert (len(queue["events"]), queue["number"]) == (500, 1200)
    events, dropped = netboot_events.due(queue, {})
    assert (len(events), dropped) == (500, 700)
    sent = {"series": queue["series"], "number": 1190}
    events, dropped = netboot_events.due(queue, sent)
    assert ([one["number"] for one in events], dropped) == (list(range(1191, 1201)), 0)
    assert netboot_events.due(queue, {**sent, "number": 1200}) == ([], 0)
    # A queue that was lost begins again.
    events, dropped = netboot_events.due({**queue, "series": 1}, sent)
    assert len(events) == 500


def test_hostile_client(server):
    queue = look(server, {}, pages.NOW)
    args = "m=525400000002&f=efi&p=%3Cb%3E%E2%80%AE&s=chosen&e=../../x%0Ay"
    server.ask(pages.NOW + 1, "/seen", args)
    server.ask(pages.NOW + 2, "/seen", "m=525400000002&s=/../evil&e=x")
    (event,) = look(server, queue, pages.NOW + 20)["events"]
    assert (event["step"], event["entry"], event["model"]) == ("chosen", "../../xy", "<b>")


def test_reactor_of_the_documents_quotes_what_clients_say():
    text = (CHECKOUT / "docs/operations.md").read_text()
    sls = next(part for part in text.split("```") if "netboot_failed.sls: data" in part)
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined)  # noqa: S701 (YAML)
    environment.filters["json"] = json.dumps
    client = {"host": "", "mac": "52:54:00:00:00:01", "text": 'It\'s "x": {{ 1 }} \\ - #'}
    made = environment.from_string(sls.removeprefix("yaml\n")).render(data={"data": client})
    (call,) = yaml.safe_load(made)["tell_chat"]["runner.http.query"]
    assert json.loads(call["args"]["data"]) == {"text": f"{client['mac']}: {client['text']}"}


def test_files_that_were_written_or_only_touched(tmp_path):
    """Without Salt, by what the snapshot says of them."""
    file = tmp_path / "vmlinuz"
    file.write_bytes(b"kernel")
    there = file.stat()
    known = [there.st_size, there.st_mtime_ns, there.st_ctime_ns, there.st_ino]
    files = {str(file): ["/tftp/vmlinuz", known], str(tmp_path / "gone"): ["/gone", known]}
    file.chmod(0o600)
    assert netboot_live._changed(files) == {}
    file.write_bytes(b"another kernel")
    assert set(netboot_live._changed(files)) == {"/tftp/vmlinuz"}
