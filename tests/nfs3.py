"""Reads one file over NFS 3 by what the client makes up itself: a file handle, or names.

Usage: python nfs3.py SERVER EXPORT handle HANDLE, where HANDLE is what the server's file system
calls the file, in hexadecimal; or SERVER EXPORT names NAME..., each looked up in the one before it,
as it is. Prints the file's first bytes, or the server's error number (RFC 1813, 2.6).
"""

import os
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
            said = answer.read(length & ~(1 << 31))
    (status,) = struct.unpack_from(">I", said, 20)
    if status:
        sys.exit(f"RPC: {status}")
    return said[24:]


def opaque(data):
    return struct.pack(">I", len(data)) + data + bytes(-len(data) % 4)


def port_of(address, program):
    asked = struct.pack(">4I", *program, TCP, 0)
    return struct.unpack(">I", call(address, 111, PORTMAP, 3, asked))[0]


def made_up(export_handle, handle):
    # The export's own handle says which file system (Linux, fs/nfsd/nfsfh.h); its fourth byte says
    # what follows: 0, nothing; 2, number and generation of a file and of the folder that it is in.
    return export_handle[:3] + b"\2" + export_handle[4:] + bytes.fromhex(handle)


def looked_up(address, port, folder, name):
    said = call(address, port, NFS, 3, opaque(folder) + opaque(os.fsencode(name)))
    status, length = struct.unpack_from(">2I", said)
    if status:
        sys.exit(f"LOOKUP {name}: {status}")
    return said[8 : 8 + length]


def main(address, export, kind, *words):
    mounted = call(address, port_of(address, MOUNT), MOUNT, 1, opaque(export.encode()))
    status, length = struct.unpack_from(">2I", mounted)
    if status:
        sys.exit(f"MNT {export}: {status}")
    file = mounted[8 : 8 + length]
    port = port_of(address, NFS)
    for word in words:
        file = made_up(file, word) if kind == "handle" else looked_up(address, port, file, word)
    said = call(address, port, NFS, 6, opaque(file) + struct.pack(">QI", 0, READ_AT_MOST))
    (status,) = struct.unpack_from(">I", said)
    if status:
        sys.exit(f"READ: {status}")
    has_attributes, count = struct.unpack_from(">I84xI", said, 4)
    if not has_attributes:
        sys.exit("READ: no attributes")
    print(said[4 + 4 + 84 + 12 :][:count].hex())


main(*sys.argv[1:])
