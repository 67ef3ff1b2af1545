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
    true >"$G/epochs/$1" && sync "$G/epochs" || return 78
}
# Finds the highest epoch seen: each is an empty file of that name, which a power cut leaves there or not, and never torn.
ha_seen() {
    seen=0
    [ -r "$G/epochs" ] || return 78
    for f in "$G"/epochs/*; do
        case ${f##*/} in
        '*') ;;
        *[!0-9]*) return 78 ;;
        *) [ "${f##*/}" -le "$seen" ] || seen=${f##*/} ;;
        esac
    done
}
