# Starts the work $d unless it was started before; the command stands in $command, the runner in $runner.
if [ -e "$d.started" ]; then
    known=known
else
    command exec 8>>"$d.alive" || exit 78
    flock -w 5 8 || exit 75
    known=known
    if [ ! -e "$d.started" ]; then
        known=fresh
        ha_seen || exit 78
        [ "$epoch" -ge "$seen" ] || exit 77
        printf '%s\n' "$epoch" >"$d.epoch" && printf '%s\n' "$command" >"$d.cmd" || exit 78
        # The runner inherits the lock and keeps it until it ends. It claims the work itself.
        (
            set -- "$d" "$G" "$home" "$epoch" "$wait" "$deadline"
            # Where its end is waited for anyway, this shell's child is the runner: it is not cut with the connection either,
            # since nothing of it writes there. Otherwise not with "&", behind which a shell ignores SIGINT and SIGQUIT, and
            # whatever it starts inherits that.
            if [ "$here" = yes ]; then
                eval "$runner"
            else
                exec setsid -f /bin/sh -c "$runner" ha-work "$@"
            fi
        ) </dev/null >/dev/null 2>&1
    fi
    exec 8>&-
fi
