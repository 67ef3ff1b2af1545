# Lets one effect at a time through, and none of an epoch lower than the highest seen: ha_guard EPOCH SECONDS.
# 0: go on, the lock is held on descriptor 9 until the shell ends; 75: busy; 77: fenced; 78: the epoch cannot be kept.
ha_guard() {
    raised=
    command exec 9>>"$G/epoch.lock" || return 78
    flock -w "$2" 9 || return 75
    ha_seen || return 78
    [ "$1" -ge "$seen" ] || return 77
    [ "$1" -gt "$seen" ] || return 0
    raised=yes
    printf '%s\n' "$1" >"$G/epoch.new" && sync "$G/epoch.new" && mv -f "$G/epoch.new" "$G/epoch" && sync "$G" && return 0
    return 78
}
# Reads the highest epoch seen.
ha_seen() {
    seen=0
    [ ! -e "$G/epoch" ] || read -r seen <"$G/epoch" || return 78
    case $seen in '' | *[!0-9]*) return 78 ;; esac
}
