r"""
Read parts of a file over SMB 2 and 3 as a guest: [MS-SMB2], its sections in brackets below;
[MS-NLMP] for the session.

As Linux mounts with the options ``ro,guest``, which altboot uses: all dialects from 2.0.2 to 3.1.1,
NTLMSSP without SPNEGO, and no name and password. A guest has no key, so it can neither sign nor
encrypt.
"""

from __future__ import annotations

import contextlib
import os
import struct

from probe_wire import Budget, Closed, Unreachable, Wire, connect, kept, one_line

PORT = 445
_DIALECTS = (0x0202, 0x0210, 0x0300, 0x0302, 0x0311)
_NEGOTIATE, _SESSION_SETUP, _LOGOFF, _TREE_CONNECT = 0, 1, 2, 3
_CREATE, _CLOSE, _READ = 5, 6, 8
# ProtocolId, StructureSize, CreditCharge, Status, Command, CreditRequest, Flags, NextCommand,
# MessageId, Reserved, TreeId, SessionId, Signature [2.2.1.2].
_HEADER = struct.Struct("<4sHHIHHIIQIIQ16s")
# Negative session response, as Samba answers who is in "hosts deny" (RFC 1002, 4.3.4).
_REFUSAL = 0x83
_UNASKED = (1 << 64) - 1
_SMB1, _SMB2, _ENCRYPTED = b"\xffSMB", b"\xfeSMB", b"\xfdSMB"
# What 2.0.2 reads at most, and what costs one credit in later dialects [3.2.4.1.5].
_CHUNK = 1 << 16
_MOST_BYTES = _CHUNK + 4096
_MORE, _PENDING, _END = 0xC0000016, 0x103, 0xC0000011
_DENIED = (0xC0000022, 0xC00000CA)  # ACCESS_DENIED, NETWORK_ACCESS_DENIED
_MISSING = (0xC000000F, 0xC0000034, 0xC000003A)  # NO_SUCH_FILE, OBJECT_NAME_, _PATH_NOT_FOUND
_NO_LOGON = (*_DENIED, 0xC000006D, 0xC000006E, 0xC000015B, 0xC0000072)
_NO_SHARE = 0xC00000CC  # BAD_NETWORK_NAME
_STATUSES = {
    0x8000002D: "STOPPED_ON_SYMLINK",
    0xC0000002: "NOT_IMPLEMENTED",
    0xC000000D: "INVALID_PARAMETER",
    0xC0000033: "OBJECT_NAME_INVALID",
    0xC0000035: "OBJECT_NAME_COLLISION",
    0xC0000043: "SHARING_VIOLATION",
    0xC000006D: "LOGON_FAILURE",
    0xC000006E: "ACCOUNT_RESTRICTION",
    0xC0000072: "ACCOUNT_DISABLED",
    0xC000009A: "INSUFFICIENT_RESOURCES",
    0xC00000BA: "FILE_IS_A_DIRECTORY",
    0xC00000BB: "NOT_SUPPORTED",
    0xC00000C9: "NETWORK_NAME_DELETED",
    0xC00000D0: "REQUEST_NOT_ACCEPTED",
    0xC000015B: "LOGON_TYPE_NOT_GRANTED",
    0xC0000203: "USER_SESSION_DELETED",
    0xC0000257: "PATH_NOT_COVERED",
}
_NEEDS_SIGNING = 2  # SecurityMode [2.2.4]
_ENCRYPTS_SESSION, _ENCRYPTS_SHARE = 4, 0x8000  # SessionFlags [2.2.6], ShareFlags [2.2.10]
_NO_KEY = "which a guest cannot do: a guest has no password"

# [MS-NLMP] 2.2.2.5: UNICODE, REQUEST_TARGET, NTLM, EXTENDED_SESSIONSECURITY, 128, 56.
_NTLM_FLAGS = 0x1 | 0x4 | 0x200 | 0x80000 | 0x20000000 | 0x80000000
_NTLM_ANONYMOUS = 0x800
_NTLM = b"NTLMSSP\0"


def read(
    host: str,
    share: str,
    path: str,
    ranges: list[tuple[int, int]],
    timeout: float = 10,
    port: int = PORT,
) -> tuple[int, list[bytes]]:
    """
    Return a file's size, and the bytes of each range; fewer where the file ends.

    host, share, path, port
        The server; its share; the file there, with ``/`` between directories.

    ranges
        Pairs of offset and length.

    timeout
        Seconds, see ``probe_wire.Budget``.

    Raises Unreachable.
    """
    budget = Budget(timeout, kept(ranges))
    try:
        with connect(host, port, budget) as wire:
            session = _Session(wire, host, share)
            file, size = session.open(path)
            parts = [session.part(file, size, offset, length) for offset, length in ranges]
            session.end(file)
            return size, parts
    except (struct.error, IndexError):
        raise Unreachable("the server sends an answer that is too short") from None


