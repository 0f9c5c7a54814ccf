# The dialect propagator, read by stage1.sh; VERSION is the date that propagator has for a version.
# Sources: the change log of propagator, the wiki (en.altlinux.org/Propagator), chapter 62 of the
# altboot manual on hash=. Methods nfs and cifs are in share.sh. Where no source says what propagator
# does, this refuses, so that no boot entry can rely on it.

# Its ancestor reads 511 characters and 50 words (mdk-stage1, tools.c), of two equal keys the first.
cmdline=$(echo "$cmdline" | cut -c 1-511)
[ "$(echo "$cmdline" | wc -w)" -le 50 ] || refuse "the command line has more than 50 words"
again=$(option automatic | tr , '\n' | cut -d : -f 1 | sort | uniq -d)
[ -z "$again" ] || refuse "automatic= has two of $again, and which one propagator takes is not known"
[ "$(option root)" != bootchain ] || say "stage1: root=bootchain is altboot's, propagator ignores it"
stagename=$(option stagename altinst)
parse_automatic
case $network in
    dhcp) dhcp $interface ;;
    '') refuse "automatic= has no network:dhcp, and ip= is not propagator's" ;;
    *) refuse "this test image does not speak network:$network" ;;
esac
mounts='' in_place=''
[ "$method" != nfs ] && [ "$method" != cifs ] || mounts=yes
case " $cmdline " in *" lowmem "*) in_place=$mounts ;; esac
if [ "$VERSION" -lt 20210908 ] && [ -z "$in_place" ] && ! has_option ramdisk_size; then
    refuse "there is no ramdisk_size=, which propagator needs until 2021-09-08"
fi
[ -n "$server" ] && [ -n "$directory" ] ||
    refuse "automatic= lacks server: or directory:, propagator would ask a person"

if [ -n "$mounts" ]; then
    ! has_option hash || refuse "what propagator does with hash= and $method is not known"
    # Assumed of NFS: it comes from mdk-stage1, which mounts version 3. SMB 1 alone until 2021-09-02,
    # when it learnt to try an older one after the kernel's own choice (ALT's bug 40554).
    nfs=$NFS3 smb=''
    [ "$VERSION" -ge 20210902 ] || smb=vers=1.0,
    share
    start
fi

# Until 2021-09-22 an ISO is a folder like any other, in which there is no stage.
form=tree path=$directory/$stagename
case $directory in
    *.iso)
        if [ "$VERSION" -ge 20210922 ] && ! has_option ramdisk_size; then
            form=iso path=$directory
        fi
        ;;
esac
[ $method = http ] || [ $form = tree ] ||
    refuse "whether propagator takes a whole ISO over ftp is not known"
if [ $form = iso ] && has_option hash; then
    refuse "what propagator compares hash= with in a whole ISO is not known"
fi
"${method}_size" "$server" "$path"
download
if has_option hash; then
    [ "$(digest "$target" "$size")" = "$(option hash)" ] || refuse "the stage's SHA-256 is not hash="
fi
hand_over
