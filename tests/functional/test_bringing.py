"""ISOs that the host of salt-ssh sends to machines without internet, over loopback."""

import hashlib
import json
import random
import threading
import urllib.error
import urllib.request
from types import SimpleNamespace

import pytest
from salt.exceptions import CommandExecutionError

from cli import applying, bringing
from cli.asking import AskError
from iso_download import Fetches, How
from netboot_names import CONTROLLER

from .sources import BadWeb, serving

BODY = random.Random(2).randbytes(6_000_000)  # noqa: S311 (any bytes will do)
SHA256 = hashlib.sha256(BODY).hexdigest()


@pytest.fixture
def upstream():
    with serving(BadWeb()) as server:
        server.files["/p11/a.iso"] = BODY
        server.tags["/p11/a.iso"] = '"1"'
        yield server


def image(server, **other):
    sources = [f"{server.url}/p11/a.iso"]
    return {"file": "a.iso", "controller": sources, "checksum": {"sha256": SHA256}, **other}


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """What a machine does: it fetches a.iso from a port."""
    monkeypatch.setattr(bringing, "_served", lambda: str(tmp_path / "served"))
    for name in ("dist", "staging", "served"):
        (tmp_path / name).mkdir()

    def fetch(port, attempts=2):
        fetches = Fetches(How(str(tmp_path / "staging"), attempts, 60), {})
        url = f"http://127.0.0.1:{port}/a.iso"
        return fetches.fetch([url], str(tmp_path / "dist/a.iso"), {"sha256": SHA256})

    return SimpleNamespace(
        fetch=fetch,
        part=tmp_path / "staging/a.iso.part",
        iso=tmp_path / "dist/a.iso",
        kept=tmp_path / "isos/a.iso",
        served=tmp_path / "served/a.iso",
        folder=tmp_path / "isos",
    )


def serve(machine, *images):
    return bringing.served({one["file"]: {"sums": False, **one} for one in images}, machine.folder)


def test_fetched_here_and_sent(upstream, machine, capsys):
    with serve(machine, image(upstream)) as port:
        machine.fetch(port)
    assert machine.iso.read_bytes() == BODY
    assert machine.kept.read_bytes() == BODY
    assert capsys.readouterr().err == "netboot: a.iso: 6.0 MB fetched by this host, 6.0 MB sent\n"
    with serve(machine, image(upstream)) as again:
        machine.iso.unlink()
        machine.fetch(again)
    assert again == port
    assert len(upstream.asked) == 1
    assert "0 bytes fetched by this host, 6.0 MB sent" in capsys.readouterr().err


def test_sent_while_it_comes(upstream, machine):
    """No machine waits for the whole ISO."""
    sent = threading.Event()

    def wait():
        for _ in range(100):
            if machine.part.exists() and machine.part.stat().st_size > 1_000_000:
                sent.set()
                return
            upstream.released.wait(0.05)

    upstream.faults = [{"meanwhile": wait}]
    with serve(machine, image(upstream)) as port:
        machine.fetch(port)
    assert sent.is_set()


def test_several_machines_cost_one_fetch(upstream, machine, tmp_path):
    upstream.faults = [{"slow": 0.01}]
    (tmp_path / "other").mkdir()
    with serve(machine, image(upstream)) as port:
        fetches = Fetches(How(str(tmp_path / "other"), 2, 60), {})
        one = {"sources": [f"http://127.0.0.1:{port}/a.iso"], "checksum": {"sha256": SHA256}}
        fetches.start([{**one, "path": str(tmp_path / "b.iso")}], 1)
        machine.fetch(port)
        fetches.fetch([], str(tmp_path / "b.iso"), {"sha256": SHA256})
    assert (tmp_path / "b.iso").read_bytes() == machine.iso.read_bytes() == BODY
    assert len(upstream.asked) == 1


def test_resumed_on_both_sides(upstream, machine, capsys):
    """Its source breaks off, for this run; the next one fetches and sends what is missing."""
    upstream.faults = [{"cut": 4_000_000}, *[{"status": 403}] * 9]
    with (
        serve(machine, image(upstream)) as port,
        pytest.raises(CommandExecutionError, match="the server answered 409 .*403"),
    ):
        machine.fetch(port)
    assert machine.part.stat().st_size == 4_000_000
    assert "4.0 MB sent" in capsys.readouterr().err
    upstream.faults, upstream.asked = [], []
    with serve(machine, image(upstream)) as port:
        machine.fetch(port)
    assert upstream.asked == [("/p11/a.iso", "bytes=4000000-", '"1"')]
    assert machine.iso.read_bytes() == BODY
    assert "2.0 MB fetched by this host, 2.0 MB sent" in capsys.readouterr().err


def test_iso_that_this_host_has(upstream, machine):
    """As a netboot server, too; a wrong one is not sent."""
    machine.served.write_bytes(BODY)
    with serve(machine, image(upstream)) as port:
        machine.fetch(port)
    assert upstream.asked == []
    machine.iso.unlink()
    machine.served.write_bytes(BODY[:-1] + b"?")
    with serve(machine, image(upstream)) as port:
        machine.fetch(port)
    assert machine.iso.read_bytes() == BODY
    assert len(upstream.asked) == 1


