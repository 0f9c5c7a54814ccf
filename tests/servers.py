"""What lab servers have from the start where a test is not about installing it.

Few sets, as each becomes a root in .cache. Guests alone have vsftpd: where it is installed Debian
starts it, in the way of ours.
"""

from lab.demo import PACKAGES

INSTALLED = [*PACKAGES, "iproute2", "logrotate"]
WITH_CLIENTS = [*INSTALLED, "curl", "python3-samba", "samba", "smbclient"]
# Of guests, whose emulated processor takes minutes to unpack packages.
IN_GUEST = [*PACKAGES, "nfs-kernel-server", "samba", "vsftpd"]
