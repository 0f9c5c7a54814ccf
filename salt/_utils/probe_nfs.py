"""
Read parts of a file over NFS, without a mount.

Version 3 (RFC 1813; MOUNT: its appendix I), which is all that propagator's nfsmount speaks, and
version 4.0 (RFC 7530): mount.nfs, which altboot uses, tries 4 first, which needs neither rpcbind
nor mountd, then 3.
"""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Callable

import probe_rpc
from probe_rpc import Answer, Program, Refused, opaque, port_of
from probe_wire import NO_ANSWER, Budget, Unreachable, kept, one_line

PORT = probe_rpc.PORT
PORT_OF_4 = 2049
_MOUNT, _NFS3, _NFS4 = ("mountd", 100005, 3), ("NFS 3", 100003, 3), ("NFS 4", 100003, 4)
_MNT, _UMNT = 1, 3
_GETATTR, _LOOKUP, _READ = 1, 3, 6
# RFC 7530, 16: operations of the procedure COMPOUND.
_COMPOUND = 1
_OP_GETATTR, _OP_GETFH, _OP_LOOKUP, _OP_PUTFH, _OP_PUTROOTFH, _OP_READ = 9, 10, 15, 22, 24, 25
# RFC 7530, 9.1.4.3: a read that needs no open file, also just after a start of the server.
_ANY_STATE = b"\xff" * 16
# FATTR4_TYPE and FATTR4_SIZE, as a bitmap of one word.
_TYPE_AND_SIZE = (1 << 1) | (1 << 4)
_LONGEST_HANDLE = {3: 64, 4: 128}
_CHUNK = 1 << 16
_ATTRIBUTES_BYTES = 84
_FILE, _FOLDER, _LINK = 1, 2, 5
_NO_ENTRY, _NO_FOLDER, _LATER, _WRONG_MINOR, _IS_LINK = 2, 20, 10008, 10021, 10029
_NO_EXPORT = (_NO_ENTRY, _NO_FOLDER, _IS_LINK)
_DENIED = (1, 13)
_PAUSE_S = 0.1
# RFC 1813, 2.6; RFC 7530, 13.1.
_STATUSES = {
    1: "PERM",
    2: "NOENT",
    5: "IO",
    13: "ACCES",
    20: "NOTDIR",
    21: "ISDIR",
    22: "INVAL",
    63: "NAMETOOLONG",
    70: "STALE",
    10001: "BADHANDLE",
    10004: "NOTSUPP",
    10006: "SERVERFAULT",
    10008: "DELAY",
    10013: "GRACE",
    10016: "WRONGSEC",
    10021: "MINOR_VERS_MISMATCH",
    10029: "SYMLINK",
}


class _NoVersion4(Unreachable):
    """Clients would try version 3."""


def read(
    host: str,
    export: str,
    path: str,
    ranges: list[tuple[int, int]],
    timeout: float = 10,
    port: int = PORT,
) -> tuple[int, list[bytes]]:
    """
    Return a file's size, and the bytes of each range; fewer where the file ends; over version 3.

    host, export, path, port
        The server; the directory that clients mount; the file below it; the port of rpcbind.

    ranges
        Pairs of offset and length.

    timeout
        Seconds, see ``probe_wire.Budget``.

    Raises Unreachable. Links are not followed.
    """
    budget = Budget(timeout, kept(ranges))
    mountd = port_of(_MOUNT, host, port, budget)
    nfs = port_of(_NFS3, host, port, budget)
    folder = _mounted(host, mountd, export, budget)
    with Program(_NFS3, host, nfs, budget) as program:
        found = _Version3(program, budget, folder)
        file = found.open(_names(path))
        return found.size, [found.part(file, offset, length) for offset, length in ranges]


def read4(
    host: str,
    export: str,
    path: str,
    ranges: list[tuple[int, int]],
    timeout: float = 10,
    port: int = PORT_OF_4,
    older_port: int = PORT,
) -> tuple[int, list[bytes]]:
    """
    Return the same over version 4, or over 3 where clients would.

    host, export, path, ranges, timeout
        See ``read``.

    port, older_port
        Ports of the server, and of rpcbind.

    Raises Unreachable.
    """
    budget = Budget(timeout, kept(ranges))
    try:
        try:
            program = Program(_NFS4, host, port, budget)
        except Unreachable as err:
            raise _NoVersion4(str(err)) from None
        with program:
            found = _Version4(program, budget)
            file = found.open(_names(export), _names(path))
            return found.size, [found.part(file, offset, length) for offset, length in ranges]
    except _NoVersion4 as first:
        try:
            return read(host, export, path, ranges, timeout, older_port)
        except Unreachable as err:
            if isinstance(err, Refused) or str(err).startswith(NO_ANSWER):
                raise Unreachable(str(first)) from None
            raise


def _names(path: str) -> list[bytes]:
    names = [os.fsencode(name) for name in path.split("/") if name not in ("", ".")]
    if b".." in names or any(b"\0" in name for name in names):
        raise Unreachable("there is no such file", missing=True)
    return names


def _mounted(host: str, port: int, export: str, budget: Budget) -> bytes:
    """Return the handle of an export."""
    name = opaque(os.fsencode(export))
    with Program(_MOUNT, host, port, budget) as mountd:
        answer = mountd.call(_MNT, name)
        status = answer.number()
        if status in _DENIED:
            raise Unreachable(f"the export {one_line(export)} is refused to this machine")
        if status in (_NO_ENTRY, _NO_FOLDER):
            raise Unreachable(f"there is no export {one_line(export)}")
        if status:
            raise Unreachable(f"the export {one_line(export)} is refused ({_name(status)})")
        folder = answer.opaque(_LONGEST_HANDLE[3])
        # Else mountd lists this machine as a client (showmount -a).
        mountd.call(_UMNT, name)
    return folder


