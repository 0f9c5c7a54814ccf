#!/bin/busybox sh
# /init of a test image: brings the machine up, then lets /dialect.sh do what ALT's first stage of
# that dialect does with the kernel command line. What both dialects need is here: consoles, NICs,
# automatic=, HTTP, mounts, and the two lines that tests wait for:
#   NETBOOT-ALT-MARKER key=value ...      the stage arrived, was checked and could be read
#   NETBOOT-ALT-REFUSED one sentence      ALT's first stage would have stopped here

set -f  # words of the command line are never file patterns
CR=$(printf '\r')

set_up() {
    /bin/busybox --install -s /bin
    export PATH=/bin
    mkdir -p /proc /sys /dev /run /stage /iso
    mount -t proc proc /proc
    mount -t sysfs sysfs /sys
    mount -t devtmpfs devtmpfs /dev
    mount -t tmpfs tmpfs /run
    . /image.conf  # GENERATION DIALECT VERSION
    cmdline=$(cat /proc/cmdline)
    find_consoles
    say "stage1: $GENERATION, $DIALECT $VERSION, command line: $cmdline"
    load /modules/order
    # ALT's kernels are believed to have RAM disks built in; module_blacklist=brd makes one without.
    [ ! -f /modules/brd.ko ] ||
        insmod /modules/brd.ko rd_nr=1 rd_size="$(option ramdisk_size 4096)" || say "stage1: no RAM disk"
}

# load FILE: the modules that it lists.
load() {
    while read -r module; do
        insmod "/modules/$module" || say "stage1: $module did not load"
    done < "$1"
}

# The kernel writes to a serial line only when console= says so, and the command lines under test
# do not, so every console there is gets the lines, each once.
find_consoles() {
    consoles=
    for tty in ttyS0 ttyAMA0 $(cat /sys/class/tty/console/active); do
        case " $consoles " in *" /dev/$tty "*) continue ;; esac
        [ -c "/dev/$tty" ] && consoles="$consoles /dev/$tty"
    done
}

say() {
    for console in $consoles; do
        echo "$*" > "$console"
    done 2>/dev/null
}

# Works in a subshell too: it never comes back.
finish() {
    sleep 3
    poweroff -f
    while :; do sleep 60; done
}

refuse() {
    say "NETBOOT-ALT-REFUSED $*"
    finish
}

# option NAME [DEFAULT]: the last value of NAME= on the command line.
option() {
    value=$2
    for word in $cmdline; do
        case $word in "$1="*) value=${word#*=} ;; esac
    done
    echo "$value"
}

has_option() {
    case " $cmdline " in *" $1="*) return 0 ;; *) return 1 ;; esac
}

# Unknown keys are ignored, the last of two equal keys wins, a value may hold colons. Which of these
# keys means something is the dialect's affair.
parse_automatic() {
    method='' server='' directory='' type='' imgsize='' network='' interface=''
    automatic=$(option automatic)
    IFS=,
    for pair in $automatic; do
        case $pair in
            method:*) method=${pair#*:} ;;
            server:*) server=${pair#*:} ;;
            directory:*) directory=${pair#*:} ;;
            type:*) type=${pair#*:} ;;
            imgsize:*) imgsize=${pair#*:} ;;
            network:*) network=${pair#*:} ;;
            interface:*) interface=${pair#*:} ;;
        esac
    done
    unset IFS
    [ ${#directory} -lt 3 ] || directory=${directory%/}
    case $method in
        http | ftp | nfs | cifs) ;;
        '' | 0 | auto) refuse "automatic= names no method, $DIALECT would ask a person" ;;
        *) refuse "this test image does not speak method:$method" ;;
    esac
}

# dhcp [NIC ...]: asks on these NICs, or on every NIC there is, until the first has an address: as
# make-initrd does (handlers/network/100-dhcp), three times, 5 s apart, and never again.
# Sets nic, address, router, next_server.
dhcp() {
    nics=$*
    [ -n "$nics" ] || nics=$(ls /sys/class/net | grep -v '^lo$')
    for nic in $nics; do
        [ -d "/sys/class/net/$nic" ] || refuse "there is no NIC $nic"
        ip link set "$nic" up
        udhcpc -f -q -n -t 3 -T 5 -i "$nic" -s /dhcp.sh > /dev/null 2>&1 &
    done
    tries=240
    while [ $tries -gt 0 ]; do
        for nic in $nics; do
            if [ -f "/run/lease.$nic" ]; then
                . "/run/lease.$nic"
                say "stage1: $nic has $address, router $router, next server $next_server"
                return
            fi
        done
        usleep 200000
        tries=$((tries - 1))
    done
    refuse "no NIC got an IPv4 address (asked: ${nics:-none})"
}

