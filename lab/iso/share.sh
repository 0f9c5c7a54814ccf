# Methods nfs and cifs, which both dialects have: a share is mounted, and what it holds is used where
# it lies or after it was copied into memory. Sources: chapters 63 and 69 of the altboot manual.
# Which NFS and SMB a dialect speaks is in its own file, and assumed where no source says it.

# share: mounts directory of server. Sets form, path, target, stage and size; in_place is set when
# nothing is to be copied.
share() {
    load /modules/order-of-shares
    mkdir -p /share
    path=$directory
    "share_$method"
    if [ -f "$found" ]; then
        form=iso
        stage_of_iso "$found"
    else
        form=tree
        stage=$found/$stagename
        [ -s "$stage" ] || refuse "$method: $directory of $server has no $stagename"
        size=$(stat -c %s "$stage")
    fi
    target=share
    [ -z "$in_place" ] || return 0
    choose_target
    cat "$stage" > "$target"
    stage=$target
}

# What mount.nfs asks for when it goes back to version 3.
NFS3=vers=3,proto=tcp,mountproto=tcp,nolock

# mount_nfs DIRECTORY PLACE: by the first of the words in $nfs that works.
mount_nfs() {
    for version in $nfs; do
        mount -t nfs -o "ro,$version,addr=$server,soft,timeo=30" "$server:$1" "$2" && return
    done
    return 1
}

# A folder, or, if that cannot be mounted, a file in the folder above.
share_nfs() {
    found=/share
    mount_nfs "$directory" /share && return
    found=/share/${directory##*/}
    mount_nfs "${directory%/*}" /share || refuse "$server:$directory cannot be mounted"
    [ -f "$found" ] || refuse "$server:$directory is neither a folder nor a file"
}

# altboot does it at each start of a live system; what it finds, it lays over that system.
look_for_overlays() {
    mkdir -p /overlays
    if [ "$method" = nfs ]; then
        mount_nfs "${directory%/*}/overlays-live" /overlays || say "stage1: NFS mount failed"
    else
        mount -t cifs -o "ro,user=,ip=$server" "//$server/netinst" /overlays ||
            say "stage1: there is no share netinst"
    fi
    set +f
    for overlay in /overlays/default/*.squashfs; do
        [ ! -f "$overlay" ] || refuse "$overlay of $server would lie over the system"
    done
    set -f
}

# The first word is the share, the rest a folder or a file in it.
share_cifs() {
    name=${directory#/} name=${name%%/*}
    found=/share${directory#"/$name"}
    mount -t cifs -o "ro,${smb}user=,ip=$server" "//$server/$name" /share ||
        refuse "//$server/$name cannot be mounted: $(dmesg | tail -n 3 | tr '\n' ' ')"
    [ -e "$found" ] || refuse "the share $name of $server has no ${directory#"/$name"}"
}
