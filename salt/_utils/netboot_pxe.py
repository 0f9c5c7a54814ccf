"""
A PXE client that only asks: which other servers of a network offer a boot.

Formats: RFC 2131 (packets), RFC 2132 and 4578 (options), RFC 791 and 768 (headers).

:platform: Linux
"""

from __future__ import annotations

import os
import socket
import struct
import time
from collections.abc import Iterator
from typing import NamedTuple

_IPV4 = 0x0800
_FRAME = struct.Struct("!6s6sH")
_IP = struct.Struct("!BBHHHBBH4s4s")
_UDP = struct.Struct("!HHHH")
_DHCP = struct.Struct("!BBBBIHH4s4s4s4s16s64s128s4s")
_COOKIE = b"\x63\x82\x53\x63"
_SERVER, _CLIENT = 67, 68
_DISCOVER, _OFFER = 1, 2
# What a boot ROM asks for: mask, router, vendor's, server, class, server's name, boot file.
_WANTED = bytes((1, 3, 43, 54, 60, 66, 67))
_OVERLOAD, _KIND, _SERVER_ID, _CLASS, _BOOT_FILE = 52, 53, 54, 60, 67


class Offer(NamedTuple):
    """What a server offers: its address, the MAC address it came from, the boot file."""

    server: str
    mac: str
    file: str


def others(interface: str, arch: int, seconds: float = 5) -> list[Offer]:
    """
    Return the boots that other machines of a network offer to a kind of firmware.

    The question goes out past this machine's own services, which do not hear it; no address is
    taken.

    interface
        Name of the network interface.

    arch
        The kind of firmware, as its number in DHCP option 93.

    seconds : 5
        How long to wait for answers: servers look for up to 3 s whether an address is free.

    Raises OSError when this user may not send packets, or there is no such interface.
    """
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_IPV4)) as sock:
        sock.bind((interface, _IPV4))
        mac = sock.getsockname()[4]
        number = int.from_bytes(os.urandom(4), "big")
        sock.send(discover(mac, number, arch))
        found = {offer.server: offer for offer in _answers(sock, number, seconds)}
    return sorted(found.values())


def _answers(sock: socket.socket, number: int, seconds: float) -> Iterator[Offer]:
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        sock.settimeout(left)
        try:
            frame = sock.recv(65535)
        except socket.timeout:  # noqa: UP041 (of Python 3.9 too)
            return
        offer = read(frame, number)
        if offer:
            yield offer


def discover(mac: bytes, number: int, arch: int) -> bytes:
    """
    Return a DHCPDISCOVER of a boot ROM, as an Ethernet frame.

    mac
        The six bytes of its address.

    number
        The transaction's.

    arch
        See ``others``.
    """
    told = f"PXEClient:Arch:{arch:05d}:UNDI:002001".encode("ascii")
    # A server that remembers clients must not take this for the machine itself.
    own = b"\0netboot-alt"
    options = [
        (_KIND, bytes((_DISCOVER,))),
        (55, _WANTED),
        (_CLASS, told),
        (61, own),
        (93, struct.pack("!H", arch)),
        (94, bytes((1, 2, 1))),
        (97, bytes(17)),
    ]
    packed = b"".join(bytes((code, len(value))) + value for code, value in options) + b"\xff"
    nobody, answer_to_all = bytes(4), 0x8000
    dhcp = _DHCP.pack(
        *(1, 1, 6, 0, number, 0, answer_to_all, nobody, nobody, nobody, nobody),
        *(mac, b"", b"", _COOKIE),
    )
    data = (dhcp + packed).ljust(300, b"\0")
    udp = _UDP.pack(_CLIENT, _SERVER, _UDP.size + len(data), 0) + data
    head = (0x45, 0, _IP.size + len(udp), 0, 0, 64, socket.IPPROTO_UDP)
    addresses = (nobody, b"\xff" * 4)
    checked = _IP.pack(*head, _checksum(_IP.pack(*head, 0, *addresses)), *addresses)
    return _FRAME.pack(b"\xff" * 6, mac, _IPV4) + checked + udp


def _checksum(data: bytes) -> int:
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total & 0xFFFF) + (total >> 16)
    return ~(total + (total >> 16)) & 0xFFFF


def read(frame: bytes, number: int) -> Offer | None:
    """
    Return the boot that a frame offers, or None.

    frame
        The Ethernet frame.

    number
        That of the transaction.
    """
    at = _FRAME.size
    if len(frame) < at + _IP.size or frame[at] >> 4 != 4:
        return None
    protocol, start = frame[at + 9], at + (frame[at] & 15) * 4
    if protocol != socket.IPPROTO_UDP or len(frame) < start + _UDP.size + _DHCP.size:
        return None
    if _UDP.unpack_from(frame, start)[1] != _CLIENT:
        return None
    start += _UDP.size
    fields = _DHCP.unpack_from(frame, start)
    if fields[0] != 2 or fields[4] != number or fields[14] != _COOKIE:
        return None
    options = _options(frame[start + _DHCP.size :])
    if options.get(_KIND) != bytes((_OFFER,)):
        return None
    overloaded = bool(options.get(_OVERLOAD, b"\0")[:1] > b"\0")
    file = options.get(_BOOT_FILE) or (b"" if overloaded else fields[13])
    name = file.partition(b"\0")[0].rstrip(b"\xff").decode("utf-8", "replace")
    if not name and not options.get(_CLASS, b"").startswith((b"PXEClient", b"HTTPClient")):
        return None  # it gives addresses only
    server = options.get(_SERVER_ID, b"")
    address = socket.inet_ntoa(server if len(server) == 4 else frame[at + 12 : at + 16])
    mac = ":".join(f"{byte:02x}" for byte in _FRAME.unpack_from(frame)[1])
    return Offer(address, mac, "".join(filter(str.isprintable, name))[:80])


def _options(data: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    at = 0
    while at < len(data) and data[at] != 255:
        if data[at] == 0:
            at += 1
            continue
        length = data[at + 1] if at + 1 < len(data) else 0
        found[data[at]] = found.get(data[at], b"") + data[at + 2 : at + 2 + length]
        at += 2 + length
    return found
