"""Reading over SMB: hostile servers on loopback, which answer what is written here.

A real Samba: tests/integration/test_probe_methods.py.
"""

import struct
import time

import pytest

import probe_smb
from probe_wire import Unreachable
from tests.functional.sources import Raw, serving

HEADER = struct.Struct("<4sHHIHHIIQIIQ16s")
NEGOTIATE, SETUP, CONNECT, CREATE, CLOSE, READ, LOGOFF = 0, 1, 3, 5, 6, 8, 2
DATA = bytes(range(256)) * 600
NO_KEY = "which a guest cannot do: a guest has no password"


def framed(message):
    return struct.pack(">I", len(message)) + message


class Answers:
    """What a server of DATA answers to each command; ``changed`` are the answers of another one."""

    def __init__(self, changed):
        self.changed, self.commands = changed, []

    def play(self, _server, connection, drip):
        while header := connection.recv(4, 256):  # MSG_WAITALL
            (length,) = struct.unpack(">I", header)
            asked = connection.recv(length, 256)
            command, number = asked[12], struct.unpack_from("<Q", asked, 24)[0]
            self.commands.append(command)
            answer = self.changed.get(command, getattr(self, f"on_{command}", None))
            if isinstance(answer, tuple):
                drip(*answer)
            elif isinstance(answer, bytes):
                connection.sendall(answer)
            elif answer is None:
                return
            else:
                for status, body in answer(asked[64:]):
                    connection.sendall(framed(self.header(command, number, status) + body))

    def header(self, command, number, status):
        ids = (number, 0, 7, 9, bytes(16))
        return HEADER.pack(b"\xfeSMB", 64, 1, status, command, 1, 1, 0, *ids)

    def on_0(self, _asked):
        yield 0, struct.pack("<HHH", 65, 1, 0x0302) + bytes(60)

    def on_1(self, asked):
        last = struct.unpack_from("<I", asked, 24 + 8)[0] == 3
        yield (0 if last else 0xC0000016), struct.pack("<HHHH", 9, 2, 72, 0)

    def on_3(self, _asked):
        yield 0, struct.pack("<HBBIII", 16, 1, 0, 0, 0, 0)

    def on_5(self, _asked):
        yield 0, bytes(48) + struct.pack("<QII16s", len(DATA), 0, 0, b"f" * 16) + bytes(8)

    def on_8(self, asked):
        length, offset = struct.unpack_from("<IQ", asked, 4)
        part = DATA[offset:][:length]
        yield 0x103, bytes(9)  # the answer comes later
        yield 0, read_body(part)

    def on_6(self, _asked):
        yield 0, bytes(60)

    on_2 = on_6


def read_body(part, at=80, came=None):
    return struct.pack("<HBBIII", 17, at, 0, len(part) if came is None else came, 0, 0) + part


def read(changed, timeout=5, length=100_000):
    answers = Answers(changed)
    with serving(Raw(answers.play)) as server:
        port = server.server_address[1]
        ranges = [(70, length), (len(DATA) - 3, 9), (len(DATA) + 5, 1)]
        found = probe_smb.read("127.0.0.1", "dist", "/a/b", ranges, timeout, port)
    return found, answers.commands


def test_ranges():
    found, commands = read({})
    assert found == (len(DATA), [DATA[70:100_070], DATA[-3:], b""])
    assert commands == [NEGOTIATE, SETUP, SETUP, CONNECT, CREATE, READ, READ, READ, CLOSE, LOGOFF]


def test_end_of_the_session_does_not_matter():
    assert read({CLOSE: None})[0][0] == len(DATA)


def says(status, body=b""):
    return lambda _asked: [(status, body)]


def with_header(command, **changes):
    fields = {"id": b"\xfeSMB", "size": 64, "charge": 1, "status": 0, "command": command}
    fields |= {"credit": 1, "flags": 1, "next": 0, "number": 0, "process": 0, "tree": 0}
    fields |= {"session": 0, "signature": bytes(16)}
    return framed(HEADER.pack(*{**fields, **changes}.values()) + bytes(80))


