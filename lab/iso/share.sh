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

# A folder, or, if that can't be mounted, a file in the folder above.
share_nfs() {
    options=ro,$nfs,addr=$server,soft,timeo=30
    found=/share
    mount -t nfs -o "$options" "$server:$directory" /share && return
    found=/share/${directory##*/}
    mount -t nfs -o "$options" "$server:${directory%/*}" /share ||
        refuse "$server:$directory can't be mounted"
    [ -f "$found" ] || refuse "$server:$directory is neither a folder nor a file"
}

# The first word is the share, the rest a folder or a file in it.
share_cifs() {
    name=${directory#/} name=${name%%/*}
    found=/share${directory#"/$name"}
    mount -t cifs -o "ro,user=,vers=$smb,ip=$server" "//$server/$name" /share ||
        refuse "//$server/$name can't be mounted: $(dmesg | tail -n 3 | tr '\n' ' ')"
    [ -e "$found" ] || refuse "the share $name of $server has no ${directory#"/$name"}"
}
