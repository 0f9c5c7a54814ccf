# The dialect altboot, from 0.1.5-alt17 (2023-07), read by stage1.sh. Sources: the altboot manual
# ("From propagator to altboot", chapters 10, 30, 35, 51, 62, 65) and the change log of
# make-initrd-bootchain. Of altboot's methods this speaks http.

set_up_network() {
    nics='' every_nic='' configured=''
    for word in $cmdline; do
        case $word in
            ip=dhcp | ip=dhcp4) every_nic=yes configured=yes ;;
            ip=*:dhcp | ip=*:dhcp4) word=${word#ip=} nics="$nics ${word%:*}" configured=yes ;;
            ip=*) refuse "$word is not one of ip=dhcp4, ip=dhcp, ip=NIC:dhcp4" ;;
            ifname=*:*) word=${word#ifname=} configured=yes; rename_nic "${word%%:*}" "${word#*:}" ;;
        esac
    done
    if [ -n "$every_nic" ] || [ -z "$configured" ]; then
        dhcp
    elif [ -n "$nics" ]; then
        dhcp $nics
    else
        refuse "ifname= is given without ip=, so no NIC is set up"
    fi
}

# Unknown keys are ignored, the last of two equal keys wins, a value may hold colons.
parse_automatic() {
    method='' server='' directory='' type='' imgsize=''
    automatic=$(option automatic)
    IFS=,
    for pair in $automatic; do
        case $pair in
            method:*) method=${pair#*:} ;;
            server:*) server=${pair#*:} ;;
            directory:*) directory=${pair#*:} ;;
            type:*) type=${pair#*:} ;;
            imgsize:*) imgsize=${pair#*:} ;;
        esac
    done
    unset IFS
    [ ${#directory} -lt 3 ] || directory=${directory%/}
}

# Sets target: the RAM disk if the kernel made one, otherwise a file in a tmpfs, which may take at
# most half of the memory that is available (alt27 asks for the file's size and a reserve instead).
choose_target() {
    if has_option ramdisk_size; then
        [ -b /dev/ram0 ] || insmod /modules/brd.ko rd_nr=1 rd_size="$(option ramdisk_size)"
        if [ -b /dev/ram0 ]; then
            [ $(($(cat /sys/block/ram0/size) * 512)) -ge "$size" ] ||
                refuse "the stage has $size bytes and does not fit into ramdisk_size=$(option ramdisk_size)"
            target=/dev/ram0
            return
        fi
        say "stage1: no /dev/ram0, so the stage goes to a tmpfs"
    fi
    available=$(sed -n 's/^MemAvailable: *\([0-9]*\) kB/\1/p' /proc/meminfo)
    [ $((available * 1024 / 2)) -ge "$size" ] ||
        refuse "$size bytes are more than half of the available memory ($available KiB)"
    mkdir -p /download
    mount -t tmpfs tmpfs /download
    target=/download/tmpfs
}

[ "$(option root)" = bootchain ] || refuse "the command line has no root=bootchain"
case ",$(option bootchain)," in
    *,altboot,*) ;;
    *) refuse "the command line has no bootchain=fg,altboot" ;;
esac
stagename=$(option stagename altinst)
parse_automatic
case $method in
    http) ;;
    '' | 0 | auto) refuse "automatic= names no method, altboot would ask a person" ;;
    *) refuse "this test image does not speak method:$method" ;;
esac

set_up_network
server=${server:-${next_server:-$router}}
directory=${directory:-/pub/netinst/current}

# ramdisk_size= wins over type:iso.
form=tree path=$directory/$stagename
if [ "$type" = iso ] && ! has_option ramdisk_size; then
    form=iso path=$directory
fi
if [ -n "$imgsize" ]; then size=$imgsize; else http_size "$server" "$path"; fi
choose_target
say "stage1: $size bytes from http://$server$path to $target"
http_get "$server" "$path" "$size" "$target"

# Only a whole ISO has its hash= checked after a download. For a tree the check then looks for a
# mounted folder, finds a device or a file, and the boot ends.
if has_option hash; then
    [ $form = iso ] || refuse "hash= has no previous step's results to check with an http tree"
    [ "$(digest "$target" "$size")" = "$(option hash)" ] || refuse "the ISO's SHA-256 is not hash="
fi

stage=$target
if [ $form = iso ]; then
    mount -t iso9660 -o loop,ro "$target" /iso || refuse "$path is no ISO that can be mounted"
    stage=/iso/$stagename
    [ -s "$stage" ] || refuse "the ISO has no /$stagename"
    size=$(stat -c %s "$stage")
fi
hand_over "$stage" "digest=$(digest "$stage" "$size")" "method=http form=$form" \
    "bytes=$size target=${target##*/}"