# rename_nic NAME ADDRESS: as make-initrd's rule for udev does, which leaves all other cards alone
# (network/data/lib/initrd/post/cmdline/network: dev_id 0x0, type 1, a driver of a bus).
rename_nic() {
    for nic in $(ls /sys/class/net); do
        card=/sys/class/net/$nic
        if [ "$(cat "$card/address" "$card/dev_id" "$card/type" | tr '\n' ' ')" = "$2 0x0 1 " ] &&
            [ -e "$card/device/driver" ]; then
            ip link set "$nic" down
            ip link set "$nic" name "$1"
            say "stage1: $nic is now $1"
            return
        fi
    done
    say "stage1: no NIC that can be renamed has the address $2"
}

# http VERB SERVER[:PORT] PATH [SECONDS]: the raw answer on stdout, cut off after SECONDS. busybox
# wget would follow redirects, which ALT's first stages do not do. The request comes through a FIFO
# that stays open, because nginx gives up on a client that closes its half of the connection.
# propagator's ancestor sends no Host: (mdk-stage1, url.c).
http() {
    host="Host: $2\r\n"
    [ "$DIALECT" = altboot ] || host=''
    case $2 in *:*) port=${2##*:} ;; *) port=80 ;; esac
    rm -f /run/request
    mkfifo /run/request
    exec 3<>/run/request
    printf "%s %s HTTP/1.0\r\n${host}User-Agent: netboot-test\r\nAccept: */*\r\n\r\n" "$1" "$3" >&3
    ${4:+timeout $4} nc -w 5 "${2%:*}" "$port" <&3
}

# Reads an answer's head from stdin and stops before its body. Sets status, length, location.
read_head() {
    status='' length='' location=''
    read -r _ status _ || return 1
    status=${status%"$CR"}
    while IFS= read -r line; do
        line=${line%"$CR"}
        case $line in
            '') return 0 ;;
            Content-Length:*) length=${line#*:} length=${length# } ;;  # spelled exactly so
            [Ll]ocation:*) location=${line#*:} location=${location# } ;;
        esac
    done
    return 1
}

# http_size SERVER PATH: one HEAD request, which may take 7 seconds. Sets size.
http_size() {
    http HEAD "$1" "$2" 7 > /run/head
    read_head < /run/head || refuse "HEAD http://$1$2 got no answer"
    case $status in
        200) ;;
        3*) refuse "HEAD http://$1$2 answered $status, a redirect to $location" ;;
        *) refuse "HEAD http://$1$2 answered $status" ;;
    esac
    case $length in
        '' | *[!0-9]*) refuse "HEAD http://$1$2 answered without a Content-Length: header" ;;
    esac
    size=$length
}

# http_get SERVER PATH SIZE TARGET: the body into a file or a device. altboot looks at no status here
# (curl without -f), and takes fewer bytes than it expected, if that is what the server says it sends.
http_get() {
    received=$(http GET "$1" "$2" | {
        read_head || refuse "GET http://$1$2 got no answer"
        expected=$3
        if [ "$DIALECT" = altboot ]; then
            say "stage1: GET http://$1$2 answered $status"
            [ "${length:-$3}" -gt "$3" ] || expected=$length
        elif [ "$status" != 200 ]; then
            refuse "GET http://$1$2 answered $status"
        fi
        [ "${length:-$3}" = "${expected:=$3}" ] ||
            refuse "GET http://$1$2 offers $length bytes where $3 were expected"
        count=$(tee "$4" | wc -c)
        [ "$count" = "$expected" ] ||
            refuse "GET http://$1$2 delivered $count bytes where $expected were expected"
        echo "$count"
    })
    size=$received
}

# Sets target for size bytes: the RAM disk if the kernel made one, otherwise a file in a tmpfs (for
# altboot: /run), which may take at most half of the memory that is available; since alt27 altboot
# asks for the size and a reserve instead.
choose_target() {
    if has_option ramdisk_size; then
        if [ -b /dev/ram0 ]; then
            [ $(($(cat /sys/block/ram0/size) * 512)) -ge "$size" ] ||
                refuse "the stage has $size bytes and does not fit into ramdisk_size=$(option ramdisk_size)"
            target=/dev/ram0
            return
        fi
        say "stage1: no /dev/ram0, so the stage goes to a tmpfs"
    fi
    available=$(sed -n 's/^MemAvailable: *\([0-9]*\) kB/\1/p' /proc/meminfo)
    if [ "$DIALECT" = altboot ] && [ "$VERSION" -ge 27 ]; then
        [ "$available" -ge $((size / 1024 + RESERVE_KIB)) ] ||
            refuse "$size bytes and the reserve of $RESERVE_KIB KiB are more than the available memory ($available KiB)"
    else
        [ $((available * 1024 / 2)) -ge "$size" ] ||
            refuse "$size bytes are more than half of the available memory ($available KiB)"
    fi
    target=/run/rootfs.squash
    [ "$form" != iso ] || target=/run/boot-image.iso
}

# ftp_size SERVER PATH: what the server says of a file. Sets size.
ftp_size() {
    size=$(printf 'USER anonymous\r\nPASS a\r\nTYPE I\r\nSIZE %s\r\nQUIT\r\n' "$2" |
        nc -w 5 "$1" 21 | sed -n 's/^213 \([0-9]*\).*/\1/p')
    [ -n "$size" ] || refuse "the FTP server $1 tells no size of $2"
}

