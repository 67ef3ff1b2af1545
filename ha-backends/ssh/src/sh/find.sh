# Sets $found to the command line files of the processes with $identity as a whole argument, some more than once.
ha_find() {
    # Between two programs a process has no command line for a moment: one look is not believed, and five in one go cost
    # less than a second program. Not as an argument of grep, which would find itself.
    set -- /proc/[0-9]*/cmdline
    found=$(grep -lzxFf - "$@" "$@" "$@" "$@" "$@" 2>/dev/null <<HA_IDENTITY
$identity
HA_IDENTITY
    )
    # No grep, or too many processes for it, is no answer; that some have ended meanwhile is.
    [ $? -lt 126 ] || { echo "the processes cannot be searched: grep did not run" >&2; exit 66; }
    [ -n "$found" ]
}
