#!/bin/sh
# The file sharing of one node: the gate that every transfer into it passes, and the sync that its writer runs.
# Usage: ha-files COMMAND [ARGUMENT...]. Its settings are in the file config beside it, or in HA_... variables.
# Ends with 0; 64 nothing there, 65 refused by what is there, 66 not permitted or not writable, 70 rsync failed, 75 busy or
# held, 74 failed after a change began, 76 refused for good, 77 a higher writer epoch was seen.
set -u
export LC_ALL=C
NEWLINE='
'
if [ -z "${HA_STATE:-}" ]; then
    HA_STATE=$(cd "${0%/*}" && pwd) || exit 66
    . "$HA_STATE/config" || exit 66
fi
S=$HA_STATE
HA_RELEASES=$HA_TREE.releases

say() { printf 'ha-files: %s\n' "$*" >&2; }

# Replaces a file of the state durably: put NAME TEXT.
put() {
    mkdir -p -- "$S/held" || return 66
    printf '%s\n' "$2" >"$S/.new.$$" && sync "$S/.new.$$" && mv -f -- "$S/.new.$$" "$S/$1" || return 66
    case $1 in */*) sync "$S/${1%/*}" ;; *) sync "$S" ;; esac || return 66
}

# Removes a file of the state durably.
drop() {
    [ -e "$S/$1" ] || return 0
    rm -f -- "$S/$1" || return 66
    case $1 in */*) sync "$S/${1%/*}" ;; *) sync "$S" ;; esac || return 66
}

number() {
    n=$(cat "$1" 2>/dev/null) || n=$2
    case $n in
    '' | *[!0-9]*)
        say "$1 holds no number"
        exit 66
        ;;
    esac
    echo "$n"
}

writer_epoch() { number "$S/writer" "$HA_FIRST_WRITER"; }

seen_epoch() {
    seen=$(number "$S/seen" 0) && mine=$(writer_epoch) || exit 66
    [ "$seen" -ge "$mine" ] && echo "$seen" || echo "$mine"
}

# Waits until no transfer is under way, for this many seconds, and keeps the next one away until the shell ends and all that
# it started: on descriptor 9.
lock() {
    mkdir -p -- "$S/held" || return 66
    exec 9>>"$S/lock" || return 66
    flock -w "$1" 9 || return 75
}

# Lists the processes that keep the lock.
holders() {
    real=$(cd "$S" && pwd -P)/lock
    find /proc/[0-9]*/fd -lname "$real" 2>/dev/null | cut -d/ -f3 | grep -vx "$$" | sort -un | tr '\n' ' '
}

is_held() {
    for gate in "$S"/held/*; do
        [ -e "$gate" ] && return 0
    done
    return 1
}

gates() {
    for gate in "$S"/held/*; do
        [ -e "$gate" ] || continue
        echo "held $(stat -c %Y -- "$gate") ${gate##*/} $(head -n 1 -- "$gate")"
    done
}

