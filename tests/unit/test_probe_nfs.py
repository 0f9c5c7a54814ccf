"""Reading over NFS: hostile servers on loopback, which answer what is written here.

The kernel's own server: tests/boot/test_probe_nfs.py.
"""

import struct
import time

import pytest

import probe_nfs
import probe_rpc
from probe_wire import Unreachable
from tests.functional.sources import Raw, serving

RPCBIND, NFS, MOUNT = 100000, 100003, 100005
GETPORT, MNT, UMNT = (RPCBIND, 3), (MOUNT, 1), (MOUNT, 3)
GETATTR, LOOKUP, READ, COMPOUND = (NFS, 1), (NFS, 3), (NFS, 6), (NFS, 99)
DATA = bytes(range(256)) * 600
LAST = 1 << 31
ATTRIBUTES = struct.pack(">5IQ", 1, 0o644, 1, 0, 0, len(DATA)) + bytes(56)


def numbers(*words):
    return struct.pack(f">{len(words)}I", *words)


def opaque(data):
    return numbers(len(data)) + data + bytes(-len(data) % 4)


def record(message):
    return numbers(LAST | len(message)) + message


class Answers:
    """What a server of DATA returns from each procedure; ``changed`` is what another one does."""

    def __init__(self, changed):
        self.changed, self.called, self.port = changed, [], 0
        self.returns = {
            GETPORT: lambda _: numbers(self.port),
            MNT: lambda _: numbers(0) + opaque(b"root") + numbers(1, 1),
            UMNT: lambda _: b"",
            LOOKUP: lambda _: numbers(0) + opaque(b"file") + numbers(0, 0),
            GETATTR: lambda _: numbers(0) + ATTRIBUTES,
            READ: self.read,
            COMPOUND: self.compound,
        }

    def read(self, asked):
        offset, length = struct.unpack_from(">QI", asked, 8)
        part = DATA[offset:][: min(length, 40_000)]
        return numbers(0, 1) + ATTRIBUTES + numbers(len(part), 0) + opaque(part)

    def compound(self, asked):
        (count,) = struct.unpack_from(">I", asked, 8)
        if count == 2:
            offset, length = struct.unpack_from(">QI", asked, len(asked) - 12)
            part = DATA[offset:][:length]
            return numbers(0, 0, 2, 22, 0, 25, 0, 0) + opaque(part)
        done = numbers(24, 0) + numbers(15, 0) * (count - 3)
        attributes = struct.pack(">IQ", 1, len(DATA))
        found = numbers(10, 0) + opaque(b"file") + numbers(9, 0, 1, 18) + opaque(attributes)
        return numbers(0, 0, count) + done + found

    def play(self, _server, connection, drip):
        while mark := connection.recv(4, 256):  # MSG_WAITALL
            (length,) = struct.unpack(">I", mark)
            asked = connection.recv(length & ~LAST, 256)
            xid, _, _, program, version, procedure = struct.unpack_from(">6I", asked)
            called = COMPOUND if version == 4 else (program, procedure)
            self.called.append(called)
            (credentials,) = struct.unpack_from(">I", asked, 28)
            arguments = asked[32 + credentials + 8 :]
            answer = self.changed.get(called, self.returns[called])
            if isinstance(answer, tuple):
                drip(*answer)
            elif answer is None:
                return
            elif isinstance(answer, bytes):
                connection.sendall(answer.replace(b"XID!", numbers(xid)))
            else:
                message = numbers(xid, 1, 0, 0, 0, 0) + answer(arguments)
                cut = len(message) // 8 * 4
                connection.sendall(numbers(cut) + message[:cut] + record(message[cut:]))


RANGES = [(70, 100_000), (len(DATA) - 3, 9), (len(DATA) + 5, 1)]


def read(changed, function=probe_nfs.read, timeout=5):
    answers = Answers(changed)
    with serving(Raw(answers.play)) as server:
        answers.port = port = server.server_address[1]
        more = {"older_port": port} if function is probe_nfs.read4 else {}
        arguments = ("127.0.0.1", "/srv/x", "a/b", RANGES, timeout, port)
        return function(*arguments, **more), answers.called


