#!/bin/sh
# Services that an installed system does not start by itself, whoever enabled them before this.
. install2-init-functions
for service in ssh.service sshd.service ssh.socket; do
    [ ! -e "$destdir/lib/systemd/system/$service" ] ||
        systemctl --quiet --root "$destdir" disable "$service"
done
