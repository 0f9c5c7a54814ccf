"""What lab servers have from the start where a test is not about installing it.

Few sets, as each becomes a root in .cache. Guests alone have vsftpd: where it is installed Debian
starts it, in the way of ours.
"""

import contextlib
import subprocess

from lab.demo import IN_GUEST, INSTALLED

__all__ = ["INSTALLED", "IN_GUEST", "WITH_CLIENTS", "other_server"]

WITH_CLIENTS = [*INSTALLED, "curl", "python3-samba", "samba", "smbclient"]


@contextlib.contextmanager
def other_server(lab, folder):
    """While the block runs, the lab's own address gives addresses and offers a boot: other.0."""
    prefix = lab.address.rpartition(".")[0]
    conf = folder / "udhcpd.conf"
    conf.write_text(
        f"interface br0\nstart {prefix}.200\nend {prefix}.210\nboot_file other.0\n"
        f"lease_file {folder}/leases\npidfile {folder}/pid\n"
    )
    (folder / "leases").touch()
    argv = ["busybox", "udhcpd", "-f", str(conf)]
    with lab.popen(argv, stderr=subprocess.DEVNULL) as server:
        try:
            yield
        finally:
            server.terminate()
