"""
Read the beginning of a file over TFTP, as boot ROMs and iPXE do: RFC 1350; option negotiation:
RFC 2347; blksize: RFC 2348; tsize: RFC 2349.

:platform: Linux
"""

from __future__ import annotations

import socket
import struct
import time

from probe_wire import NO_ANSWER, Unreachable, one_line, reason, resolved

PORT = 69
_READ, _DATA, _ACK, _ERROR, _OACK = 1, 3, 4, 5, 6
# Numbers of ERROR packets: RFC 1350, appendix; 8: RFC 2347.
_UNDEFINED, _NOT_FOUND, _UNKNOWN_PORT, _OPTIONS = 0, 1, 5, 8
_WORDS = {_NOT_FOUND: "there is no such file", 2: "reading it is refused"}
# Without options, and what fits into an Ethernet frame: 1500 - 20 (IP) - 8 (UDP) - 4 (TFTP).
_PLAIN, _BLOCK = 512, 1468
_LEAST_BLOCK = 8
_RESEND_S = 0.5
_SECONDS_PER_MIB = 10.0
# linux/in.h: then a closed port is an error at once.
_IP_RECVERR = 11


def size(address: str, path: str, timeout: float = 10, port: int = PORT) -> int | None:
    """
    Return the size of a file; None when the server does not say it.

    address, path, timeout, port
        See ``read``.
    """
    return read(address, path, 0, timeout, port)[0]


def read(
    address: str, path: str, most: int, timeout: float = 10, port: int = PORT
) -> tuple[int | None, bytes]:
    """
    Return a file's size and its beginning; None as the size when the server does not say it.

    address, path
        The server; the name of the file there, as it is sent.

    most
        How many bytes to read; then the transfer is ended.

    timeout : 10
        Seconds to wait for a new packet; all may take ten more for each MiB.

    port : 69
        Port of the server.

    Raises Unreachable.
    """
    if not path or "\0" in path:
        raise Unreachable("there is no such file", missing=True)
    address = resolved(address)
    try:
        with _Transfer(address, port, timeout, most) as transfer:
            if not transfer.begin(path, _BLOCK):
                # RFC 2347: refused options; a server without them ignores them.
                transfer.restart()
                if not transfer.begin(path, None):
                    raise Unreachable("the server refuses a transfer without options")
            data = transfer.rest()
            return transfer.size, data[:most]
    except OSError as err:
        # A closed port, or no way there.
        raise Unreachable(f"{NO_ANSWER} on UDP {port} ({reason(err)})") from None


