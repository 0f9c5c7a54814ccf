"""
Clients that boot at once, as a load of real requests: boot loader over TFTP, then over HTTP the
menu's script, its reports, a turn to load, kernel, initrd, and on a new connection the stage.

    python3 tests/storm.py < JSON

JSON: ``server``, ``port``, ``loader`` (a name in the TFTP root), ``script``, ``files`` (kernel,
initrd, stage: paths), ``addresses`` (one for each client), ``turns`` (whether it asks for one),
``wait_s`` (before it asks again). All have the loader before any asks the web server. It prints
JSON: ``tftp_s`` until then, ``web_s`` from then on until all had all, ``loaded_s`` (of each client,
sorted), ``waited`` (clients that did), ``bytes`` over HTTP, ``failures`` (texts) and ``cpu_s`` that
it used itself. What comes is counted, and dropped by the kernel without a copy: so the load leaves
the processors to the server.
"""

import json
import re
import resource
import socket
import struct
import sys
import threading
import time

_TIMEOUT_S = 120
_BLOCK = 1468
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_REPORTS = ("script", "menu", "chosen", "kernel", "initrd", "boot")
_AT_ONCE = 1 << 20


class Failed(Exception):
    """A client did not get what it asked for."""


class Connection:
    """One of HTTP/1.1 that is kept open."""

    def __init__(self, server, port, address):
        self._socket = socket.create_connection((server, port), _TIMEOUT_S, (address, 0))
        self._host = server

    def get(self, path, small=False):
        """Return how many bytes came; if it is small, the bytes."""
        self._socket.sendall(f"GET {path} HTTP/1.1\r\nHost: {self._host}\r\n\r\n".encode())
        head = b""
        while b"\r\n\r\n" not in head:
            part = self._socket.recv(4096)
            if not part:
                raise Failed(f"{path}: the connection ended")
            head += part
        head, _, body = head.partition(b"\r\n\r\n")
        if b" 200 " not in head[:13]:
            raise Failed(f"{path}: {head.partition(bytes([13]))[0].decode()}")
        length = _LENGTH.search(head)
        if not length:
            raise Failed(f"{path}: the answer has no length")
        size, came = int(length[1]), len(body)
        while came < size:
            if small:
                part = self._socket.recv(size - came)
                body += part
                got = len(part)
            else:
                room = min(size - came, _AT_ONCE)
                got = self._socket.recv_into(_ROOM, room, socket.MSG_TRUNC)
            if not got:
                raise Failed(f"{path}: {came} of {size} bytes came")
            came += got
        return body if small else size

    def close(self):
        self._socket.close()


_ROOM = bytearray(_AT_ONCE)


def tftp(server, name, address):
    """Fetch a file over TFTP with blocks of 1468 bytes, as iPXE does; return its bytes."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
        own.bind((address, 0))
        own.settimeout(2)
        to, block, came = (server, 69), 0, 0
        packet = b"\0\1" + b"\0".join([name.encode(), b"octet", b"blksize", b"1468", b""])
        lost, begun = 0, False
        while True:
            own.sendto(packet, to)
            try:
                data, to = own.recvfrom(_BLOCK + 4)
            except socket.timeout:
                lost += 1
                if lost > 15:
                    raise Failed(f"tftp {name}: no answer") from None
                continue
            kind, number = struct.unpack("!HH", data[:4])
            if kind == 5:
                raise Failed(f"tftp {name}: {data[4:-1].decode()}")
            if kind == 6:
                begun = True
                packet = struct.pack("!HH", 4, 0)
            elif number == (block + 1) & 0xFFFF:
                if not begun:
                    raise Failed(f"tftp {name}: blksize was not taken")
                block = number
                came += len(data) - 4
                packet = struct.pack("!HH", 4, number)
                if len(data) < _BLOCK + 4:
                    own.sendto(packet, to)
                    return came


class Client(threading.Thread):
    """A client that boots; `done`: when it had all. `barrier`: where it waits for the others."""

    def __init__(self, plan, address, barrier):
        super().__init__(daemon=True)
        self.plan, self.address, self.barrier = plan, address, barrier
        self.done = 0.0
        self.bytes, self.waited, self.failure = 0, 0, ""

    def run(self):
        for step in (self._firmware, self._boot):
            self.barrier.wait()
            try:
                if not self.failure:
                    step()
            except (Failed, OSError) as err:
                self.failure = f"{self.address}: {err or type(err).__name__}"
        self.done = time.monotonic()

    def _firmware(self):
        tftp(self.plan["server"], self.plan["loader"], self.address)

    def _boot(self):
        plan = self.plan
        ipxe = Connection(plan["server"], plan["port"], self.address)
        self.bytes += ipxe.get(plan["script"])
        for step in _REPORTS[:3]:
            ipxe.get(f"/seen?m=525400000000&s={step}")
        if plan["turns"]:
            while b"nb-turn 1" not in ipxe.get("/turn", small=True):
                self.waited += 1
                time.sleep(plan["wait_s"])
        kernel, initrd, stage = plan["files"]
        for file, step in ((kernel, _REPORTS[3]), (initrd, _REPORTS[4])):
            self.bytes += ipxe.get(file)
            ipxe.get(f"/seen?m=525400000000&s={step}")
        ipxe.get(f"/seen?m=525400000000&s={_REPORTS[5]}")
        ipxe.close()
        first_stage = Connection(plan["server"], plan["port"], self.address)
        self.bytes += first_stage.get(stage)
        first_stage.close()


def storm(plan):
    """Boot a client at each address, all at once; return what the page above says."""
    threading.stack_size(256 * 1024)
    barrier = threading.Barrier(len(plan["addresses"]) + 1)
    clients = [Client(plan, address, barrier) for address in plan["addresses"]]
    for client in clients:
        client.start()
    before = resource.getrusage(resource.RUSAGE_SELF)
    barrier.wait()
    began = time.monotonic()
    barrier.wait()
    asked = time.monotonic()
    for client in clients:
        client.join()
    after = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "tftp_s": asked - began,
        "web_s": max(client.done for client in clients) - asked,
        "loaded_s": sorted(client.done - asked for client in clients),
        "waited": sum(client.waited > 0 for client in clients),
        "bytes": sum(client.bytes for client in clients),
        "failures": [client.failure for client in clients if client.failure],
        "cpu_s": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
    }


def in_lab(lab, server, **plan):
    """Boot clients of a lab from one of its machines; the plan as above, `clients`: how many."""
    # Limits of the web server are for each address: each client has its own.
    beside = f"198.19.{lab.number}"
    addresses = [f"{beside}.{number}" for number in range(1, plan.pop("clients") + 1)]
    from lab import network  # not for the program

    lines = "".join(f"address replace {one}/24 dev {network.BRIDGE}\n" for one in addresses)
    lab.run(["ip", "-batch", "-"], input=lines)
    server.run(["ip", "route", "replace", f"{beside}.0/24", "via", lab.address])
    plan = {"server": server.address, "port": 80, "turns": False, "wait_s": 5, **plan}
    asked = json.dumps({**plan, "addresses": addresses})
    done = lab.run([sys.executable, __file__], input=asked, capture_output=True)
    return json.loads(done.stdout)


if __name__ == "__main__":
    json.dump(storm(json.load(sys.stdin)), sys.stdout)
