"""
Remote procedure calls over TCP: RFC 5531, its data in XDR: RFC 4506; rpcbind: RFC 1833.
"""

from __future__ import annotations

import os
import random
import struct

from probe_wire import Budget, Unreachable, connect

PORT = 111
_RPCBIND = ("rpcbind", 100000, 2)
_GETPORT, _TCP = 3, 6
_SYS = 1
# Servers take questions of mounts from such ports alone, unless "insecure" (exports(5)).
_RESERVED, _TRIES = range(665, 1024), 10
_LAST = 1 << 31
_MOST_BYTES = (1 << 16) + 4096
_LONGEST_VERIFIER = 400
# accept_stat, RFC 5531, 9.
_ACCEPTED = {1: "is not offered", 2: "is not offered in this version", 5: "fails: SYSTEM_ERR"}


class Answer:
    """What a procedure returned: numbers and byte strings, one after the other."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def number(self) -> int:
        """Return the next number of 32 bits."""
        (value,) = struct.unpack(">I", self.skip(4))
        return int(value)

    def long(self) -> int:
        """Return the next number of 64 bits."""
        (value,) = struct.unpack(">Q", self.skip(8))
        return int(value)

    def opaque(self, most: int) -> bytes:
        """Return the next byte string, of so many bytes at most."""
        length = self.number()
        if length > most:
            raise Unreachable("the server sends more than was asked for")
        data = self.skip(length)
        self.skip(-length % 4)
        return data

    def skip(self, count: int) -> bytes:
        """Return the next bytes."""
        data = self._data[self._at : self._at + count]
        if len(data) != count:
            raise Unreachable("the server sends an answer that is too short")
        self._at += count
        return data


class Program:
    """
    A connection to a program: its name in messages, number and version.
    """

    def __init__(self, program: tuple[str, int, int], host: str, port: int, budget: Budget) -> None:
        self._name, self._number, self._version = program
        self._id = random.getrandbits(31)  # noqa: S311 (names a question, keeps no secret)
        own = random.sample(_RESERVED, _TRIES) if os.geteuid() == 0 else []
        self._wire = connect(host, port, budget, [*own, 0])

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *_: object) -> None:
        self._wire.close()

    def call(self, procedure: int, arguments: bytes = b"") -> Answer:
        """Return what a procedure returns to the user of this process."""
        self._id += 1
        # AUTH_SYS: stamp, machine, user, group, no more groups (RFC 5531, appendix A).
        who = struct.pack(">5I", 0, 0, os.geteuid(), os.getegid(), 0)
        header = struct.pack(">6I", self._id, 0, 2, self._number, self._version, procedure)
        message = header + struct.pack(">2I", _SYS, len(who)) + who + bytes(8) + arguments
        self._wire.sendall(struct.pack(">I", _LAST | len(message)) + message)
        answer = Answer(self._record())
        if (answer.number(), answer.number()) != (self._id, 1):
            raise Unreachable(f"{self._name}: the server answers what was not asked for")
        if answer.number():
            raise Unreachable(f"{self._name} refuses this user")
        answer.number()
        answer.opaque(_LONGEST_VERIFIER)
        status = answer.number()
        if status:
            words = _ACCEPTED.get(status, f"does not understand (status {status})")
            raise Refused(f"{self._name} {words}")
        return answer

    def _record(self) -> bytes:
        """Return a message, which comes in fragments (RFC 5531, 11)."""
        message = b""
        while True:
            (mark,) = struct.unpack(">I", self._wire.exactly(4))
            length = mark & ~_LAST
            if len(message) + length > _MOST_BYTES:
                raise Unreachable(f"{self._name}: the server does not answer in RPC")
            message += self._wire.exactly(length)
            if mark & _LAST:
                return message


class Refused(Unreachable):
    """The program is not there, or not in this version."""


def port_of(program: tuple[str, int, int], host: str, port: int, budget: Budget) -> int:
    """
    Return the TCP port of a program, as rpcbind says. Raises Unreachable.

    program
        Its name in messages, number and version.

    host, port
        The server; the port of rpcbind.

    budget
        Limits of the connection.
    """
    name, number, version = program
    try:
        with Program(_RPCBIND, host, port, budget) as rpcbind:
            asked = struct.pack(">4I", number, version, _TCP, 0)
            found = rpcbind.call(_GETPORT, asked).number()
    except Unreachable as err:
        raise Unreachable(f"{err}; NFS 3 needs rpcbind") from None
    if not found:
        raise Refused(f"rpcbind knows no {name}")
    return found


def opaque(data: bytes) -> bytes:
    """
    Return a byte string in XDR.

    data
        The bytes.
    """
    return struct.pack(">I", len(data)) + data + bytes(-len(data) % 4)
