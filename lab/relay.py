"""A slow link to a server: a relay of TCP connections that share a rate, and counts what crosses.

As a program, which Relay runs inside the lab's network:
python3 relay.py ADDRESS PORT TARGET TARGET_PORT BYTES_PER_SECOND COUNTER
"""

import asyncio
import signal
import subprocess
import sys
import time
from pathlib import Path

_CHUNK = 1 << 16


class Relay:
    """The far end of a slow link, in the lab's network.

    url: of the server as it is seen through the link; address: an address of the server.
    """

    def __init__(self, lab, port, address, target_port, rate):
        self.url = f"http://{lab.address}:{port}"
        self._counter = lab.logs / f"relay-{port}"
        argv = [sys.executable, __file__, lab.address, port, address, target_port, rate]
        self._process = lab.popen(
            [*map(str, argv), str(self._counter)], stdout=subprocess.PIPE, stderr=sys.stderr
        )
        self._process.stdout.readline()

    def crossed(self):
        """Bytes that went from the server to its clients so far."""
        return self._counter.stat().st_size

    def cut(self):
        """Nothing crosses any more, and nobody is told: as when a line is cut."""
        self._process.send_signal(signal.SIGSTOP)

    def stop(self):
        """Connections break, and new ones are refused."""
        self._process.kill()
        self._process.wait()


async def main(address, port, target, target_port, rate, counter):
    """Relay until killed; say "ready" once connections are taken."""
    free_at = time.monotonic()
    # Its size is the count, so that a reader needs no lock.
    count = Path(counter).open("wb")  # noqa: ASYNC230, SIM115

    async def answers(reader, writer):
        nonlocal free_at
        while data := await reader.read(_CHUNK):
            free_at = max(free_at, time.monotonic()) + len(data) / int(rate)
            await asyncio.sleep(free_at - time.monotonic())
            count.truncate(count.seek(0, 1) + len(data))
            count.seek(0, 2)
            writer.write(data)
            await writer.drain()
        writer.close()

    async def asks(reader, writer):
        while data := await reader.read(_CHUNK):
            writer.write(data)
            await writer.drain()
        writer.close()

    async def connected(reader, writer):
        try:
            server_reader, server = await asyncio.open_connection(target, int(target_port))
        except OSError:
            writer.close()
            return
        both = (answers(server_reader, writer), asks(reader, server))
        await asyncio.gather(*both, return_exceptions=True)

    async with await asyncio.start_server(connected, address, int(port)) as relay:
        print("ready", flush=True)
        await relay.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
