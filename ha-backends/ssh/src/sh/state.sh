# Prints how the work $d stands. Its runner holds a lock for as long as it lives, on this boot of the machine.
ha_state() {
    if read -r rc 2>/dev/null <"$d.rc"; then
        echo "$rc"
        return
    fi
    if [ ! -e "$d.alive" ]; then
        echo absent
        return
    fi
    command exec 7<"$d.alive" || return 78
    if flock -n -s 7; then
        exec 7<&-
        if read -r rc 2>/dev/null <"$d.rc"; then
            echo "$rc"
        elif [ -e "$d.started" ]; then
            echo lost
        else
            echo absent
        fi
        return
    fi
    exec 7<&-
    if [ -e "$d.started" ]; then
        echo running
    else
        echo starting
    fi
}
