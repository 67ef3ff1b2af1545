# Prints the boot id, the stat line of the server's process, or of every process with $identity as a whole argument, an
# empty line, and what the pid file says. $pid and $start are those of the server when it was last seen, in the boot $seen.
IFS= read -r boot </proc/sys/kernel/random/boot_id
printf '%s\n' "$boot"
[ "$boot" = "$seen" ] || pid=0
# One process keeps its pid and its start through every exec. Another one that the pid file names is looked for.
ha_same() {
    [ "$pid" != 0 ] && [ -f "$home/$pid_file" ] || return 1
    # A pid file without a line feed is read as well, and called an error.
    IFS= read -r named <"$home/$pid_file"
    [ "$named" = "$pid" ] && ha_lives "$pid" "$start"
}
if ha_same 2>/dev/null; then
    printf '%s\n\n%s\n' "$stat" "$named"
else
    # Between two programs a process has no command line for a moment. What was the server is looked for as long as it
    # lives; where none was seen before one look is not believed.
    looks=1
    until found=$(ha_find); [ -n "$found" ] || [ "$looks" -ge 10 ]; do
        if [ "$pid" = 0 ]; then [ "$looks" -lt 3 ] || break; else ha_lives "$pid" "$start" || break; fi
        looks=$((looks + 1))
        sleep 0.003
    done
    for f in $found; do
        if IFS= read -r line 2>/dev/null <"${f%cmdline}stat"; then printf '%s\n' "$line"; fi
    done
    echo
    if [ -f "$home/$pid_file" ]; then head -c 200 "$home/$pid_file"; fi
fi
