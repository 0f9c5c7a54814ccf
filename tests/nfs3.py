"""Reads one file over NFS 3 by a file handle that the client makes up itself.

Usage: python nfs3.py SERVER EXPORT HANDLE, where HANDLE is what the server's file system calls the
file, in hexadecimal. Prints the file's first bytes, or the server's error number (RFC 1813, 2.6).
"""

import socket
import struct
import sys

PORTMAP, NFS, MOUNT = (100000, 2), (100003, 3), (100005, 3)  # program, version
TCP = 6
READ_AT_MOST = 64


def call(address, port, program, procedure, arguments):
    """The results of a remote procedure (RFC 5531), which is told that user 0 asks."""
    user = struct.pack(">7I", 1, 20, 0, 0, 0, 0, 0)
    message = struct.pack(">6I", 1, 0, 2, *program, procedure) + user + bytes(8) + arguments
    with socket.create_connection((address, port), timeout=20) as connection:
        connection.sendall(struct.pack(">I", 1 << 31 | len(message)) + message)
        with connection.makefile("rb") as answer:
            (length,) = struct.unpack(">I", answer.read(4))
            return answer.read(length & ~(1 << 31))[24:]


def opaque(data):
    return struct.pack(">I", len(data)) + data + bytes(-len(data) % 4)


def port_of(address, program):
    asked = struct.pack(">4I", *program, TCP, 0)
    return struct.unpack(">I", call(address, 111, PORTMAP, 3, asked))[0]


def main(address, export, handle):
    mounted = call(address, port_of(address, MOUNT), MOUNT, 1, opaque(export.encode()))
    status, length = struct.unpack_from(">2I", mounted)
    if status:
        sys.exit(f"MNT {export}: {status}")
    # The export's own handle says which file system (Linux, fs/nfsd/nfsfh.h); its fourth byte says
    # what follows: 0, nothing; 2, number and generation of a file and of the folder that it is in.
    export_handle = mounted[8 : 8 + length]
    made_up = export_handle[:3] + b"\2" + export_handle[4:] + bytes.fromhex(handle)
    arguments = opaque(made_up) + struct.pack(">QI", 0, READ_AT_MOST)
    said = call(address, port_of(address, NFS), NFS, 6, arguments)
    (status,) = struct.unpack_from(">I", said)
    if status:
        sys.exit(f"READ: {status}")
    has_attributes, count = struct.unpack_from(">I84xI", said, 4)
    if not has_attributes:
        sys.exit("READ: no attributes")
    print(said[4 + 4 + 84 + 12 :][:count].hex())


main(*sys.argv[1:])