class _Transfer:
    """A transfer from the request until enough has come, or all."""

    def __init__(self, address: str, port: int, timeout: float, most: int) -> None:
        self._server, self._timeout, self._most = (address, port), timeout, most
        self._until = time.monotonic() + timeout + most / (1 << 20) * _SECONDS_PER_MIB
        self.size: int | None = None
        self._socket = _socket()
        self._clear()

    def _clear(self) -> None:
        self._peer: tuple[str, int] | None = None
        self._last = b""
        self._block, self._data, self._number = _PLAIN, bytearray(), 0
        self._ended = False

    def __enter__(self) -> _Transfer:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def restart(self) -> None:
        """Use another port of this machine: a port means one transfer (RFC 1350, 4)."""
        self._socket.close()
        self._socket = _socket()
        self._clear()

    def begin(self, path: str, block: int | None) -> bool:
        """Ask for a file. Return False when the server refuses the options of that."""
        options = ["tsize", "0", "blksize", str(block)] if block else []
        words = [path, "octet", *options]
        asked = b"".join(word.encode("utf-8", "surrogateescape") + b"\0" for word in words)
        self._send(struct.pack("!H", _READ) + asked)
        kind, number, body = self._receive((_OACK, _DATA) if block else (_DATA,), 1)
        if kind == _ERROR:
            if number == _OPTIONS and block:
                return False
            raise _refused(number, body)
        if kind == _OACK:
            self._agree(body, block or _PLAIN)
            if not self._enough():
                self._send(struct.pack("!HH", _ACK, 0))
        else:
            self._take(body)
        return True

    def _agree(self, body: bytes, block: int) -> None:
        words = body.split(b"\0")
        said = {key.lower(): value for key, value in zip(words[::2], words[1::2])}
        if not set(said) <= {b"", b"tsize", b"blksize"}:
            raise self._malformed("options that were not asked for")
        said.pop(b"", None)
        if not all(value.isdigit() and len(value) <= 18 for value in said.values()):
            raise self._malformed("an option that is not a number")
        numbers = {key: int(value) for key, value in said.items()}
        self.size = numbers.get(b"tsize")
        self._block = numbers.get(b"blksize", _PLAIN)
        if not _LEAST_BLOCK <= self._block <= block:
            raise self._malformed("a block size that was not asked for")

    def rest(self) -> bytes:
        """Return what was asked for."""
        while not self._ended and not self._enough():
            kind, number, body = self._receive((_DATA,), self._number + 1 & 0xFFFF)
            if kind == _ERROR:
                raise _refused(number, body)
            self._take(body)
        if not self._ended:
            # RFC 1350, 7: ends the transfer. dnsmasq logs it, and "failed sending"; without it,
            # that comes after minutes, in which it sends the last block again.
            self._send(_error(_UNDEFINED, "enough"))
        elif self.size is not None and len(self._data) != self.size:
            raise Unreachable(f"it ends after {len(self._data)} of {self.size} bytes")
        else:
            self.size = len(self._data)
        return bytes(self._data)

    def _enough(self) -> bool:
        # Of a file that was read whole, the end comes in a block without data.
        return len(self._data) >= self._most and not (self._data and len(self._data) == self.size)

    def _take(self, data: bytes) -> None:
        if len(data) > self._block:
            raise self._malformed("a block that is too long")
        self._data += data
        self._number = self._number + 1 & 0xFFFF
        self._ended = len(data) < self._block
        if self.size is not None and len(self._data) > self.size:
            raise self._malformed("more than the file's size")
        if self._ended or not self._enough():
            self._send(struct.pack("!HH", _ACK, self._number))

    def _send(self, packet: bytes) -> None:
        self._last = packet
        self._socket.sendto(packet, self._peer or self._server)

    def _receive(self, kinds: tuple[int, ...], number: int) -> tuple[int, int, bytes]:
        """Return the next packet of these kinds (DATA: of this number), or an ERROR."""
        until = min(self._until, time.monotonic() + self._timeout)
        resend = time.monotonic() + _RESEND_S
        while (now := time.monotonic()) < until:
            if now >= resend:
                self._send(self._last)
                resend = now + _RESEND_S
            self._socket.settimeout(max(min(until, resend) - now, 0.001))
            try:
                packet, sender = self._socket.recvfrom(4 + 65464)
            except socket.timeout:  # noqa: UP041 (of Python 3.9 too)
                continue
            if sender[0] != self._server[0] or len(packet) < 4:
                continue
            if sender != (self._peer or sender):
                self._socket.sendto(_error(_UNKNOWN_PORT, "another transfer"), sender)
                continue
            kind, at = struct.unpack_from("!HH", packet)
            if kind == _ERROR:
                return kind, at, packet[4:]
            if kind == _OACK and kind in kinds:
                self._peer = sender
                return kind, 0, packet[2:]
            if kind == _DATA and kind in kinds and at == number:
                self._peer = sender
                return kind, at, packet[4:]
        raise self._silent()

    def _silent(self) -> Unreachable:
        if self._peer is None:
            return Unreachable(f"{NO_ANSWER} on UDP {self._server[1]} in {self._timeout:g} s")
        return Unreachable(f"the transfer stalls after {len(self._data)} bytes")

    def _malformed(self, what: str) -> Unreachable:
        self._send(_error(_OPTIONS if "option" in what else 4, what))
        return Unreachable(f"the server sends {what}")


def _socket() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.IPPROTO_IP, _IP_RECVERR, 1)
    return sock


def _error(number: int, text: str) -> bytes:
    return struct.pack("!HH", _ERROR, number) + text.encode() + b"\0"


def _refused(number: int, body: bytes) -> Unreachable:
    text = one_line(body.partition(b"\0")[0].decode("utf-8", "replace"))
    said = f"the server answers: {text or f'error {number}'}"
    return Unreachable(_WORDS.get(number, said), missing=number == _NOT_FOUND)
