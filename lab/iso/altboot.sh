# The dialect altboot, read by stage1.sh; VERSION is the n of make-initrd-bootchain 0.1.5-alt<n>.
# Sources: the altboot manual ("From propagator to altboot", chapters 10, 30, 35, 51, 62, 65) and
# the change log of make-initrd-bootchain. Methods nfs and cifs are in share.sh.

set_up_network() {
    nics='' every_nic=''
    for word in $cmdline; do
        case $word in
            ip=dhcp | ip=dhcp4) every_nic=yes ;;
            ip=*:dhcp | ip=*:dhcp4) word=${word#ip=} nics="$nics ${word%:*}" ;;
            ip=*) refuse "$word is not one of ip=dhcp4, ip=dhcp, ip=NIC:dhcp4" ;;
            ifname=*:*) word=${word#ifname=}; rename_nic "${word%%:*}" "${word#*:}" ;;
        esac
    done
    if [ -n "$every_nic" ]; then
        dhcp
    elif [ -n "$nics" ]; then
        dhcp $nics
    else
        refuse "there is no ip=, so no NIC is set up (can't reconfigure network settings)"
    fi
}

# What stage 2 finds in /.initrd/kernenv, for the marker.
tell() {
    told=" METHOD=$method DEVICE=$nic BOOTPROTO=dhcp"
    case $form-$method in
        iso-http | iso-ftp) told="$told URL=$method://$server$directory" ;;
        *) told="$told HOST=$server PREFIX=$directory" ;;
    esac
}

[ "$(option root)" = bootchain ] || refuse "the command line has no root=bootchain"
case ",$(option bootchain)," in
    *,altboot,*) ;;
    *) refuse "the command line has no bootchain=fg,altboot" ;;
esac
stagename=$(option stagename altinst)
parse_automatic

set_up_network
server=${server:-${next_server:-$router}}
directory=${directory:-/pub/netinst/current}

if [ "$method" = nfs ] || [ "$method" = cifs ]; then
    # mount.nfs and mount.cifs negotiate; from version 4.2 on, NFS goes back as far as 3.
    nfs="vers=4.2,clientaddr=$address $NFS3" smb=''
    # 350-squashfs looks at lowmem alone, whatever the manual says of the words live and rescue.
    case " $cmdline " in *" lowmem "*) in_place=yes ;; *) in_place='' ;; esac
    share
    [ "$stagename" != live ] || look_for_overlays
    tell
    if has_option hash; then
        [ "$(digest "$stage" "$size")" = "$(option hash)" ] || refuse "the stage's SHA-256 is not hash="
    fi
    start
fi

# ramdisk_size= wins over type:iso. Before alt17 there is no type:, and without ramdisk_size= it is
# always a whole ISO.
form=tree path=$directory/$stagename
if ! has_option ramdisk_size && { [ "$type" = iso ] || [ "$VERSION" -lt 17 ]; }; then
    form=iso path=$directory
fi
tell
if [ -n "$imgsize" ]; then size=$imgsize; else "${method}_size" "$server" "$path"; fi
download

# Only a whole ISO has its hash= checked after a download. For a tree the check then looks for a
# mounted folder, finds a device or a file, and the boot ends.
if has_option hash; then
    [ $form = iso ] || refuse "hash= has no previous step's results to check with an $method tree"
    [ "$(digest "$target" "$size")" = "$(option hash)" ] || refuse "the ISO's SHA-256 is not hash="
fi

hand_over
