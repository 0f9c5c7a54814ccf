"""What the web server answers: programs in its place that never end, or are none."""

import time

import pytest

import netboot_asked

from .sources import Raw, serving


def dripping(_server, connection, drip):
    connection.recv(4096)
    connection.sendall(b"HTTP/1.0 200 OK\r\n\r\n")
    drip(b"x")


def closing(_server, connection, _drip):
    connection.recv(4096)


CASES = [(dripping, "no answer (it came too slowly)"), (closing, "nothing, so another site")]


@pytest.mark.parametrize(("play", "said"), CASES)
def test_program_that_answers_in_its_place(tmp_path, monkeypatch, play, said):
    monkeypatch.setattr(netboot_asked, "_TIMEOUT_S", 0.5)
    (tmp_path / "menu").write_text("#!ipxe\n")
    begun = time.monotonic()
    with serving(Raw(play)) as raw:
        address, _, port = raw.at.partition(":")
        config = {"http": {"port": int(port)}, "root": str(tmp_path)}
        found = netboot_asked._wrong(address, config, str(tmp_path / "menu"), None)
    assert found.startswith(said)
    assert time.monotonic() - begun < 10
