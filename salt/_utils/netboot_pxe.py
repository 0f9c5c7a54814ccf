"""
A PXE client that asks what the DHCP servers of a network offer, and takes no address.

Formats: RFC 2131 (packets), RFC 2132, 3004 and 4578 (options), RFC 791 and 768 (headers), Intel's
PXE specification 2.1 (port 4011), ipxe/features.h (option 175).

:platform: Linux
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import struct
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from netboot_names import PROBE

_IPV4 = 0x0800
_FRAME = struct.Struct("!6s6sH")
_IP = struct.Struct("!BBHHHBBH4s4s")
_UDP = struct.Struct("!HHHH")
_DHCP = struct.Struct("!BBBBIHH4s4s4s4s16s64s128s4s")
_COOKIE = b"\x63\x82\x53\x63"
_SERVER, _CLIENT, _BOOT_SERVER = 67, 68, 4011
_DISCOVER, _OFFER, _REQUEST, _ACK = 1, 2, 3, 5
# What a boot ROM asks for: mask, router, vendor's, server, class, server's name, boot file.
_WANTED = bytes((1, 3, 43, 54, 60, 66, 67))
_OVERLOAD, _KIND, _SERVER_ID, _CLASS, _TFTP_SERVER, _BOOT_FILE = 52, 53, 54, 60, 66, 67
_VENDOR = 43
_ARP = 0x0806
_ARP_PACKET = struct.Struct("!HHBBH6s4s6s4s")
_NOBODY, _EVERYBODY = "0.0.0.0", "255.255.255.255"  # noqa: S104 (in packets)
#: Between two questions: what limits DHCP in switches counts packets by the second.
PAUSE_S = 2
#: Servers look for up to 3 s whether an address is free (dnsmasq: PING_WAIT).
LAST_S = 4
# A hostile machine may answer as any number of servers, and say nothing further.
_MOST_SERVERS = 16
_MOST_SILENT = 32


class Identity(NamedTuple):
    """
    What a client says that it is: ``arch``, its number in option 93, None: it does not say; over
    ``HTTP`` (UEFI HTTP boot) or ``PXE``; ``features``: those that an iPXE tells; ``machine``: how
    option 97 begins.
    """

    name: str
    arch: int | None
    over: str = "PXE"
    features: tuple[int, ...] = ()
    machine: bytes = b""


class Offer(NamedTuple):
    """
    What a server offers: its address, the MAC address it came from (empty: this machine), the boot
    file, the address to fetch it from, and the address for the client (empty: none).
    """

    server: str
    mac: str
    file: str
    next_server: str = ""
    address: str = ""
    boots: bool = True  # it says that it boots machines, or names a file
    vendor: str = ""  # option 43, hexadecimal


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
    with _raw(interface) as sock:
        mac = sock.getsockname()[4]
        number = int.from_bytes(os.urandom(4), "big")
        sock.send(_framed(mac, discover(mac, number, Identity("", arch))))
        found: dict[str, Offer] = {}
        for _number, offer in _answers([sock], {number}, time.monotonic() + seconds):
            if offer.boots and (offer.server in found or len(found) < _MOST_SERVERS):
                found[offer.server] = offer
    return sorted(found.values())


def ask(interface: str, identities: Sequence[Identity]) -> dict[str, list[Offer]]:
    """
    Return what all servers of a network, this machine too, offer to clients.

    One DHCPDISCOVER goes out for each, two seconds apart; no address is taken. Where an offer of a
    boot names no file, the boot server is asked for it on port 4011, as firmware does.

    interface
        Name of the network interface.

    identities
        What to be, one after another.

    Returns offers by names of identities.

    Raises OSError when this user may not send packets, there is no such interface, or another
    program keeps port 68 for itself.
    """
    found: dict[str, dict[str, Offer]] = {one.name: {} for one in identities}
    numbers: dict[int, Identity] = {}
    with _raw(interface) as raw, _socket(interface) as sock:
        mac, end = raw.getsockname()[4], 0.0
        for identity in identities:
            number = int.from_bytes(os.urandom(4), "big")
            numbers[number] = identity
            # Not past this machine's own services: they hear broadcasts of this kind.
            sock.sendto(discover(mac, number, identity), (_EVERYBODY, _SERVER))
            end = time.monotonic() + (LAST_S if identity is identities[-1] else PAUSE_S)
            for answered, offer in _answers([raw, sock], set(numbers), end):
                own = found[numbers[answered].name]
                if offer.server not in own and len(own) == _MOST_SERVERS:
                    continue
                # What came over the wire comes by both sockets; one knows the card that sent it.
                if offer.server not in own or not own[offer.server].mac:
                    own[offer.server] = offer
    silent = 0
    for identity in identities:
        for server, offer in found[identity.name].items():
            if offer.boots and not offer.file and not (offer.mac and silent >= _MOST_SILENT):
                found[identity.name][server] = _completed(interface, mac, identity, offer)
                silent += not found[identity.name][server].file
    return {name: sorted(offers.values()) for name, offers in found.items()}


def taken(interface: str, address: str, seconds: float = 1) -> str:
    """
    Return the MAC address of another machine that has an address of this one, or an empty string.

    interface, address
        The network interface; the address (RFC 5227, 2.1.1).

    seconds : 1
        How long to wait for an answer.

    Raises OSError as ``ask``.
    """
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ARP)) as sock:
        sock.bind((interface, _ARP))
        own, asked = sock.getsockname()[4], socket.inet_aton(address)
        question = _ARP_PACKET.pack(1, _IPV4, 6, 4, 1, own, bytes(4), bytes(6), asked)
        sock.send(_FRAME.pack(b"\xff" * 6, own, _ARP) + question)
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0 and select.select([sock], [], [], left)[0]:
            frame = sock.recv(65535)
            if len(frame) < _FRAME.size + _ARP_PACKET.size:
                continue
            said = _ARP_PACKET.unpack_from(frame, _FRAME.size)
            if said[4] == 2 and said[6] == asked and said[5] != own:
                return ":".join(f"{byte:02x}" for byte in said[5])
    return ""


def _completed(interface: str, mac: bytes, identity: Identity, offer: Offer) -> Offer:
    """Return an offer with the file that its boot server names, if that can be reached."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
        number = int.from_bytes(os.urandom(4), "big")
        with contextlib.suppress(OSError):
            # What a server calls itself may be no address of a machine.
            sock.connect((offer.server, _BOOT_SERVER))
            own = sock.getsockname()[0]
            sock.send(discover(mac, number, identity, _REQUEST, own))
            sock.settimeout(PAUSE_S)
            said = packet(sock.recv(65535), {number}, _ACK, offer.server, offer.mac)
            if said:
                return said[1]._replace(server=offer.server, address=offer.address)
    return offer