class _Reader:
    """What versions have in common; ``size`` is that of the open file."""

    size = 0

    def __init__(self, program: Program, budget: Budget) -> None:
        self._program, self._budget = program, budget

    def part(self, file: bytes, offset: int, length: int) -> bytes:
        """Return bytes of an open file."""
        right = max(0, min(length, self.size - offset))
        data = bytearray()
        while len(data) < right:
            at = offset + len(data)
            chunk = self._chunk(file, at, min(_CHUNK, right - len(data)))
            if not chunk:
                raise Unreachable(f"it ends after {at} of {self.size} bytes")
            data += chunk
        return bytes(data)

    def _chunk(self, file: bytes, offset: int, length: int) -> bytes:
        raise NotImplementedError

    def _patiently(self, ask: Callable[[], tuple[int, Answer]]) -> tuple[int, Answer]:
        """Ask again while the server has to look something up (JUKEBOX, DELAY)."""
        while True:
            status, answer = ask()
            if status != _LATER or self._budget.left() < 3 * _PAUSE_S:
                return status, answer
            time.sleep(_PAUSE_S)

    def _opened(self, kind: int, size: int) -> None:
        if kind == _LINK:
            raise Unreachable("it is a symbolic link")
        if kind != _FILE:
            raise Unreachable("it is a directory" if kind == _FOLDER else "it is not a file")
        self.size = size


class _Version3(_Reader):
    def __init__(self, program: Program, budget: Budget, folder: bytes) -> None:
        super().__init__(program, budget)
        self._folder = folder

    def open(self, names: list[bytes]) -> bytes:
        """Return the handle of a file."""
        file = self._folder
        for name in names:
            answer = self._ask(_LOOKUP, opaque(file) + opaque(name))
            file = answer.opaque(_LONGEST_HANDLE[3])
        # RFC 1813, 2.5, fattr3: type, mode, links, user, group, size.
        answer = self._ask(_GETATTR, opaque(file))
        kind = answer.number()
        answer.skip(16)
        self._opened(kind, answer.long())
        return file

    def _chunk(self, file: bytes, offset: int, length: int) -> bytes:
        answer = self._ask(_READ, opaque(file) + struct.pack(">QI", offset, length))
        if answer.number():
            answer.skip(_ATTRIBUTES_BYTES)
        answer.skip(8)  # the count, which the data say too, and whether the file ends
        return answer.opaque(length)

    def _ask(self, procedure: int, arguments: bytes) -> Answer:
        def ask() -> tuple[int, Answer]:
            answer = self._program.call(procedure, arguments)
            return answer.number(), answer

        status, answer = self._patiently(ask)
        _check(status)
        return answer


class _Version4(_Reader):
    def open(self, export: list[bytes], path: list[bytes]) -> bytes:
        """Return the handle of a file."""
        names = [struct.pack(">I", _OP_LOOKUP) + opaque(name) for name in (*export, *path)]
        asked = [
            struct.pack(">I", _OP_PUTROOTFH),
            *names,
            struct.pack(">I", _OP_GETFH),
            struct.pack(">3I", _OP_GETATTR, 1, _TYPE_AND_SIZE),
        ]
        status, answer = self._patiently(lambda: self._ask(asked))
        done = answer.number()
        if status == _WRONG_MINOR:
            raise _NoVersion4("NFS 4.0 is not offered")
        # The last of the operations that were tried is the one that failed.
        if status and done <= 1 + len(export):
            where = one_line(os.fsdecode(b"/" + b"/".join(export)))
            if status in _NO_EXPORT:
                raise _NoVersion4(f"there is no export {where} for this machine")
            raise Unreachable(f"the export {where} is refused to this machine ({_name(status)})")
        _check(status)
        for operation in (_OP_PUTROOTFH, *(_OP_LOOKUP for _name in names)):
            _expect(answer, operation)
        _expect(answer, _OP_GETFH)
        file = answer.opaque(_LONGEST_HANDLE[4])
        _expect(answer, _OP_GETATTR)
        if (answer.number(), answer.number()) != (1, _TYPE_AND_SIZE):
            raise Unreachable("the server sends attributes that were not asked for")
        answer.number()
        kind = answer.number()
        self._opened(kind, answer.long())
        return file

    def _chunk(self, file: bytes, offset: int, length: int) -> bytes:
        read = struct.pack(">I16sQI", _OP_READ, _ANY_STATE, offset, length)
        asked = [struct.pack(">I", _OP_PUTFH) + opaque(file), read]
        status, answer = self._patiently(lambda: self._ask(asked))
        _check(status)
        answer.number()
        _expect(answer, _OP_PUTFH)
        _expect(answer, _OP_READ)
        answer.number()  # whether the file ends
        return answer.opaque(length)

    def _ask(self, operations: list[bytes]) -> tuple[int, Answer]:
        # No tag, minor version 0.
        arguments = struct.pack(">3I", 0, 0, len(operations)) + b"".join(operations)
        try:
            answer = self._program.call(_COMPOUND, arguments)
        except Refused as err:
            raise _NoVersion4(str(err)) from None
        status = answer.number()
        answer.opaque(0)
        return status, answer


def _expect(answer: Answer, operation: int) -> None:
    if (answer.number(), answer.number()) != (operation, 0):
        raise Unreachable("the server answers what was not asked for")


def _check(status: int) -> None:
    if status == _NO_ENTRY:
        raise Unreachable("there is no such file", missing=True)
    if status in _DENIED:
        raise Unreachable("reading it is refused")
    if status:
        raise Unreachable(f"it cannot be read ({_name(status)})")


def _name(status: int) -> str:
    return _STATUSES.get(status, f"status {status}")