class _Session:
    """A guest's session with a share."""

    def __init__(self, wire: Wire, host: str, share: str) -> None:
        self._wire, self._share = wire, share
        self._message = self._session = self._tree = 0
        self._dialect = 0x0202
        self._negotiate()
        self._log_in()
        self._connect(host)

    def _ask(self, command: int, body: bytes) -> tuple[int, bytes]:
        """Send a request. Return status and whole message of its answer."""
        header = _HEADER.pack(
            _SMB2, 64, int(self._dialect > 0x0202), 0, command, 31, 0, 0,
            self._message, 0, self._tree, self._session, bytes(16),
        )  # fmt: skip
        self._wire.sendall(struct.pack(">I", len(header) + len(body)) + header + body)
        while True:
            answer = _message(self._wire)
            fields = _HEADER.unpack_from(answer)
            _id, size, _, status, said, _, _flags, _, number, _, tree, session, _ = fields
            if number == _UNASKED or (number == self._message and status == _PENDING):
                continue  # a notification [2.2.23], or the answer comes later [3.3.4.2]
            if (size, said, number) != (64, command, self._message):
                raise Unreachable("the server answers what was not asked for")
            self._message += 1
            if command == _SESSION_SETUP:
                self._session = session
            elif command == _TREE_CONNECT:
                self._tree = tree
            return status, answer

    def _negotiate(self) -> None:
        # [2.2.3]: StructureSize, DialectCount, SecurityMode (signing enabled), Reserved,
        # Capabilities, ClientGuid, NegotiateContextOffset, NegotiateContextCount, Reserved2.
        # 3.1.1 needs a context that names SHA-512 [2.2.3.1.1], on a multiple of 8.
        dialects = struct.pack(f"<{len(_DIALECTS)}H", *_DIALECTS)
        at = _HEADER.size + 36 + len(dialects)
        padding = bytes(-at % 8)
        context = struct.pack("<HHIHHH", 1, 38, 0, 1, 32, 1) + os.urandom(32)
        body = struct.pack("<HHHHI", 36, len(_DIALECTS), 1, 0, 0) + os.urandom(16)
        body += struct.pack("<IHH", at + len(padding), 1, 0) + dialects + padding + context
        try:
            status, answer = self._ask(_NEGOTIATE, body)
        except Closed:
            if _speaks_smb1(self._wire):
                raise Unreachable("the server speaks only SMB 1") from None
            raise
        if status:
            raise Unreachable(f"the server refuses SMB 2.0.2 to 3.1.1 ({_name(status)})")
        # [2.2.4]: StructureSize, SecurityMode, DialectRevision.
        _size, mode, self._dialect = struct.unpack_from("<HHH", answer, _HEADER.size)
        if self._dialect not in _DIALECTS:
            raise Unreachable(f"the server chooses the unknown SMB dialect {self._dialect:#06x}")
        if mode & _NEEDS_SIGNING:
            raise Unreachable(f"the server requires signing, {_NO_KEY}")

    def _log_in(self) -> None:
        # [MS-NLMP] 2.2.1.1: without names of domain and workstation.
        asked = _NTLM + struct.pack("<II", 1, _NTLM_FLAGS) + bytes(16)
        status, answer = self._set_up(asked)
        if status == _MORE:
            # [MS-NLMP] 2.2.1.3 and 3.1.5.1.2, anonymous: no names, a LM response of one 0.
            end = 8 + 4 + 6 * 8 + 4
            fields = struct.pack("<HHI", 1, 1, end) + struct.pack("<HHI", 0, 0, end + 1) * 5
            proof = _NTLM + struct.pack("<I", 3) + fields
            proof += struct.pack("<I", _NTLM_FLAGS | _NTLM_ANONYMOUS) + b"\0"
            status, answer = self._set_up(proof)
        if status in _NO_LOGON:
            raise Unreachable(f"the server refuses guests ({_name(status)})")
        if status:
            raise Unreachable(f"the server refuses a session ({_name(status)})")
        # [2.2.6]: StructureSize, SessionFlags.
        _size, flags = struct.unpack_from("<HH", answer, _HEADER.size)
        if flags & _ENCRYPTS_SESSION:
            raise Unreachable(f"the server requires encryption, {_NO_KEY}")

    def _set_up(self, token: bytes) -> tuple[int, bytes]:
        # [2.2.5]: StructureSize, Flags, SecurityMode, Capabilities, Channel, SecurityBufferOffset,
        # SecurityBufferLength, PreviousSessionId.
        body = struct.pack("<HBBIIHHQ", 25, 0, 1, 0, 0, _HEADER.size + 24, len(token), 0)
        return self._ask(_SESSION_SETUP, body + token)

    def _connect(self, host: str) -> None:
        # [2.2.9]: StructureSize, Flags, PathOffset, PathLength.
        path = _wide(f"\\\\{host}\\{self._share}")
        body = struct.pack("<HHHH", 9, 0, _HEADER.size + 8, len(path)) + path
        status, answer = self._ask(_TREE_CONNECT, body)
        share = one_line(self._share)
        if status == _NO_SHARE:
            raise Unreachable(f"there is no share {share}")
        if status in _DENIED:
            raise Unreachable(f"the share {share} is refused")
        if status:
            raise Unreachable(f"the share {share} is refused ({_name(status)})")
        # [2.2.10]: StructureSize, ShareType, Reserved, ShareFlags.
        _size, _kind, _, flags = struct.unpack_from("<HBBI", answer, _HEADER.size)
        if flags & _ENCRYPTS_SHARE:
            raise Unreachable(f"the share {share} requires encryption, {_NO_KEY}")

    def open(self, path: str) -> tuple[bytes, int]:
        """Return a file's id and size."""
        # [2.2.13]: StructureSize, SecurityFlags, RequestedOplockLevel, ImpersonationLevel
        # (Impersonation), SmbCreateFlags, Reserved, DesiredAccess (FILE_READ_DATA,
        # FILE_READ_ATTRIBUTES), FileAttributes, ShareAccess (all), CreateDisposition (FILE_OPEN),
        # CreateOptions (FILE_NON_DIRECTORY_FILE), NameOffset, NameLength, contexts.
        name = _wide(path.strip("/").replace("/", "\\"))
        body = struct.pack(
            "<HBBIQQIIIIIHHII",
            57, 0, 0, 2, 0, 0, 0x81, 0, 7, 1, 0x40, _HEADER.size + 56, len(name), 0, 0,
        )  # fmt: skip
        status, answer = self._ask(_CREATE, body + (name or b"\0\0"))
        if status in _MISSING:
            raise Unreachable("there is no such file", missing=True)
        if status in _DENIED:
            raise Unreachable("reading it is refused")
        if status:
            raise Unreachable(f"it cannot be opened ({_name(status)})")
        # [2.2.14]: 48 bytes, EndofFile, FileAttributes, Reserved2, FileId.
        size, _attributes, _, file = struct.unpack_from("<QII16s", answer, _HEADER.size + 48)
        return file, size

    def part(self, file: bytes, size: int, offset: int, length: int) -> bytes:
        """Return bytes of an open file."""
        right = max(0, min(length, size - offset))
        data = bytearray()
        while len(data) < right:
            data += self._chunk(file, offset + len(data), min(_CHUNK, right - len(data)), size)
        return bytes(data)

    def _chunk(self, file: bytes, offset: int, length: int, size: int) -> bytes:
        # [2.2.19]: StructureSize, Padding, Flags, Length, Offset, FileId, MinimumCount, Channel,
        # RemainingBytes, ReadChannelInfo (offset, length), Buffer.
        body = struct.pack("<HBBIQ16sIIIHHB", 49, 0x50, 0, length, offset, file, 1, 0, 0, 0, 0, 0)
        status, answer = self._ask(_READ, body)
        if status == _END:
            raise Unreachable(f"it ends after {offset} of {size} bytes")
        if status in _DENIED:
            raise Unreachable("reading it is refused")
        if status:
            raise Unreachable(f"it cannot be read ({_name(status)})")
        # [2.2.20]: StructureSize, DataOffset, Reserved, DataLength.
        _size, at, _, came = struct.unpack_from("<HBBI", answer, _HEADER.size)
        if not 0 < came <= length or at < _HEADER.size + 16 or at + came > len(answer):
            raise Unreachable("the server sends a part that was not asked for")
        return answer[at : at + came]

    def end(self, file: bytes) -> None:
        """Close a file and the session."""
        # [2.2.15]: StructureSize, Flags, Reserved, FileId; [2.2.7]: StructureSize, Reserved.
        with contextlib.suppress(Unreachable):
            self._ask(_CLOSE, struct.pack("<HHI16s", 24, 0, 0, file))
            self._ask(_LOGOFF, struct.pack("<HH", 4, 0))


