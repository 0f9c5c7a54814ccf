"""Reading ranges over FTP, from servers on loopback: one that behaves, and hostile ones."""

import socket
import time

import pytest

import probe_ftp
import probe_reach
from probe_wire import Unreachable
from tests.functional.sources import BadFtp, Raw, serving

DATA = bytes(range(256)) * 40


@pytest.fixture
def server():
    with serving(BadFtp()) as found:
        found.files["/dist/a b.iso"] = DATA
        yield found


def test_ranges(server):
    ranges = [(0, 10), (5000, 100), (len(DATA) - 3, 99), (0, 0)]
    assert probe_reach.read(f"{server.url}/dist/a%20b.iso", ranges, 3) == (
        len(DATA),
        [DATA[offset : offset + length] for offset, length in ranges],
    )
    assert "USER anonymous" in server.asked
    assert "REST 5000" in server.asked
    assert "REST 0" not in server.asked


def test_names_are_sent_as_they_are():
    asked = []

    def play(_server, connection, _drip):
        for answer in (*LOGIN, b"550 no"):
            connection.sendall(answer + b"\r\n")
            asked.append(connection.recv(4096))

    with serving(Raw(play)) as raw, pytest.raises(Unreachable, match="550 no"):
        probe_reach.read(f"ftp://{raw.at}/%d0%b9%ff", [(0, 1)], 5)
    assert asked[-2] == b"SIZE /\xd0\xb9\xff\r\n"


def test_file_that_is_not_there(server):
    with pytest.raises(Unreachable, match="^the server answers 550 ") as err:
        probe_reach.read(f"{server.url}/dist/b.iso", [(0, 1)], 3)
    assert err.value.missing


def test_name_with_a_command(server):
    with pytest.raises(Unreachable, match="^there is no such file$"):
        probe_reach.read(f"{server.url}/a%0d%0aDELE%20x", [(0, 1)], 3)
    assert server.asked == []


def test_server_without_sizes(server):
    server.lacks = ("SIZE",)
    url = f"{server.url}/dist/a%20b.iso"
    assert probe_reach.read(url, [(7, 9), (len(DATA) - 1, 9)], 3) == (
        None,
        [DATA[7:16], DATA[-1:]],
    )


def test_file_that_is_cut_off(server):
    server.faults = [{"cut": 100}]
    with pytest.raises(Unreachable, match="^(it ends after 100 of 10240 bytes|the server answers)"):
        probe_reach.read(f"{server.url}/dist/a%20b.iso", [(0, len(DATA))], 3)


def answering(*answers):
    """Answer each command in turn; PASV: the port of a connection that gets what follows."""

    def play(server, connection, drip):
        for answer in answers:
            if isinstance(answer, tuple):
                drip(*answer)
                return
            if answer == "PASV":
                data = socket.create_server(("127.0.0.1", 0))
                port = data.getsockname()[1]
                answer = f"227 (127,0,0,1,{port >> 8},{port & 255})".encode()
            connection.sendall(answer + b"\r\n")
            connection.recv(4096)

    return play


LOGIN = (b"220 a", b"331 b", b"230 c", b"200 d")
SIZED = (*LOGIN, b"213 9")
FLOOD = 0


@pytest.mark.parametrize(
    ("answers", "cause"),
    [
        ([b"421 too many"], "the server answers 421 too many"),
        ([b"220 a", b"530 no"], "a login without a password is refused: 530 no"),
        ([b"220 a", b"331 b", b"530 no\x07"], "a login without a password is refused: 530 no"),
        ([b"HTTP/1.1 400"], "the server answers HTTP"),
        ([b"220 a"], "the server closed the connection on TCP "),
        ([(b"220-x\r\n" * 1000, FLOOD)], "the server sends more than was asked for"),
        ([(b"x" * 9000, FLOOD)], "the server answers got more than 8192 bytes"),
        ([*LOGIN, b"213 -1"], "the server says that the file's size is -1"),
        ([*LOGIN, b"213 " + b"9" * 5000], "the server says that the file's size is 999"),
        ([*SIZED, b"227 no numbers"], "the server answers 227 no numbers"),
        ([*SIZED, b"227 (10,0,0,1,0,0)"], "the server names 0 as a port"),
        ([*SIZED, b"227 (10,0,0,1,99999,0)"], "the server names 25599744 as a port"),
        ([*SIZED, b"227 (10,0,0,1,0,1)"], "no answer on TCP 1 "),
        ([*SIZED, "PASV", b"200 what"], "the server answers 200 what"),
        ([*SIZED, "PASV", b"425 cannot"], "the server answers 425 cannot"),
    ],
)
def test_refused_or_hostile(answers, cause):
    with serving(Raw(answering(*answers))) as server:
        port = server.server_address[1]
        with pytest.raises(Unreachable, match=f"^{cause}"):
            probe_ftp.read("127.0.0.1", "/x", [(0, 9)], 5, port)


@pytest.mark.parametrize("answer", [(b"2",), (b"220-x\r\n",)])
def test_what_never_ends(answer):
    with serving(Raw(answering(answer))) as server:
        port = server.server_address[1]
        began = time.monotonic()
        with pytest.raises(Unreachable, match="stopped answering|^no answer on TCP "):
            probe_ftp.read("127.0.0.1", "/x", [(0, 9)], 0.3, port)
    assert time.monotonic() - began < 20  # these stalls do not end by themselves


def test_data_that_do_not_come():
    def play(server, connection, _drip):
        data = socket.create_server(("127.0.0.1", 0))
        port = data.getsockname()[1]
        pasv = f"227 (127,0,0,1,{port >> 8},{port & 255})".encode()
        for answer in (*SIZED, pasv, b"150 x"):
            connection.sendall(answer + b"\r\n")
            if answer != b"150 x":
                connection.recv(4096)
        server.released.wait(30)
        data.close()

    with serving(Raw(play)) as server:
        port = server.server_address[1]
        with pytest.raises(Unreachable, match=r"^no answer on TCP \d+ in 0.5 s$"):
            probe_ftp.read("127.0.0.1", "/x", [(0, 9)], 0.5, port)