def test_wrong_iso_is_neither_kept_nor_taken(upstream, machine):
    upstream.files["/p11/a.iso"] = BODY[:-1] + b"?"
    with serve(machine, image(upstream)) as port, pytest.raises(CommandExecutionError):
        machine.fetch(port)
    assert not machine.iso.exists()
    assert not machine.kept.exists()


@pytest.mark.parametrize("path", ["/", "/b.iso", "/.records/isos/a.iso.json", "/../isos/a.iso"])
def test_nothing_else_is_there(upstream, machine, path):
    with serve(machine, image(upstream)) as port:
        machine.fetch(port)
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(f"http://127.0.0.1:{port}{path}")


def test_sum_file(upstream, machine):
    """Of an image that has its digest from one."""
    upstream.files["/p11/SHA256SUM"] = f"{SHA256}  a.iso\n".encode()
    with serve(machine, image(upstream, checksum={}, sums=True)) as port:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/SHA256SUM") as answer:
            assert answer.read().decode() == f"{SHA256}  a.iso\n"
        machine.fetch(port)
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/SHA512SUM")
    assert machine.kept.read_bytes() == BODY


class Answers:
    """A stand-in for salt-ssh that answers netboot.config."""

    def __init__(self, **configs):
        self._configs = configs

    def ask(self, function):
        assert function == "netboot.config"
        return {name: {"config": config} for name, config in self._configs.items()}


def config(urls, sha256=SHA256):
    one = {"file": "a.iso", "checksum": {"sha256": sha256}, "sums": False, "controller": urls}
    return {"images": [one]}


def test_who_is_asked(tmp_path):
    """Machines are asked only where the pillar has the word, or is not in files."""
    file, master = tmp_path / "a/netboot.sls", tmp_path / "master"
    file.parent.mkdir()
    file.write_text("netboot: {fetch: {at_once: 2}}")
    assert not applying.may_bring(tmp_path, master)
    file.write_text("netboot: {fetch: {from: [controller]}}")
    assert applying.may_bring(tmp_path, master)
    file.write_text("netboot: {}")
    master.write_text("ext_pillar: []")
    assert applying.may_bring(tmp_path, master)


def test_which_isos_are_sent():
    urls = ["http://x/a.iso"]
    assert list(bringing.wanted(Answers(a=config(urls), b=config([], "1" * 64)))) == ["a.iso"]
    with pytest.raises(AskError, match="a.iso is not the same ISO on all"):
        bringing.wanted(Answers(a=config(urls), b=config(urls, "1" * 64)))


def test_words_of_the_apply():
    words = bringing.words_for(20001, ["-i", "test=True", "pillar={x: 1}"])
    assert words[:3] == ["--remote-port-forwards=20001:127.0.0.1:20001", "-i", "test=True"]
    assert json.loads(words[3].partition("=")[2]) == {"x": 1, CONTROLLER: "http://127.0.0.1:20001"}


@pytest.fixture
def apply(modules, tmp_path, upstream):
    """Apply netboot.images as ./netboot ssh does, with a port; returns the states by ID."""

    def _apply(port, order=("controller", "upstream"), **more):
        one = {"url": f"{upstream.url}/p11/a.iso", "checksum": {"sha256": SHA256}}
        pillar = {"interface": "lo", "root": str(tmp_path / "export"), "images": {"p11": one}}
        pillar["fetch"] = {"from": list(order), "attempts": 1}
        given = {"netboot": pillar}
        if port:
            given[CONTROLLER] = f"http://127.0.0.1:{port}"
        done = modules.state.apply("netboot.images", pillar=given, **more)
        return {one["__id__"]: one for one in done.raw.values()}

    return _apply


def test_apply_takes_it_from_there(apply, upstream, machine, records):
    with serve(machine, image(upstream)) as port:
        seen = apply(port, test=True)["netboot-image-p11-fetched"]
        assert "would be fetched from the host of salt-ssh." in seen["comment"]
        assert upstream.asked == []
        done = apply(port)
    assert done["netboot-image-p11-fetched"]["result"], done
    assert machine.kept.exists()
    assert records.iso("a.iso")["source"] == f"http://127.0.0.1:{port}/a.iso"
    again = apply(port)["netboot-image-p11-fetched"]
    assert (again["result"], again["changes"]) == (True, {})


def test_nobody_else_may_send_them(apply, upstream, machine):
    """Where the pillar does not name it, the controlling host is not asked."""
    with serve(machine, image(upstream)) as port:
        done = apply(port, order=["upstream"])
    assert done["netboot-image-p11-fetched"]["result"]
    assert not machine.kept.exists()


def test_port_that_is_not_forwarded(apply):
    states = apply(9)
    (warning,) = states["netboot-images-fetching"]["warnings"]
    assert "does not forward port 9 (Connection refused). Set AllowTcpForwarding" in warning
    assert states["netboot-image-p11-fetched"]["result"]


def test_nobody_has_it_but_a_host_that_does_not_forward(apply):
    states = apply(9, order=["controller"])
    failed = [one["comment"] for one in states.values() if one["result"] is False]
    assert "does not forward port 9" in failed[0]
    assert all("requisite failed" in one for one in failed[1:])


def test_apply_without_that_host(apply):
    states = apply(None, order=["controller"])
    assert "apply with ./netboot ssh there" in states["netboot-image-p11-fetched"]["comment"]
