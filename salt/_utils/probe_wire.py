"""
What the readers of ``probe_reach`` share: one error, and connections within limits of seconds and
bytes, as the other side may be hostile.

Timeouts of sockets count from one received byte to the next, so a server that sends a byte now and
then never meets them.
"""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Sequence
from typing import Any

#: With this begins the cause when a server is not there; its other files need not be tried.
NO_ANSWER = "no answer"

# Whoever waits as long as this for a MiB would not boot from there.
_SECONDS_PER_MIB = 1.0
# Headers, greetings, replies without data; and what a protocol puts around each part of a file.
_MOST_BESIDES = 1 << 18
_LONGEST_TEXT = 120
_TAKEN = (errno.EADDRINUSE, errno.EADDRNOTAVAIL, errno.EACCES, errno.EPERM)


class Unreachable(Exception):
    """
    A file cannot be read; its text is the cause, in one line.

    missing
        Whether the server says that there is no such file.
    """

    def __init__(self, text: str, missing: bool = False) -> None:
        super().__init__(text)
        self.missing = missing


class Closed(Unreachable):
    """The server closed the connection before it answered."""


class Budget:
    """
    What a reading may take.

    timeout
        Seconds for an answer, and for all of them together, besides a second for each MiB.

    wanted
        Bytes of the file that are asked for.
    """

    def __init__(self, timeout: float, wanted: int) -> None:
        self.timeout = timeout
        self._until = time.monotonic() + timeout + wanted / (1 << 20) * _SECONDS_PER_MIB
        self._bytes = wanted + wanted // 8 + _MOST_BESIDES

    def left(self) -> float:
        """Return how many seconds there are for the next answer; 0: none."""
        return max(0.0, min(self.timeout, self._until - time.monotonic()))

    def count(self, received: int) -> None:
        """Count received bytes. Raises Unreachable if there are too many."""
        self._bytes -= received
        if self._bytes < 0:
            raise Unreachable("the server sends more than was asked for")


class Wire(socket.socket):
    """A TCP connection within a budget; all its errors are Unreachable. Made by ``connect``."""

    budget: Budget
    address: str
    port: int
    received = 0

    @property
    def service(self) -> str:
        """What it leads to, in messages."""
        return f"TCP {self.port}"

    def _in_time(self) -> None:
        left = self.budget.left()
        if not left:
            raise self._silent()
        self.settimeout(left)

    def _silent(self) -> Unreachable:
        if not self.received:
            return Unreachable(f"{NO_ANSWER} on {self.service} in {self.budget.timeout:g} s")
        return Unreachable(f"{self.service} stopped answering after {self.received} bytes")

    def _broken(self, err: OSError) -> Unreachable:
        if isinstance(err, socket.timeout):
            return self._silent()
        if isinstance(err, ConnectionError):
            return self._cut()
        return Unreachable(f"the connection to {self.service} broke: {reason(err)}")

    def _cut(self) -> Closed:
        return Closed(f"the server closed the connection on {self.service}")

    def _came(self, received: int) -> None:
        self.received += received
        self.budget.count(received)

    def recv_into(self, *args: Any) -> int:
        self._in_time()
        try:
            received = super().recv_into(*args)
        except OSError as err:
            raise self._broken(err) from None
        self._came(received)
        return received

    def recv(self, *args: Any) -> bytes:
        self._in_time()
        try:
            data = super().recv(*args)
        except OSError as err:
            raise self._broken(err) from None
        self._came(len(data))
        return data

    def sendall(self, *args: Any) -> None:
        self._in_time()
        try:
            super().sendall(*args)
        except OSError as err:
            raise self._broken(err) from None

    def exactly(self, count: int) -> bytes:
        """Return so many bytes. Raises Unreachable when the server closes the connection before."""
        data = bytearray()
        while len(data) < count:
            chunk = self.recv(min(count - len(data), 1 << 16))
            if not chunk:
                raise self._cut()
            data += chunk
        return bytes(data)


def connect(host: str, port: int, budget: Budget, own_ports: Sequence[int] = (0,)) -> Wire:
    """
    Return a connection. Raises Unreachable.

    host, port
        Name or IPv4 address, and TCP port.

    budget
        Its limits.

    own_ports : (0,)
        From which ports of this machine to connect, the first that can be taken; 0: any.
    """
    if not 0 < port < 65536:
        raise Unreachable(f"the server names {port} as a port")
    address = resolved(host)
    for own in own_ports:
        wire = Wire(socket.AF_INET, socket.SOCK_STREAM)
        wire.budget, wire.address, wire.port = budget, address, port
        try:
            if own:
                wire.bind(("", own))
            wire.settimeout(max(budget.left(), 0.001))
            wire.connect((address, port))
        except OSError as err:
            wire.close()
            if own and err.errno in _TAKEN:
                continue
            raise Unreachable(f"{NO_ANSWER} on TCP {port}{_in_brackets(err)}") from None
        return wire
    raise Unreachable(f"none of this machine's ports {own_ports} can be taken")


def resolved(host: str) -> str:
    """
    Return the IPv4 address of a host. Raises Unreachable.

    host
        Its name or address.
    """
    try:
        return str(socket.getaddrinfo(host, None, socket.AF_INET)[0][4][0])
    except (OSError, ValueError):
        raise Unreachable(f"{NO_ANSWER}: {one_line(host)} has no IPv4 address") from None


def _in_brackets(err: OSError) -> str:
    return "" if isinstance(err, socket.timeout) else f" ({reason(err)})"


def reason(err: OSError) -> str:
    """
    Return the system's words for an error.

    err
        The error.
    """
    return one_line(err.strerror or str(err) or type(err).__name__).lower()


def one_line(text: object) -> str:
    """
    Return what a server says as part of a cause.

    text
        A string or an error.
    """
    plain = "".join(char if char.isprintable() else " " for char in str(text))
    plain = " ".join(plain.split())
    return plain if len(plain) <= _LONGEST_TEXT else f"{plain[:_LONGEST_TEXT]}..."


def kept(ranges: list[tuple[int, int]]) -> int:
    """
    Return how many bytes ranges have together.

    ranges
        Pairs of offset and length.
    """
    return sum(length for _offset, length in ranges)
