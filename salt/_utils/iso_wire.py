"""
Connections to servers that may be hostile: they have a deadline for all that comes before the next
part of the file, and a limit on its bytes.

Timeouts of sockets count from one received byte to the next, so a server that sends a byte now and
then never meets them.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from salt.exceptions import CommandExecutionError

# A chunk is still in the processor's cache when it is hashed and written.
CHUNK = 1 << 18
CONNECT_TIMEOUT_S = 10

# Bytes a second; anything slower is useless: 4 GB would take 46 days.
MIN_RATE = 1024

# Bytes between two parts of the file: headers, redirects, banners, chunk extensions, trailers.
_MOST_BETWEEN = 1 << 18
_LONGEST_MESSAGE = 200

TIMED_OUT = "timed out without receiving data"


class Unchanged(Exception):
    """The file is unchanged."""


class Source(NamedTuple):
    """
    An open source.

    start
        Offset of its first byte: as requested, or 0 if the server cannot resume or has another
        file now.
    total
        Size of the whole file in bytes, or None if the server does not send it.
    validator
        String by which the server recognizes that its file is unchanged, or None.
    chunks
        Iterator over the data. Raises ConnectionError when they break off or stall, and its
        subclass ConnectionAbortedError when they come too slowly.
    close
        Function that closes it.
    """

    start: int
    total: int | None
    validator: str | None
    chunks: Iterator[bytes]
    close: Callable[[], object]


class Guard:
    """
    What the connections of a source may take until the next part of the file comes.

    stall_s
        Seconds.

    whole : False
        They count for the whole file instead.
    """

    def __init__(self, stall_s: float, whole: bool = False) -> None:
        self.stall_s, self._whole, self._bytes = stall_s, whole, 0
        self._until = time.monotonic() + stall_s

    def renew(self, seconds: float | None = None) -> None:
        """Wait for the next part of the file from now on."""
        self._bytes = 0
        if not self._whole:
            self._until = time.monotonic() + (self.stall_s if seconds is None else seconds)

    def left(self) -> float:
        """Return how many seconds are left. Raises TimeoutError if there are none."""
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError(TIMED_OUT)
        return left

    def count(self, received: int) -> None:
        """Count received bytes. Raises CommandExecutionError if there are too many."""
        self._bytes += received
        # A received part of the file is among them.
        if self._bytes > _MOST_BETWEEN + CHUNK:
            raise CommandExecutionError(
                f"the server sent more than {_MOST_BETWEEN} bytes that are not part of the file"
            )


class _Socket(socket.socket):
    guard: Guard

    def recv_into(self, *args: Any) -> int:
        self.settimeout(self.guard.left())
        received = super().recv_into(*args)
        self.guard.count(received)
        return received

    def recv(self, *args: Any) -> bytes:
        self.settimeout(self.guard.left())
        received = super().recv(*args)
        self.guard.count(len(received))
        return received

    def sendall(self, *args: Any) -> None:
        self.settimeout(self.guard.left())
        super().sendall(*args)


class _TlsSocket(ssl.SSLSocket):
    guard: Guard

    # Python has one deadline for all bytes of a handshake, and of a read.
    def do_handshake(self, block: bool = False) -> None:
        self.settimeout(self.guard.left())
        super().do_handshake(block)

    def read(self, *args: Any) -> Any:
        self.settimeout(self.guard.left())
        received = super().read(*args)
        self.guard.count(received if isinstance(received, int) else len(received))
        return received

    def sendall(self, *args: Any) -> None:
        self.settimeout(self.guard.left())
        super().sendall(*args)


def connect(guard: Guard, host: str, port: int) -> socket.socket:
    """
    Return a connection to the first address of a host that answers.

    guard
        Its limits.

    host, port
        Name or address, and TCP port.

    Raises OSError.
    """
    if not 0 < port < 65536:
        raise CommandExecutionError(f"{port} is not a TCP port")
    problem = OSError("the host has no address")
    for family, kind, protocol, _, address in socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM):
        connection = _Socket(family, kind, protocol)
        connection.guard = guard
        try:
            connection.settimeout(min(CONNECT_TIMEOUT_S, guard.left()))
            connection.connect(address)
        except OSError as err:
            problem = err
            connection.close()
        else:
            return connection
    raise problem


def tls(guard: Guard) -> ssl.SSLContext:
    """
    Return a TLS context for connections of ``connect``.

    guard
        Their limits.
    """
    context = ssl.create_default_context()
    context.sslsocket_class = type("_TlsSocket", (_TlsSocket,), {"guard": guard})
    return context


def paced(chunks: Iterator[bytes], guard: Guard) -> Iterator[bytes]:
    """
    Yield chunks while they come fast enough; the consumer's time does not count.

    chunks
        The parts of the file.

    guard
        The limits of their connection.
    """
    return _pace(chunks, guard, guard.left())


def _pace(chunks: Iterator[bytes], guard: Guard, left: float) -> Iterator[bytes]:
    waited, came = 0.0, 0
    guard.renew(left)
    asked = time.monotonic()
    for chunk in chunks:
        waited += time.monotonic() - asked
        came += len(chunk)
        yield chunk
        if came >= MIN_RATE * guard.stall_s:
            waited, came = 0.0, 0
        elif waited > guard.stall_s:
            raise ConnectionAbortedError(f"only {came} bytes were received in {guard.stall_s:g} s")
        guard.renew()
        asked = time.monotonic()


def one_line(text: object) -> str:
    """
    Return what a server or the system said as part of a message of one line.

    text
        A string or an error.
    """
    plain = "".join(char if char.isprintable() else " " for char in str(text))
    plain = " ".join(plain.split())
    return plain if len(plain) <= _LONGEST_MESSAGE else f"{plain[:_LONGEST_MESSAGE]}..."


def cause(err: BaseException) -> str:
    """
    Return the cause of an error.

    err
        The error.
    """
    # Its own text is "timed out". Before Python 3.10, socket.timeout is not a TimeoutError.
    if isinstance(err, (TimeoutError, socket.timeout)):
        return TIMED_OUT
    return one_line(getattr(err, "strerror", None) or str(err) or type(err).__name__)
