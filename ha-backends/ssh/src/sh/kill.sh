# Ends the process $pid that began at $began, with its group, after it was asked to write down what it does.
ha_guard "$epoch" "$wait" || exit $?
ha_lives() {
    IFS= read -r stat 2>/dev/null <"/proc/$pid/stat" || return 1
    # shellcheck disable=SC2086 # a list of words
    set -- ${stat##*) }
    group=$3
    [ "${20}" = "$began" ] && [ "$1" != Z ] && [ "$1" != X ]
}
read -r now </proc/sys/kernel/random/boot_id
[ "$now" = "$boot" ] && ha_lives || { echo gone; exit 0; }
if [ -n "$diagnose" ]; then
    (cd -- "$home" && export HA_PID="$pid" && eval "timeout -s KILL 10 $diagnose") </dev/null >/dev/null 2>&1 9>&-
else
    kill -QUIT "$pid" || exit 66
    sleep 0.5
fi
ha_lives || { echo killed; exit 0; }
if [ "$group" -gt 1 ]; then kill -KILL "-$group"; else kill -KILL "$pid"; fi || exit 1
echo killed
