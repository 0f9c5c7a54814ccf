"""Reading over TFTP: packets, from servers that keep to RFC 1350 and 2347 and from hostile ones."""

import contextlib
import socket
import struct
import threading
import time

import pytest

import probe_tftp
from probe_wire import Unreachable

DATA = bytes(range(256)) * 40
SIZE = len(DATA)
READ, BLOCK, ACK, ERROR, OACK = 1, 3, 4, 5, 6


def packet(kind, number, body=b""):
    return struct.pack("!HH", kind, number) + body


def oack(**options):
    words = [word for pair in options.items() for word in pair]
    return struct.pack("!H", OACK) + b"".join(str(word).encode() + b"\0" for word in words)


def error(number, text=b"why"):
    return packet(ERROR, number, text + b"\0")


class TftpServer:
    """
    Serves ``data`` from a new port for each request; what ``sent`` does with a packet it sends.

    options: whether it knows them, and those that it answers whatever was asked; loses: the numbers
    of packets that do not arrive the first time; got: packets that came, of each transfer.
    """

    def __init__(self, data=DATA, options=None, loses=(), sent=lambda packets: packets):
        self.data, self.options, self.loses, self.sent = data, options, list(loses), sent
        self.got, self.requests, self._count = [], [], 0
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.settimeout(0.05)
        self.port = self._socket.getsockname()[1]
        self._end = threading.Event()
        self._threads = [threading.Thread(target=self._listen)]

    def __enter__(self):
        self._threads[0].start()
        return self

    def __exit__(self, *_):
        self._end.set()
        for thread in self._threads:
            thread.join()
        self._socket.close()

    def _listen(self):
        while not self._end.is_set():
            with contextlib.suppress(TimeoutError):
                request, client = self._socket.recvfrom(2000)
                self.requests.append(request)
                self._threads.append(
                    threading.Thread(target=self._transfer, args=(request, client))
                )
                self._threads[-1].start()

    def _transfer(self, request, client):
        asked = request[2:].split(b"\0")
        has_options = len(asked) > 3 and self.options is not False
        self.block = int(asked[5]) if has_options else 512
        first = 0 if has_options else 1
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind(("127.0.0.1", 0))
            sock.settimeout(0.05)
            self._send(sock, client, first)
            while True:
                try:
                    came, _client = sock.recvfrom(2000)
                except TimeoutError:
                    if self._end.is_set():
                        return
                    continue
                self.got.append(came)
                kind, number = struct.unpack_from("!HH", came)
                if kind == ACK and number * self.block <= len(self.data):
                    self._send(sock, client, number + 1)

    def _send(self, sock, client, number):
        if number:
            part = self.data[(number - 1) * self.block :][: self.block]
            out = packet(BLOCK, number, part)
        else:
            out = oack(**(self.options or {"tsize": len(self.data), "blksize": self.block}))
        for one in self.sent([out]):
            self._count += 1
            if self._count in self.loses:
                self.loses.remove(self._count)
            else:
                sock.sendto(one, client)


def read(server, most=SIZE, timeout=5):
    return probe_tftp.read("127.0.0.1", "./a/file", most, timeout, server.port)


def test_whole_file():
    with TftpServer() as server:
        assert read(server) == (SIZE, DATA)
    assert server.requests == [
        b"\0\1./a/file\0octet\0tsize\0" + b"0\0blksize\0" + b"1468\0",
    ]
    assert server.got == [packet(ACK, number) for number in range(8)]


