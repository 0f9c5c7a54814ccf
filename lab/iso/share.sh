# Methods nfs and cifs, which both dialects have: a share is mounted, and what it holds is used where
# it lies (lowmem) or after it was copied into memory. Sources: chapters 63 and 69 of the altboot
# manual. These images speak NFS 4 and SMB 3.1.1, whatever ALT's of that generation speak.

# share: mounts directory of server. Sets form, path, target, stage and size.
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
    case " $cmdline " in *" lowmem "*) return ;; esac
    choose_target
    cat "$stage" > "$target"
    stage=$target
}

# A folder, or, if that can't be mounted, a file in the folder above.
share_nfs() {
    options=ro,vers=4.2,addr=$server,clientaddr=$address,soft,timeo=30
    found=/share
    mount -t nfs4 -o "$options" "$server:$directory" /share && return
    found=/share/${directory##*/}
    mount -t nfs4 -o "$options" "$server:${directory%/*}" /share ||
        refuse "$server:$directory can't be mounted"
    [ -f "$found" ] || refuse "$server:$directory is neither a folder nor a file"
}

# The first word is the share, the rest a folder or a file in it.
share_cifs() {
    name=${directory#/} name=${name%%/*}
    found=/share${directory#"/$name"}
    mount -t cifs -o "ro,guest,vers=3.1.1,ip=$server" "//$server/$name" /share ||
        refuse "//$server/$name can't be mounted"
    [ -e "$found" ] || refuse "the share $name of $server has no ${directory#"/$name"}"
}
