"""Ports: who holds them, seen on sockets of this test's own."""

import os
import socket
import subprocess
import sys

import pytest

import netboot_ports
import netboot_sockets


@pytest.fixture
def clashes(states, configured):
    """The state for a web server on this port; TFTP alone beside it."""

    def _clashes(port, address="127.0.0.1", **http):
        config = configured({"dhcp": {"mode": "off"}})
        http = {**config["http"], "port": port, **http}
        configured(address=address, interfaces=[], http=http, dhcp={"mode": "off"})
        return states.netboot_service.ports_free("ports")

    return _clashes


@pytest.fixture
def held():
    """Somebody else's server on a port of loopback."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def process():
    with open(f"/proc/{os.getpid()}/comm", encoding="utf-8") as file:
        return file.read().strip()


def test_listeners(held):
    (listener,) = netboot_sockets.listeners("tcp", held)
    assert (listener["address"], listener["process"]) == ("127.0.0.1", process())


def test_ipv6():
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as server:
        (listener,) = netboot_sockets.listeners("tcp", server.getsockname()[1])
    assert listener["address"] == "::1"


def test_udp():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        (listener,) = netboot_sockets.listeners("udp", server.getsockname()[1])
    assert listener["process"] == process()


def test_clash_is_named(clashes, held):
    done = clashes(held)
    assert done.result is False
    assert done.comment.startswith(f"TCP port {held}, which HTTP needs, is held by {process()}")
    assert "netboot:http:port" in done.comment


def test_other_address_is_no_clash(clashes, held):
    assert clashes(held, listen=["127.0.0.2"]).result is True


def test_all_addresses_clash_with_one(clashes, held):
    assert clashes(held, address="127.0.0.2").result is False


# Holds a UDP port on all addresses, prints it, and goes on until its stdin is closed.
HOLDER = """
import socket, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, int(sys.argv[1]))
    sock.bind(("", 0))
    print(sock.getsockname()[1], flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("shared", [True, False])
def test_dnsmasq_of_somebody_else(configured, monkeypatch, tmp_path, shared):
    """One that serves some interfaces only is not in the way, one that takes all is."""
    program = tmp_path / "dnsmasq"  # the process has this name
    program.symlink_to(sys.executable)
    argv = [program, "-c", HOLDER, str(int(shared))]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        port = int(holder.stdout.readline())
        row = {"protocol": "udp", "port": port, "for": "DHCP", "key": "dhcp:mode", "at": []}
        needed = [{**row, "ours": ["netboot-dnsmasq.service"]}]
        monkeypatch.setattr(netboot_ports, "needed", lambda _config: needed)
        said = netboot_sockets.clashes(configured(), [])
        holder.stdin.close()
    assert len(said) == (not shared)
    for one in said:
        assert one.startswith(f"UDP port {port}, which DHCP needs, is held by dnsmasq")


def test_https(clashes, held):
    done = clashes(80, certificate="/etc/ssl/netboot.pem", https_port=held)
    (said,) = [line for line in done.comment.splitlines() if "HTTPS" in line]
    assert said.endswith("change netboot:http:https_port.")


@pytest.mark.parametrize(
    ("mode", "serves", "ports"),
    [
        ("off", ["http"], {"69", "80", "61000-65535"}),
        ("proxy", ["http"], {"69", "80", "67", "4011", "61000-65535"}),
        (
            "server",
            ["cifs", "ftp", "http", "nfs"],
            {"69", "80", "67", "4011", "61000-65535"}
            | {"445", "21", "50000-50999", "2049", "111", "20048"},
        ),
    ],
)
def test_what_is_needed(configured, mode, serves, ports):
    rows = netboot_ports.needed(configured(dhcp={"mode": mode}, serves=serves))
    assert {"-".join(str(row[at]) for at in ("port", "last") if at in row) for row in rows} == ports
