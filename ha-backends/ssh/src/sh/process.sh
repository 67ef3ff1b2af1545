# Prints the boot id, the stat line of the server's process, or of every process with $identity as a whole argument, an
# empty line, and what the pid file says. $pid and $start are those of the server when it was last seen, in the boot $seen.
IFS= read -r boot </proc/sys/kernel/random/boot_id
[ "$boot" = "$seen" ] || pid=0
named=
# One process keeps its pid and its start through every exec. Another one that the pid file names is looked for.
ha_same() {
    [ "$pid" != 0 ] && [ -f "$home/$pid_file" ] || return 1
    # A pid file without a line feed is read as well, and called an error.
    IFS= read -r named <"$home/$pid_file"
    [ "$named" = "$pid" ] && ha_lives "$pid" "$start"
}
if ha_same 2>/dev/null; then
    printf '%s\n%s\n\n%s\n' "$boot" "$stat" "$named"
else
    printf '%s\n' "$boot"
    # What was the server is looked for as long as it lives. What was never seen may be between two programs and not scheduled.
    looks=1 most=10
    [ "$pid" != 0 ] || most=4
    until ha_find || [ "$looks" -ge "$most" ] || { [ "$pid" != 0 ] && ! ha_lives "$pid" "$start"; }; do
        looks=$((looks + 1))
        sleep 0.003
    done
    listed=
    for f in $found; do
        case $listed in *" $f "*) continue ;; esac
        listed="$listed $f "
        if IFS= read -r line 2>/dev/null <"${f%cmdline}stat"; then printf '%s\n' "$line"; fi
    done
    echo
    # Where nothing runs, nobody has written it since it was read.
    if [ -z "$found" ] && [ "$pid" != 0 ] && [ "$named" = "$pid" ]; then
        printf '%s' "$named"
    elif [ -f "$home/$pid_file" ]; then
        # Some are padded with NUL.
        head -c 200 "$home/$pid_file" | tr '\000' ' '
    fi
fi
