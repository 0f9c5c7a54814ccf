"""The router's part in IPv6: tells every client that asks that there is no IPv6 to be had.

Where nobody answers, iPXE asks for 16 seconds before it goes on over IPv4. What it sends is of
RFC 4861, section 4.2. Run by network.start_router(), with the name of the bridge.
"""

import contextlib
import socket
import struct
import sys

SOLICITATION, ADVERTISEMENT = 133, 134
ALL_NODES, ALL_ROUTERS = "ff02::1", "ff02::2"
# Type, code, checksum (the kernel's), hop limit, flags, then three times: the lifetime of 0 seconds
# says that this is nobody's default router.
ANSWER = struct.pack("!BBHBBHII", ADVERTISEMENT, 0, 0, 0, 0, 0, 0, 0)


def main(interface):
    index = socket.if_nametoindex(interface)
    with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as sock:
        group = socket.inet_pton(socket.AF_INET6, ALL_ROUTERS) + struct.pack("@I", index)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, group)
        # Receivers drop what may have come through a router.
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
        while True:
            if sock.recv(1500)[0] == SOLICITATION:
                with contextlib.suppress(OSError):  # the bridge may have no address yet
                    sock.sendto(ANSWER, (ALL_NODES, 0, 0, index))


if __name__ == "__main__":
    main(sys.argv[1])