@pytest.mark.parametrize(
    ("changed", "cause", "missing"),
    [
        ({NEGOTIATE: says(0xC00000BB)}, "the server refuses SMB 2.0.2 to 3.1.1 (NOT_SUPPORTED)", 0),
        ({NEGOTIATE: says(0, struct.pack("<HHH", 65, 3, 0x0302))}, "the server requires sign", 0),
        (
            {NEGOTIATE: says(0, struct.pack("<HHH", 65, 1, 0x02FF))},
            "the server chooses the unknown SMB dialect 0x02ff",
            0,
        ),
        ({SETUP: says(0xC000006D)}, "the server refuses guests (LOGON_FAILURE)", 0),
        ({SETUP: says(0xC0000022)}, "the server refuses guests (ACCESS_DENIED)", 0),
        ({SETUP: says(0xC0000016)}, "the server refuses a session (status 0xc0000016)", 0),
        (
            {SETUP: says(0, struct.pack("<HH", 9, 4))},
            f"the server requires encryption, {NO_KEY}",
            0,
        ),
        ({CONNECT: says(0xC00000CC)}, "there is no share dist", 0),
        ({CONNECT: says(0xC0000022)}, "the share dist is refused", 0),
        ({CONNECT: says(0xC000009A)}, "the share dist is refused (INSUFFICIENT_RESOURCES)", 0),
        (
            {CONNECT: says(0, struct.pack("<HBBI", 16, 1, 0, 0x8000))},
            f"the share dist requires encryption, {NO_KEY}",
            0,
        ),
        ({CREATE: says(0xC0000034)}, "there is no such file", 1),
        ({CREATE: says(0xC000003A)}, "there is no such file", 1),
        ({CREATE: says(0xC0000022)}, "reading it is refused", 0),
        ({CREATE: says(0xC00000BA)}, "it cannot be opened (FILE_IS_A_DIRECTORY)", 0),
        ({READ: says(0xC0000011)}, "it ends after 70 of 153600 bytes", 0),
        ({READ: says(0xC0000022)}, "reading it is refused", 0),
        ({READ: says(0xC000009A)}, "it cannot be read (INSUFFICIENT_RESOURCES)", 0),
        # Lengths that are not true.
        ({READ: says(0, read_body(b"x" * 9, came=10))}, "the server sends a part that", 0),
        ({READ: says(0, read_body(b"", came=0))}, "the server sends a part that was not asked", 0),
        ({READ: says(0, read_body(b"x" * 9, at=16))}, "the server sends a part that was not", 0),
        ({READ: says(0, read_body(b"x" * 9, at=200))}, "the server sends a part that was not", 0),
        ({READ: says(0, read_body(b"x", came=1 << 31))}, "the server sends a part that was not", 0),
        ({READ: says(0, bytes(4))}, "the server sends an answer that is too short", 0),
        ({NEGOTIATE: says(0)}, "the server sends an answer that is too short", 0),
        ({SETUP: says(0)}, "the server sends an answer that is too short", 0),
        ({CONNECT: says(0)}, "the server sends an answer that is too short", 0),
        ({CREATE: says(0, bytes(60))}, "the server sends an answer that is too short", 0),
        # Other protocols, frames and headers that are not true.
        ({NEGOTIATE: framed(b"\xffSMB" + bytes(60))}, "the server speaks only SMB 1", 0),
        ({SETUP: framed(b"\xfdSMB" + bytes(60))}, f"the server requires encryption, {NO_KEY}", 0),
        ({NEGOTIATE: b"HTTP/1.1 400 Bad Request\r\n"}, "the server does not answer in SMB", 0),
        ({NEGOTIATE: framed(bytes(100))}, "the server does not answer in SMB", 0),
        ({NEGOTIATE: b"\x83\0\0\1\x82"}, "the server refuses this machine", 0),
        ({NEGOTIATE: b"\0\0\0\0"}, "the server does not answer in SMB", 0),
        ({NEGOTIATE: b"\0\xff\xff\xff" + bytes(99)}, "the server does not answer in SMB", 0),
        ({NEGOTIATE: with_header(1)}, "the server answers what was not asked for", 0),
        ({NEGOTIATE: with_header(0, number=1)}, "the server answers what was not asked for", 0),
        ({NEGOTIATE: with_header(0, size=63)}, "the server answers what was not asked for", 0),
        ({NEGOTIATE: None}, "the server closed the connection on TCP ", 0),
        ({READ: None}, "the server closed the connection on TCP ", 0),
        # What never ends.
        (
            {NEGOTIATE: (with_header(0, status=0x103) * 99, 0)},
            "the server sends more than was asked for",
            0,
        ),
        (
            {NEGOTIATE: (with_header(18, number=(1 << 64) - 1) * 99, 0)},
            "the server sends more than was asked for",
            0,
        ),
    ],
)
def test_refused_or_hostile(changed, cause, missing):
    with pytest.raises(Unreachable) as err:
        read(changed)
    assert str(err.value).startswith(cause)
    assert err.value.missing == bool(missing)


@pytest.mark.parametrize("changed", [{NEGOTIATE: b""}, {NEGOTIATE: (b"\0\0\1\0",)}])
def test_what_never_ends(changed):
    began = time.monotonic()
    with pytest.raises(Unreachable, match="stopped answering|^no answer on TCP "):
        read(changed, timeout=0.3)
    assert time.monotonic() - began < 20  # these stalls do not end by themselves


def test_read_of_a_byte_at_a_time_ends():
    def byte(asked):
        offset = struct.unpack_from("<Q", asked, 8)[0]
        return [(0, read_body(DATA[offset : offset + 1]))]

    with pytest.raises(Unreachable, match="^the server sends more than|stopped answering"):
        read({READ: byte})
