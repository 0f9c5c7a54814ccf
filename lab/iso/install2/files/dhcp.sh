#!/bin/sh
# Called by udhcpc, which puts the lease into the environment.
[ "$1" = bound ] || exit 0
ip address replace "$ip/$mask" dev "$interface"
[ -z "$router" ] || ip route replace default via "${router%% *}" dev "$interface"
: > /etc/resolv.conf
for server in $dns; do
    echo "nameserver $server" >> /etc/resolv.conf
done