# ftp_get SERVER PATH SIZE TARGET: a file of an FTP server into a file or a device.
ftp_get() {
    ftpget -u anonymous -p a "$1" "$4" "$2" || refuse "ftp://$1$2 could not be fetched"
    [ -b "$4" ] || [ "$(stat -c %s "$4")" = "$3" ] ||
        refuse "ftp://$1$2 delivered $(stat -c %s "$4") bytes where $3 were expected"
}

# download: size bytes of path on server. Sets target.
download() {
    choose_target
    say "stage1: $size bytes from $method://$server$path to $target"
    "${method}_get" "$server" "$path" "$size" "$target"
}

# digest FILE SIZE: SHA-256 of the first SIZE bytes (a RAM disk is longer than what is in it).
digest() {
    head -c "$2" "$1" | sha256sum | cut -d ' ' -f 1
}

# Takes the stage out of what was downloaded (form, path, target, size).
hand_over() {
    stage=$target
    [ "$form" != iso ] || stage_of_iso "$target"
    start
}

# stage_of_iso FILE: mounts it. Sets stage and its size.
stage_of_iso() {
    mount -t iso9660 -o loop,ro "$1" /iso || refuse "$path is no ISO that can be mounted"
    stage=/iso/$stagename
    [ -s "$stage" ] || refuse "the ISO has no /$stagename"
    size=$(stat -c %s "$stage")
}

# Mounts the stage's squashfs, reads all of it, looks for what the command line would start there,
# and prints the marker.
start() {
    case $stage in
        /dev/*) mount -t squashfs -o ro "$stage" /stage ;;
        *) mount -t squashfs -o loop,ro "$stage" /stage ;;
    esac || refuse "$stage is no squashfs that can be mounted"
    unit=$(option systemd.unit)
    init=$(option init)
    [ -z "$unit" ] || [ -f "/stage/usr/lib/systemd/system/$unit" ] ||
        refuse "the stage has no systemd unit $unit"
    [ -z "$init" ] || [ -f "/stage$init" ] || refuse "the stage has no $init"
    variant=livecd
    case "$stagename $unit $init" in
        altinst* | *install2*) variant=install ;;
        rescue* | *live-rescue*) variant=rescue ;;
    esac
    # ai is read by stage 2, which sees the whole command line whatever the first stage reads of it.
    case "$variant $(cat /proc/cmdline) " in
        "install "*" ai "*) [ ! -d /stage/usr/lib/install2-standin ] || switch_to_installer ;;
    esac
    find /stage -type f -exec cat {} + > /dev/null || refuse "the stage has files that cannot be read"
    read -r seconds _ < /proc/uptime
    # "none [integrity] confidentiality": integrity where Secure Boot is on.
    mount -t securityfs securityfs /sys/kernel/security
    lockdown=$(sed 's/.*\[\(.*\)\].*/\1/' /sys/kernel/security/lockdown)
    say "NETBOOT-ALT-MARKER digest=$(digest "$stage" "$size") method=$method form=$form" \
        "bytes=$size target=${target##*/} stage=$stagename variant=$variant seconds=$seconds" \
        "generation=$GENERATION dialect=$DIALECT nic=$nic address=$address lockdown=$lockdown$told"
    finish
}

# Starts the stage as a system that can be written to, with the installer as its first process: so does
# init=/usr/sbin/install2-init, and so would systemd with systemd.unit=install2.target in the end.
# /.stage is the stage as it is, MEDIUM where Metadata/ of the medium is.
switch_to_installer() {
    load /modules/order-of-stage2
    mkdir -p /stage2 /written
    mount -t tmpfs -o mode=755 tmpfs /written
    mkdir /written/upper /written/work
    mount -t overlay -o lowerdir=/stage,upperdir=/written/upper,workdir=/written/work overlay /stage2 ||
        refuse "the stage cannot be made writable"
    mkdir -p /stage2/.stage /stage2/.medium
    mount --move /stage /stage2/.stage
    case $form-$method in
        iso-*) mount --move /iso /stage2/.medium && MEDIUM=/.medium/Metadata ;;
        *-nfs | *-cifs)
            mount --move /share /stage2/.medium && MEDIUM=/.medium${found#/share}/Metadata ;;
        *) MEDIUM=$method://$server$directory/Metadata ;;
    esac
    say "stage1: stage 2 on $nic, medium $MEDIUM"
    for place in proc sys dev; do
        mount --move "/$place" "/stage2/$place"
    done
    mount -t tmpfs -o mode=755 tmpfs /stage2/run
    mount -t tmpfs tmpfs /stage2/tmp
    export MEDIUM NIC="$nic"
    exec switch_root /stage2 /usr/sbin/install2-init
}

RESERVE_KIB=524288
told=''  # more words for the marker: what the dialect tells the installer
set_up
. /share.sh
. /dialect.sh
refuse "$DIALECT ended without a stage"
