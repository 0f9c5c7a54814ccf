"""Machines beside a server that ask its web server: network namespaces with a MAC address."""

import subprocess
import sys

from lab import network

MAC = "52:54:00:00:00:0{}"
# Asks for a URL; words: method, URL, bytes to read before hanging up (0: all), Range (- for none).
# Prints status and bytes read.
ASK = """
import socket, sys
method, url, limit, part = sys.argv[1:]
host, path = url.removeprefix("http://").split("/", 1)
with socket.socket() as sock:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.settimeout(60)
    sock.connect((host, 80))
    part = "" if part == "-" else f"Range: {part}"
    lines = [f"{method} /{path} HTTP/1.1", f"Host: {host}", "Connection: close", part]
    sock.sendall("\\r\\n".join(line for line in lines if line).encode() + b"\\r\\n\\r\\n")
    answer = b""
    while b"\\r\\n\\r\\n" not in answer:
        answer += sock.recv(1)
    read = 0
    while (not int(limit) or read < int(limit)) and (got := len(sock.recv(65536))):
        read += got
print(answer.split()[1].decode(), read)
"""


class Machines:
    """
    Made as they are asked for.

    lan
        The lab with its server.
    """

    def __init__(self, lan):
        self._lan = lan
        self._made = {}

    def words(self, number):
        """The words that run a program on the machine with this MAC address."""
        if number not in self._made:
            lab = self._lan.lab
            name = self._made[number] = f"{lab.name}-pc{number}"
            address = self._lan.server.address.rpartition(".")[0] + f".{210 + number}"
            network.add_machine(lab.name, name, f"pc{number}", address, lab.address)
            network.ip("-n", name, "link", "set", "eth0", "address", MAC.format(number))
        return network.inside(self._made[number])

    def address(self, number, last):
        """Give a machine another address in the server's network."""
        name = self._made[number]
        address = self._lan.server.address.rpartition(".")[0] + f".{last}"
        network.ip("-n", name, "addr", "flush", "dev", "eth0")
        network.ip("-n", name, "addr", "add", f"{address}/24", "dev", "eth0")

    def ask(self, path, method="GET", limit=0, part="-", by=None):
        """Status and bytes; by the machine with this number, or else by somebody else."""
        url = f"http://{self._lan.server.address}{path}"
        words = [sys.executable, "-c", ASK, method, url, str(limit), part]
        if by is None:
            done = self._lan.lab.run(words, capture_output=True, check=True)
        else:
            done = subprocess.run(
                [*self.words(by), *words], text=True, capture_output=True, check=True
            )
        status, read = done.stdout.split()
        return int(status), int(read)