def test_ranges():
    found, called = read({})
    assert found == (len(DATA), [DATA[70:100_070], DATA[-3:], b""])
    mounted = [GETPORT, GETPORT, MNT, UMNT]
    assert called == [*mounted, LOOKUP, LOOKUP, GETATTR, *[READ] * 4]


def test_ranges_over_version_4():
    found, called = read({}, probe_nfs.read4)
    assert found == (len(DATA), [DATA[70:100_070], DATA[-3:], b""])
    assert called == [COMPOUND] * 4


def gives(*words, more=b""):
    return lambda _asked: numbers(*words) + more


@pytest.mark.parametrize(
    "answer",
    [
        record(b"XID!" + numbers(1, 0, 0, 0, 2, 2, 3)),  # PROG_MISMATCH
        gives(10021, 0, 0),
        gives(2, 0, 2, 24, 0, 15, 2),  # no export
        gives(10029, 0, 3, 24, 0, 15, 0, 15, 10029),  # a link leads to it
    ],
)
def test_version_3_where_clients_would_take_it(answer):
    found, called = read({COMPOUND: answer}, probe_nfs.read4)
    assert found[0] == len(DATA)
    assert called[:2] == [COMPOUND, GETPORT]


def test_first_version_is_blamed_when_the_second_is_not_there():
    changed = {COMPOUND: gives(2, 0, 2, 24, 0, 15, 2), GETPORT: gives(0)}
    with pytest.raises(Unreachable, match="^there is no export /srv/x for this machine$"):
        read(changed, probe_nfs.read4)


def test_server_that_has_to_look_something_up():
    later = [numbers(10008, 0), numbers(10008, 0)]
    answers = Answers({})
    changed = {LOOKUP: lambda asked: later.pop() if later else answers.returns[LOOKUP](asked)}
    assert read(changed)[0][0] == len(DATA)
    with pytest.raises(Unreachable, match=r"^it cannot be read \(DELAY\)$|stopped answering"):
        read({LOOKUP: gives(10008, 0)}, timeout=0.6)


