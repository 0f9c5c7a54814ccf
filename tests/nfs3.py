"""Reads one file over NFS 3 by what the client makes up itself: a file handle, or names.

Usage: python nfs3.py SERVER EXPORT handle HANDLE, where HANDLE is what the server's file system
calls the file, in hexadecimal; or SERVER EXPORT names NAME..., each looked up in the one before it,
as it is. Prints the file's first bytes, or the server's error number (RFC 1813, 2.6).
"""

import os
import struct
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "salt/_utils"))

from probe_rpc import PORT, Program, opaque, port_of
from probe_wire import Budget, Unreachable

NFS, MOUNT = ("NFS 3", 100003, 3), ("mountd", 100005, 3)
LONGEST_HANDLE = 64
READ_AT_MOST = 64


def made_up(export_handle, handle):
    # The export's own handle says which file system (Linux, fs/nfsd/nfsfh.h); its fourth byte says
    # what follows: 0, nothing; 2, number and generation of a file and of the folder that it is in.
    return export_handle[:3] + b"\2" + export_handle[4:] + bytes.fromhex(handle)


def returned(what, answer):
    """What follows a status."""
    status = answer.number()
    if status:
        sys.exit(f"{what}: {status}")
    return answer


def main(address, export, kind, *words):
    budget = Budget(20, 0)
    with Program(MOUNT, address, port_of(MOUNT, address, PORT, budget), budget) as mountd:
        mounted = returned(f"MNT {export}", mountd.call(1, opaque(export.encode())))
        file = mounted.opaque(LONGEST_HANDLE)
    with Program(NFS, address, port_of(NFS, address, PORT, budget), budget) as nfs:
        for word in words:
            if kind == "handle":
                file = made_up(file, word)
            else:
                asked = opaque(file) + opaque(os.fsencode(word))
                file = returned(f"LOOKUP {word}", nfs.call(3, asked)).opaque(LONGEST_HANDLE)
        said = returned("READ", nfs.call(6, opaque(file) + struct.pack(">QI", 0, READ_AT_MOST)))
    if not said.number():
        sys.exit("READ: no attributes")
    said.skip(84 + 8)  # these, the count, and whether the file ends
    print(said.opaque(READ_AT_MOST).hex())


try:
    main(*sys.argv[1:])
except Unreachable as err:
    sys.exit(f"RPC: {err}")
