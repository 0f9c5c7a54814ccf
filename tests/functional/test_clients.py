"""What netboot-clients keeps of the web server's log: by address, bounded, nothing twice."""

import json
import os
import random
import subprocess
import threading
import time

import pytest

import netboot_seen
from tests.conftest import CHECKOUT

PROGRAM = CHECKOUT / "salt/netboot/files/netboot-clients"
# Of nginx, which begins another log when it is told to.
SYSTEMCTL_STANDIN = """#!/bin/sh
echo "$*" >> "$STANDINS/calls"
"""


class Server:
    def __init__(self, base):
        self.base, self.log, self.store = base, base / "clients.jsonl", base / "store"
        (base / "bin").mkdir()
        systemctl = base / "bin/systemctl"
        systemctl.write_text(SYSTEMCTL_STANDIN)
        systemctl.chmod(0o755)
        self._number = 0

    def line(self, address, text=""):
        self._number += 1
        return json.dumps({"t": 1795680000.5, "a": address, "u": text, "i": str(self._number)})

    def logged(self, *lines):
        with self.log.open("a") as file:
            file.write("".join(f"{line.replace(': ', ':').replace(', ', ',')}\n" for line in lines))

    def run(self, kill_after=None, **variables):
        variables = {"REOPENED_S": 0, **variables}
        text = PROGRAM.read_text()
        for name, value in variables.items():
            before = next(one for one in text.splitlines() if one.startswith(f"{name} = "))
            text = text.replace(before, f"{name} = {value}")
        program = self.base / "program"
        program.write_text(text)
        environment = {"PATH": f"{self.base}/bin:{os.environ['PATH']}", "STANDINS": str(self.base)}
        words = [
            "python3",
            program,
            f"--log={self.log}",
            f"--store={self.store}",
            "--unit=nginx.service",
        ]
        with subprocess.Popen(
            words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as program:
            if kill_after is not None:
                time.sleep(kill_after)
                program.kill()
            out, err = program.communicate()
            return subprocess.CompletedProcess(words, program.returncode, out, err)

    def kept(self, address):
        path = self.store / f"{address}.jsonl"
        return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def server(tmp_path):
    return Server(tmp_path)


def test_lines_are_kept_by_address(server):
    server.logged(server.line("192.0.2.7"), server.line("192.0.2.8"), server.line("192.0.2.7"))
    server.log.chmod(0o640)
    done = server.run()
    assert (done.returncode, done.stderr) == (0, "")
    assert [len(server.kept(f"192.0.2.{number}")) for number in (7, 8, 9)] == [2, 1, 0]
    assert (server.base / "calls").read_text() == (
        "kill --signal=USR1 --kill-who=main nginx.service\n"
    )
    assert sorted(os.listdir(server.base)) == sorted(
        ["bin", "calls", "clients.jsonl", "program", "store"]
    )
    assert server.log.stat().st_mode & 0o777 == 0o640
    assert server.log.stat().st_size == 0
    assert server.store.stat().st_mode & 0o777 == 0o700


def test_nothing_to_do(server):
    assert server.run().returncode == 0
    server.log.touch()
    assert server.run().returncode == 0
    assert not server.store.exists()


def test_what_a_killed_run_left_comes_first(server):
    server.logged(server.line("192.0.2.7"))
    server.log.rename(f"{server.log}.read")
    server.logged(server.line("192.0.2.8"))
    assert server.run().returncode == 0
    assert (len(server.kept("192.0.2.7")), len(server.kept("192.0.2.8"))) == (1, 0)
    assert server.run().returncode == 0
    assert (len(server.kept("192.0.2.7")), len(server.kept("192.0.2.8"))) == (1, 1)


def test_nginx_is_told_again_after_a_run_that_was_killed_before(server):
    """Else it goes on with the old log, which is removed."""
    server.logged(server.line("192.0.2.7"))
    server.log.rename(f"{server.log}.read")
    assert server.run().returncode == 0
    assert "kill --signal=USR1" in (server.base / "calls").read_text()
    assert server.log.exists()


def test_nginx_that_cannot_be_told_loses_nothing(server):
    server.logged(server.line("192.0.2.7"))
    systemctl = server.base / "bin/systemctl"
    systemctl.write_text("#!/bin/sh\n[ $1 = is-active ]\n")
    done = server.run()
    assert (done.returncode, done.stderr) == (1, "nginx.service could not be told of its new log\n")
    systemctl.write_text(SYSTEMCTL_STANDIN)
    assert server.run().returncode == 0
    assert len(server.kept("192.0.2.7")) == 1


def test_line_that_a_full_disk_cut_off(server):
    server.logged(server.line("192.0.2.7"))
    assert server.run().returncode == 0
    with (server.store / "192.0.2.7.jsonl").open("a") as file:
        file.write('{"t":1.0,"a":"192.')
    server.logged(server.line("192.0.2.7"))
    assert server.run(BATCH_BYTES=1).returncode == 0
    first, cut, second = server.kept("192.0.2.7")
    assert cut == '{"t":1.0,"a":"192.'
    assert json.loads(second)["i"] == "2"


def test_what_is_no_file_of_ours_in_the_store(server):
    (server.store / "lost+found").mkdir(parents=True)
    (server.store / "192.0.2.9.jsonl").mkdir()
    server.logged(server.line("192.0.2.7"))
    assert server.run(TOTAL_BYTES=1, LEAST_BYTES=1000).returncode == 0
    assert len(server.kept("192.0.2.7")) == 1


@pytest.mark.parametrize(
    "line",
    [
        '{"t":1.0,"a":"../../etc/passwd","u":""}',
        '{"t":1.0,"a":"192.0.2.7","u":"',
        "nonsense",
        "\0" * 100,
        '{"t":1.0,"a":"192.0.2.7","u":"' + "x" * 5000 + '"}',
    ],
)
def test_what_nginx_did_not_write_is_left_out(server, line):
    server.logged(line, server.line("192.0.2.8"))
    assert server.run().returncode == 0
    assert os.listdir(server.store) == ["192.0.2.8.jsonl"]


def test_flood_of_one_client_removes_no_line_of_another(server):
    server.logged(*(server.line("192.0.2.8", f"other {number}") for number in range(100)))
    for _ in range(5):
        server.logged(*(server.line("192.0.2.7", "x" * 200) for _ in range(5000)))
        assert server.run(TOTAL_BYTES=1 << 20, LEAST_BYTES=32 << 10).returncode == 0
    assert len(server.kept("192.0.2.8")) == 100
    files = [path.stat().st_size for path in server.store.iterdir()]
    assert sum(files) <= 1 << 20
    newest = json.loads(server.kept("192.0.2.7")[-1])
    assert newest["i"] == str(server._number), "the newest lines are kept"


def test_what_was_not_logged_is_one_line(server):
    many = [json.loads(server.line("192.0.2.7")) for _ in range(30)]
    for line in many:
        del line["u"]
    server.logged(server.line("192.0.2.7"), *(json.dumps({**one, "unlogged": 100}) for one in many))
    assert server.run().returncode == 0
    _, line = server.kept("192.0.2.7")
    assert json.loads(line)["unlogged"] == 3000


def test_clients_that_were_not_seen_for_long_go_first(server):
    for number in range(4):
        address = f"192.0.2.{number}"
        server.logged(*(server.line(address, "x" * 200) for _ in range(100)))
        assert server.run().returncode == 0
        if number < 2:
            old = 1_700_000_000 + number
            os.utime(server.store / f"{address}.jsonl", (old, old))
    server.logged(server.line("192.0.2.3"))
    assert server.run(TOTAL_BYTES=80_000, LEAST_BYTES=80_000).returncode == 0
    assert sorted(os.listdir(server.store)) == [f"192.0.2.{number}.jsonl" for number in (1, 2, 3)]


def test_store_that_cannot_be_written(server):
    server.logged(server.line("192.0.2.7"))
    server.store.write_text("a file")
    done = server.run()
    assert done.returncode == 1
    assert done.stderr == f"{server.store}: File exists\n"
    server.store.unlink()
    assert server.run().returncode == 0
    assert len(server.kept("192.0.2.7")) == 1, "it was not lost"


class NginxStandin(threading.Thread):
    """Writes lines to the log that it has open, and opens it anew when it is told to."""

    def __init__(self, server, lines):
        super().__init__()
        self._server, self._lines = server, lines

    def run(self):
        told, log = self._told(), self._server.log.open("a")
        for line in self._lines:
            if told != self._told():
                told = self._told()
                log.close()
                log = self._server.log.open("a")
            log.write(line)
            log.flush()
            time.sleep(0.0002)
        log.close()

    def _told(self):
        calls = self._server.base / "calls"
        return calls.stat().st_size if calls.exists() else 0


def boot_of(number, server):
    """The requests of a client's boot, in their order."""
    address, mac = f"10.0.{number // 200}.{number % 200 + 1}", f"5254{number:08x}"
    steps = ["script", "menu", "chosen", "kernel", "initrd", "boot"]
    asked = [("/seen", f"m={mac}&s={step}&e=alt-live") for step in steps]
    asked[4:4] = [("/tftp/netboot/x86_64/alt/vmlinuz", "")] * 6
    for at, (uri, arguments) in enumerate(asked):
        line = json.loads(server.line(address, uri))
        line.update(t=1795680000.5 + at, g=arguments, m="GET", s=200, n=9, l="9", c="OK", d=0.1)
        yield json.dumps(line, separators=(",", ":")) + "\n"


def test_200_clients_while_the_power_fails(server):
    """Nothing is lost, nothing counts twice: runs are killed anywhere, lines come all the time."""
    boots = [boot_of(number, server) for number in range(200)]
    # One after the other in each boot, the boots among each other.
    order = [number for number in range(200) for _ in range(12)]
    chance = random.Random(7)  # noqa: S311 (no secret)
    chance.shuffle(order)
    nginx = NginxStandin(server, [next(boots[number]) for number in order])
    server.log.touch()
    nginx.start()
    killed = 0
    while nginx.is_alive():
        killed += server.run(kill_after=chance.uniform(0.02, 0.2), REOPENED_S=0.05).returncode < 0
    for _ in range(2):
        assert server.run(REOPENED_S=0.05).returncode == 0
    assert killed > 2
    seen = netboot_seen.boots(str(server.store), str(server.log), [])
    assert len(seen) == 200
    assert {len(boot.steps) for boot in seen} == {6}
    assert {len(boot.fetches) for boot in seen} == {6}
    assert {boot.bytes for boot in seen} == {54}