@pytest.mark.parametrize("length", [0, 1, 1467, 1468, 1469, 2936])
@pytest.mark.parametrize("most", [2936, 5000])
def test_lengths_of_files(length, most):
    with TftpServer(DATA[:length]) as server:
        assert read(server, most) == (length, DATA[:length])
    assert server.got[-1] == packet(ACK, length // 1468 + 1)


def test_beginning_of_a_file():
    with TftpServer() as server:
        assert read(server, 2000) == (SIZE, DATA[:2000])
    assert server.got[-1] == error(0, b"enough")
    assert len(server.got) == 3


def test_size_alone_takes_no_block():
    with TftpServer() as server:
        assert probe_tftp.size("127.0.0.1", "x", 3, server.port) == SIZE
    assert server.got == [error(0, b"enough")]


def test_server_without_options():
    with TftpServer(options=False) as server:
        assert read(server, SIZE + 1) == (SIZE, DATA)
    with TftpServer(options=False) as server:
        assert read(server, 700) == (None, DATA[:700])


def test_server_that_refuses_options():
    def sent(packets):
        return [error(8)] if packets[0][1] == OACK else packets

    with TftpServer(sent=sent) as server:
        assert read(server, SIZE + 1) == (SIZE, DATA)
    assert server.requests[1] == b"\0\1./a/file\0octet\0"


def test_lost_packets_are_asked_for_again():
    with TftpServer(loses=[1, 3, 5]) as server:
        assert read(server) == (SIZE, DATA)


def test_packets_twice_and_of_others():
    strange = packet(BLOCK, 77, b"other")
    with TftpServer(sent=lambda packets: [b"", b"\0", strange, *packets, *packets]) as server:
        assert read(server) == (SIZE, DATA)


def test_numbers_of_blocks_begin_again():
    data = bytes(66000 * 8)
    with TftpServer(data, options={"blksize": 8}) as server:
        server.block = 8
        server._transfer = wrapping(server)
        assert read(server, len(data) + 1, 20) == (len(data), data)


def wrapping(server):
    """A transfer of blocks of 8 bytes whose numbers begin again at 0."""

    def transfer(_request, client):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind(("127.0.0.1", 0))
            sock.settimeout(5)
            sock.sendto(oack(blksize=8), client)
            for number in range(len(server.data) // 8 + 2):
                assert sock.recv(2000) == packet(ACK, number & 0xFFFF)
                if number <= len(server.data) // 8:
                    part = server.data[number * 8 :][:8]
                    sock.sendto(packet(BLOCK, number + 1 & 0xFFFF, part), client)

    return transfer


@pytest.mark.parametrize(
    ("answer", "cause", "missing"),
    [
        (error(1), "there is no such file", True),
        (error(2), "reading it is refused", False),
        (error(0, b"cannot access\n/x"), "the server answers: cannot access /x", False),
        (error(9, b""), "the server answers: error 9", False),
        (packet(ERROR, 3), "the server answers: error 3", False),
        (error(0, b"x" * 9000), f"the server answers: {'x' * 120}...", False),
        (oack(blksize=2000), "the server sends a block size that was not asked for", False),
        (oack(blksize=0), "the server sends a block size that was not asked for", False),
        (oack(tsize="-1"), "the server sends an option that is not a number", False),
        (oack(tsize="9" * 5000), "the server sends an option that is not a number", False),
        (oack(windowsize=64), "the server sends options that were not asked for", False),
        (packet(BLOCK, 1, bytes(513)), "the server sends a block that is too long", False),
    ],
)
def test_refused_or_hostile(answer, cause, missing):
    with TftpServer(sent=lambda _packets: [answer]) as server, pytest.raises(Unreachable) as err:
        read(server)
    assert (str(err.value), err.value.missing) == (cause, missing)


def test_file_that_is_cut_off():
    with TftpServer(options={"tsize": 20000, "blksize": 1468}) as server:
        with pytest.raises(Unreachable, match=f"^it ends after {SIZE} of 20000 bytes$"):
            read(server, 20000)


def test_file_that_is_longer_than_its_size():
    with TftpServer(options={"tsize": 2000, "blksize": 1468}) as server:
        with pytest.raises(Unreachable, match="^the server sends more than the file's size$"):
            read(server)


def test_transfer_that_stalls():
    def sent(packets):
        return [] if packets[0][:4] == packet(BLOCK, 3) else packets

    with TftpServer(sent=sent) as server:
        with pytest.raises(Unreachable, match="^the transfer stalls after 2936 bytes$"):
            read(server, timeout=0.5)


def test_flood_of_old_packets_ends():
    old = packet(BLOCK, 9, b"old")
    with TftpServer(sent=lambda packets: [old] * 50 if packets[0][1] == BLOCK else packets) as bad:
        began = time.monotonic()
        with pytest.raises(Unreachable, match="^the transfer stalls after 0 bytes$"):
            read(bad, timeout=0.5)
    assert time.monotonic() - began < 20  # it does not end by itself


def test_no_answer():
    with TftpServer(sent=lambda _packets: []) as server:
        cause = f"^no answer on UDP {server.port} in 0.3 s$"
        with pytest.raises(Unreachable, match=cause):
            read(server, timeout=0.3)
    began = time.monotonic()
    with pytest.raises(Unreachable, match=rf"^no answer on UDP {server.port} \(connection refused"):
        read(server)
    assert time.monotonic() - began < 4  # not at the end of the timeout


def test_host_without_an_address():
    with pytest.raises(Unreachable, match=r"^no answer: \.\. has no IPv4 address$"):
        probe_tftp.read("..", "x", 1)


def test_other_sender_gets_an_error_and_nothing_else():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.bind(("127.0.0.1", 0))
        stranger.settimeout(2)
        clients = []

        def sent(packets):
            if packets[0][:4] == packet(BLOCK, 2):
                stranger.sendto(packet(BLOCK, 2, b"x" * 1468), clients[0])
                time.sleep(0.05)
            return packets

        with TftpServer(sent=sent) as server:
            transfer = server._transfer
            server._transfer = lambda request, client: (
                clients.append(client),
                transfer(request, client),
            )
            assert read(server) == (SIZE, DATA)
        assert stranger.recv(100) == error(5, b"another transfer")
