#!/bin/busybox sh
# Called by udhcpc, which puts the lease into the environment.
[ "$1" = bound ] || exit 0
ip addr add "$ip/$mask" dev "$interface"
router=${router%% *}
[ -z "$router" ] || ip route add default via "$router" dev "$interface"
cat > "/run/lease.$interface.new" <<END
address=$ip
router=$router
next_server=$siaddr
END
mv "/run/lease.$interface.new" "/run/lease.$interface"