def _message(wire: Wire) -> bytes:
    """Return the next message; its length comes before it [2.1]."""
    (length,) = struct.unpack(">I", wire.exactly(4))
    if length >> 24 == _REFUSAL:
        raise Unreachable("the server refuses this machine")
    if not _HEADER.size <= length <= _MOST_BYTES:
        raise Unreachable("the server does not answer in SMB")
    answer = wire.exactly(length)
    if answer[:4] == _ENCRYPTED:
        raise Unreachable(f"the server requires encryption, {_NO_KEY}")
    if answer[:4] == _SMB1:
        raise Unreachable("the server speaks only SMB 1")
    if answer[:4] != _SMB2:
        raise Unreachable("the server does not answer in SMB")
    return answer


def _speaks_smb1(closed: Wire) -> bool:
    """Return whether a server answers in SMB 1 ([MS-CIFS] 2.2.4.52: a negotiation)."""
    header = _SMB1 + struct.pack("<BIBH", 0x72, 0, 0x18, 0xC801) + bytes(20)
    dialects = b"\x02NT LM 0.12\0"
    body = struct.pack("<BH", 0, len(dialects)) + dialects
    try:
        with connect(closed.address, closed.port, closed.budget) as wire:
            wire.sendall(struct.pack(">I", len(header) + len(body)) + header + body)
            return wire.exactly(8)[4:] == _SMB1
    except Unreachable:
        return False


def _wide(text: str) -> bytes:
    return text.encode("utf-16-le", "replace")


def _name(status: int) -> str:
    if status in _DENIED:
        return "ACCESS_DENIED"
    return _STATUSES.get(status, f"status {status:#010x}")
