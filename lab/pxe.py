"""A client of a lab that only asks DHCP, with the packets of the boot ROM that it is told to be.

QEMU has no plain PXE ROM; this one says what a ROM says and tells what it was answered.
Formats: RFC 2131 (packets), RFC 2132 and 4578 (options), Intel's PXE specification 2.1.
"""

import contextlib
import json
import os
import socket
import struct
import sys
import time
from pathlib import Path

BRIDGE = "br0"  # of lab.network, which a program by itself cannot import
FIXED = struct.Struct("!BBBBIHH4s4s4s4s16s64s128s4s")
COOKIE = b"\x63\x82\x53\x63"
DISCOVER, REQUEST, ACK = 1, 3, 5
# Those that a boot ROM asks for: mask, router, DNS, name, domain, vendor's, server name, file.
WANTED = bytes((1, 3, 6, 12, 15, 43, 54, 60, 66, 67, 128, 129, 130, 131, 132, 133, 134, 135))


def ask(
    lab,
    arch,
    vendor="PXEClient",
    mac="52:54:00:00:00:01",
    features=(),
    machine=bytes(range(16)),
    seconds=4,
    relay="",
    device=BRIDGE,
):
    """What DHCP servers on the lab's network answer to a boot ROM.

    arch: number in option 93, None: no boot ROM at all; vendor: how option 60 begins; features: it
    is an iPXE that tells these numbers in option 175; machine: the 16 bytes that identify it in
    option 97; seconds: how long to ask and to wait; relay: address of the relay in whose subnet it
    is, an address of the lab; device: the lab's network device that it is at.
    Returns a list of the offers. Each is a dict with server (its address), address (for the client,
    "0.0.0.0" where it gives none), next_server, file, options (hexadecimal by number), and ack: the
    answer to the request that follows, which for an offer without address goes to port 4011.
    """
    told = {
        "arch": arch,
        "vendor": vendor,
        "mac": mac,
        "features": list(features),
        "machine": machine.hex(),
        "seconds": seconds,
        "relay": relay,
        "address": lab.address,
        "device": device,
    }
    done = lab.run([sys.executable, str(Path(__file__)), json.dumps(told)], capture_output=True)
    return json.loads(done.stdout)


def _packet(client, kind, xid, own="0.0.0.0", wanted=None, server=None):  # noqa: S104
    options = bytes((53, 1, kind, 55, len(WANTED))) + WANTED + bytes((57, 2, 5, 192))
    if client["arch"] is not None:
        name = f"{client['vendor']}:Arch:{client['arch']:05d}:UNDI:002001".encode()
        options += bytes((60, len(name))) + name
        options += bytes((93, 2)) + struct.pack("!H", client["arch"])
        options += bytes((94, 3, 1, 2, 1, 97, 17, 0)) + bytes.fromhex(client["machine"])
    if client["features"]:
        told = b"".join(bytes((number, 1, 1)) for number in client["features"])
        options += bytes((77, 4)) + b"iPXE" + bytes((175, len(told))) + told
    for number, address in ((50, wanted), (54, server)):
        if address:
            options += bytes((number, 4)) + socket.inet_aton(address)
    relay = client["relay"]
    fixed = FIXED.pack(
        *(1, 1, 6, 1 if relay else 0, xid, 0, 0x8000),
        *(socket.inet_aton(own), bytes(4), bytes(4), socket.inet_aton(relay or "0.0.0.0")),  # noqa: S104
        *(bytes.fromhex(client["mac"].replace(":", "")), b"", b"", COOKIE),
    )
    return (fixed + options + b"\xff").ljust(300, b"\0")


def _read(packet, server):
    _, _, _, _, xid, _, _, _, yours, next_server, _, _, _, file, _ = FIXED.unpack_from(packet)
    options, at = {}, FIXED.size
    while packet[at] != 255:
        if packet[at]:
            end = at + 2 + packet[at + 1]
            options[packet[at]] = options.get(packet[at], b"") + packet[at + 2 : end]
            at = end
        else:
            at += 1
    if options.get(52, b"\0")[0] & 1 or not file.rstrip(b"\0"):
        file = options.get(67, b"")
    return {
        "xid": xid,
        "server": server,
        "address": socket.inet_ntoa(yours),
        "next_server": socket.inet_ntoa(next_server),
        "file": file.partition(b"\0")[0].decode(),
        "options": {number: value.hex() for number, value in options.items()},
    }


def _answers(sock, xid, seconds):
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        sock.settimeout(left)
        with contextlib.suppress(TimeoutError):
            packet, (server, _port) = sock.recvfrom(2048)
            answer = _read(packet, server)
            if packet[0] == 2 and answer.pop("xid") == xid:
                yield answer
                deadline = min(deadline, time.monotonic() + 0.5)  # for those of other servers


def _main(client):
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, client["device"].encode())
    # A relay gets its answers on the port of servers.
    sock.bind(("", 67 if client["relay"] else 68))
    xid = int.from_bytes(os.urandom(4), "big")
    everybody = "255.255.255.255"
    offers = {}
    for _ in range(client["seconds"]):  # a daemon may just be starting
        sock.sendto(_packet(client, DISCOVER, xid), (everybody, 67))
        offers.update((answer["server"], answer) for answer in _answers(sock, xid, 1))
        if offers:
            break
    for offer in offers.values():
        if offer["address"] != "0.0.0.0":  # noqa: S104
            request = _packet(client, REQUEST, xid, wanted=offer["address"], server=offer["server"])
            sock.sendto(request, (everybody, 67))
        else:
            request = _packet(client, REQUEST, xid, own=client["address"])
            sock.sendto(request, (offer["server"], 4011))
        acks = _answers(sock, xid, client["seconds"])
        offer["ack"] = next((one for one in acks if one["options"][53] == f"{ACK:02x}"), None)
    print(json.dumps(list(offers.values())))


if __name__ == "__main__":
    _main(json.loads(sys.argv[1]))