def _raw(interface: str) -> socket.socket:
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_IPV4))
    try:
        sock.bind((interface, _IPV4))
    except OSError:
        sock.close()
        raise
    return sock


def _socket(interface: str) -> socket.socket:
    """Return a socket that also hears this machine, beside those of its own DHCP clients."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
        sock.bind(("", _CLIENT))
    except OSError:
        sock.close()
        raise
    return sock


def _answers(
    socks: list[socket.socket], numbers: set[int], end: float
) -> Iterator[tuple[int, Offer]]:
    while (left := end - time.monotonic()) > 0:
        for sock in select.select(socks, [], [], left)[0]:
            if sock.family == socket.AF_PACKET:
                answer = read(sock.recv(65535), numbers)
            else:
                data, (server, _port) = sock.recvfrom(65535)
                answer = packet(data, numbers, _OFFER, server, "")
            if answer:
                yield answer


def discover(
    mac: bytes, number: int, identity: Identity, kind: int = _DISCOVER, own: str = _NOBODY
) -> bytes:
    """
    Return a question of a boot ROM, as the data of a UDP packet.

    mac
        The six bytes of its address.

    number
        The transaction's.

    identity
        What asks.

    kind, own
        The kind of DHCP message; the address that the client has.
    """
    # A server that remembers clients must not take this for the machine itself.
    options = [(_KIND, bytes((kind,))), (55, _WANTED), (61, b"\0" + PROBE.encode("ascii"))]
    if identity.arch is not None:
        # After the words that servers compare.
        name = f"{identity.over}Client:Arch:{identity.arch:05d}:UNDI:002001:{PROBE}"
        options += [
            (_CLASS, name.encode("ascii")),
            (93, struct.pack("!H", identity.arch)),
            (94, bytes((1, 2, 1))),
            (97, b"\0" + identity.machine.ljust(16, b"\0")),
        ]
    if identity.features:
        told = b"".join(bytes((one, 1, 1)) for one in identity.features)
        options += [(77, b"iPXE"), (175, told)]
    packed = b"".join(bytes((code, len(value))) + value for code, value in options) + b"\xff"
    answer_to_all = 0x8000
    nobody = bytes(4)
    fixed = _DHCP.pack(
        *(1, 1, 6, 0, number, 0, answer_to_all, socket.inet_aton(own), nobody, nobody, nobody),
        *(mac, b"", b"", _COOKIE),
    )
    return (fixed + packed).ljust(300, b"\0")


def _framed(mac: bytes, data: bytes) -> bytes:
    """Return a broadcast to DHCP servers as an Ethernet frame."""
    udp = _UDP.pack(_CLIENT, _SERVER, _UDP.size + len(data), 0) + data
    head = (0x45, 0, _IP.size + len(udp), 0, 0, 64, socket.IPPROTO_UDP)
    addresses = (bytes(4), b"\xff" * 4)
    checked = _IP.pack(*head, _checksum(_IP.pack(*head, 0, *addresses)), *addresses)
    return _FRAME.pack(b"\xff" * 6, mac, _IPV4) + checked + udp


def _checksum(data: bytes) -> int:
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total & 0xFFFF) + (total >> 16)
    return ~(total + (total >> 16)) & 0xFFFF


def read(frame: bytes, numbers: set[int]) -> tuple[int, Offer] | None:
    """
    Return the number of the transaction and the offer of a frame, or None.

    frame
        The Ethernet frame.

    numbers
        Those of the transactions that were begun.
    """
    at = _FRAME.size
    if len(frame) < at + _IP.size or frame[at] >> 4 != 4:
        return None
    protocol, start = frame[at + 9], at + (frame[at] & 15) * 4
    if protocol != socket.IPPROTO_UDP or len(frame) < start + _UDP.size:
        return None
    if _UDP.unpack_from(frame, start)[1] != _CLIENT:
        return None
    mac = ":".join(f"{byte:02x}" for byte in _FRAME.unpack_from(frame)[1])
    server = socket.inet_ntoa(frame[at + 12 : at + 16])
    return packet(frame[start + _UDP.size :], numbers, _OFFER, server, mac)


def packet(
    data: bytes, numbers: set[int], kind: int, server: str, mac: str
) -> tuple[int, Offer] | None:
    """
    Return the number of the transaction and the offer of a DHCP message, or None.

    data, numbers
        The message; see ``read``.

    kind
        The kind of message that is waited for.

    server, mac
        From where it came.
    """
    if len(data) < _DHCP.size:
        return None
    fields = _DHCP.unpack_from(data)
    if fields[0] != 2 or fields[4] not in numbers or fields[14] != _COOKIE:
        return None
    options = _options(data[_DHCP.size :])
    if options.get(_KIND) != bytes((kind,)):
        return None
    overload = options.get(_OVERLOAD, b"\0")[:1] or b"\0"
    file = options.get(_BOOT_FILE) or (b"" if overload[0] & 1 else fields[13])
    name = _printed(file)
    identifier = options.get(_SERVER_ID, b"")
    if len(identifier) == 4:
        server = socket.inet_ntoa(identifier)
    address, following = (socket.inet_ntoa(fields[at]) for at in (8, 9))
    boots = bool(name) or options.get(_CLASS, b"").startswith((b"PXEClient", b"HTTPClient"))
    if following == _NOBODY:
        following = _printed(options.get(_TFTP_SERVER, b"")) or server
    own = "" if address == _NOBODY else address
    vendor = options.get(_VENDOR, b"").hex()
    return fields[4], Offer(server, mac, name, following, own, boots, vendor)


def _printed(text: bytes) -> str:
    """Return a text of a packet; some servers pad it with NUL or 0xFF."""
    plain = text.partition(b"\0")[0].rstrip(b"\xff").decode("utf-8", "replace")
    return "".join(filter(str.isprintable, plain))[:200]


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