@pytest.mark.parametrize(
    ("changed", "cause", "missing"),
    [
        ({GETPORT: gives(0)}, "rpcbind knows no mountd", 0),
        ({GETPORT: gives(1 << 20)}, "the server names 1048576 as a port", 0),
        ({GETPORT: gives(1)}, "no answer on TCP 1 (connection refused)", 0),
        ({GETPORT: None}, "the server closed the connection on TCP ", 0),
        ({MNT: gives(13)}, "the export /srv/x is refused to this machine", 0),
        ({MNT: gives(2)}, "there is no export /srv/x", 0),
        ({MNT: gives(10006)}, "the export /srv/x is refused (SERVERFAULT)", 0),
        ({MNT: gives(0, 65, more=bytes(68))}, "the server sends more than was asked for", 0),
        ({MNT: gives(0, 64, more=bytes(60))}, "the server sends an answer that is too short", 0),
        ({LOOKUP: gives(2, 0)}, "there is no such file", 1),
        ({LOOKUP: gives(13, 0)}, "reading it is refused", 0),
        ({LOOKUP: gives(70, 0)}, "it cannot be read (STALE)", 0),
        ({LOOKUP: gives()}, "the server sends an answer that is too short", 0),
        ({GETATTR: gives(0, 1)}, "the server sends an answer that is too short", 0),
        ({GETATTR: gives(0, 2, more=bytes(80))}, "it is a directory", 0),
        ({GETATTR: gives(0, 5, more=bytes(80))}, "it is a symbolic link", 0),
        ({GETATTR: gives(0, 4, more=bytes(80))}, "it is not a file", 0),
        ({READ: gives(0, 0, 0, 1, 0)}, "it ends after 70 of 153600 bytes", 0),
        ({READ: gives(0, 1)}, "the server sends an answer that is too short", 0),
        ({READ: gives(0, 0, 9, 1, 9, more=b"12345678")}, "the server sends an answer that is", 0),
        ({READ: gives(0, 0, 9, 1, 1 << 31)}, "the server sends more than was asked for", 0),
        ({READ: gives(0, 0, 9, 1, 65540, more=bytes(65540))}, "the server sends more than was", 0),
        # What is no answer to this question.
        ({LOOKUP: record(numbers(5, 1, 0, 0, 0, 0))}, "NFS 3: the server answers what was not", 0),
        ({LOOKUP: record(b"XID!" + numbers(0, 0))}, "NFS 3: the server answers what was not", 0),
        ({LOOKUP: record(b"XID!" + numbers(1, 1, 1, 5))}, "NFS 3 refuses this user", 0),
        ({LOOKUP: record(b"XID!" + numbers(1, 0, 0, 0, 1))}, "NFS 3 is not offered", 0),
        (
            {LOOKUP: record(b"XID!" + numbers(1, 0, 0, 0, 4))},
            "NFS 3 does not understand (status",
            0,
        ),
        ({LOOKUP: record(b"XID!" + numbers(1, 0, 0, 401))}, "the server sends more than was", 0),
        ({LOOKUP: record(b"XID!")}, "the server sends an answer that is too short", 0),
        ({GETPORT: b"HTTP/1.1 400 Bad"}, "rpcbind: the server does not answer in RPC", 0),
        ({LOOKUP: numbers(LAST | 0x7FFFFFFF)}, "NFS 3: the server does not answer in RPC", 0),
        # What never ends.
        ({LOOKUP: (numbers(0) * 999, 0)}, "the server sends more than was asked for", 0),
    ],
)
def test_refused_or_hostile(changed, cause, missing):
    refused(changed, cause, missing, probe_nfs.read)


@pytest.mark.parametrize(
    ("words", "cause", "missing"),
    [
        ((2, 0, 4, 24, 0, 15, 0, 15, 0, 15, 2), "there is no such file", 1),
        ((13, 0, 4, 24, 0, 15, 0, 15, 0, 15, 13), "reading it is refused", 0),
        ((13, 0, 2, 24, 0, 15, 13), "the export /srv/x is refused to this machine (ACCES)", 0),
        ((0, 0, 7), "the server sends an answer that is too short", 0),
        ((0, 0, 7, 24, 0, 15, 0, 15, 0, 15, 2), "the server answers what was not asked for", 0),
        ((0, 4, 0, 0), "the server sends more than was asked for", 0),
    ],
)
def test_refused_or_hostile_over_version_4(words, cause, missing):
    refused({COMPOUND: gives(*words)}, cause, missing, probe_nfs.read4)


def refused(changed, cause, missing, function):
    with pytest.raises(Unreachable) as err:
        read(changed, function)
    assert str(err.value).startswith(cause)
    assert err.value.missing == bool(missing)


@pytest.mark.parametrize("changed", [{LOOKUP: (numbers(4), 0.1)}, {GETPORT: b""}])
def test_what_never_ends(changed):
    began = time.monotonic()
    with pytest.raises(Unreachable, match="stopped answering|^no answer on TCP "):
        read(changed, timeout=0.3)
    assert time.monotonic() - began < 20  # these stalls do not end by themselves


def test_reserved_port_of_root(monkeypatch):
    asked = []

    def connected(_host, _port, _budget, own_ports):
        asked.extend(own_ports)
        raise Unreachable("no")

    monkeypatch.setattr(probe_rpc, "connect", connected)
    for user in (0, 1000):
        monkeypatch.setattr(probe_rpc.os, "geteuid", lambda user=user: user)
        with pytest.raises(Unreachable):
            probe_nfs.read("127.0.0.1", "/srv/x", "a", [(0, 1)])
    assert all(665 <= port < 1024 for port in asked[:-2])
    assert len(asked) == 12
    assert asked[-2:] == [0, 0]
