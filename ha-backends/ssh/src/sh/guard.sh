# Lets one effect at a time through, and none of an epoch lower than the highest seen: ha_guard EPOCH SECONDS.
# 0: go on, the lock is held on descriptor 9 until the shell ends; 75: busy; 77: fenced; 78: the epoch cannot be kept.
ha_guard() {
    raised=
    command exec 9>>"$G/epoch.lock" || return 78
    flock -w "$2" 9 || return 75
    ha_seen || return 78
    [ "$1" -ge "$seen" ] || return 77
    [ "$1" -gt "$seen" ] || return 0
    if true >"$G/epochs/$1" && sync "$G/epochs"; then
        raised=yes
        return 0
    fi
    # What may not be kept was not seen.
    rm -f -- "$G/epochs/$1"
    return 78
}
# Finds the highest epoch seen: each is an empty file of that name, which a power cut leaves there or not, and never torn.
ha_seen() {
    seen=0
    if [ ! -d "$G/epochs" ] || [ ! -r "$G/epochs" ]; then
        echo "the epochs seen here cannot be read: $G/epochs" >&2
        return 78
    fi
    for ha_f in "$G"/epochs/*; do
        ha_f=${ha_f##*/}
        case $ha_f in
        '*') ;;
        *[!0-9]*)
            echo "no epoch: $G/epochs/$ha_f" >&2
            return 78
            ;;
        *) [ "$ha_f" -le "$seen" ] || seen=$ha_f ;;
        esac
    done
}
# Forgets all epochs but the highest one.
ha_forget() {
    ha_seen || return
    for ha_f in "$G"/epochs/*; do
        [ "${ha_f##*/}" -ge "$seen" ] || rm -f -- "$ha_f"
    done
}
