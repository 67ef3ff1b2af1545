# Ends the process $pid that began at $start, with its group, after it was asked to write down what it does.
ha_guard "$epoch" "$wait" || exit $?
read -r now </proc/sys/kernel/random/boot_id
[ "$now" = "$boot" ] && ha_lives "$pid" "$start" || { echo gone; exit 0; }
if [ -n "$diagnose" ]; then
    (cd -- "$home" && export HA_PID="$pid" && eval "timeout -s KILL 10 $diagnose") </dev/null >/dev/null 2>&1 9>&-
else
    kill -QUIT "$pid" || exit 66
    sleep 0.5
fi
ha_lives "$pid" "$start" || { echo killed; exit 0; }
if [ "$group" -gt 1 ]; then kill -KILL "-$group"; else kill -KILL "$pid"; fi || exit 1
echo killed
