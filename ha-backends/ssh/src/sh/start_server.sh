# Runs the start script in "$@" unless the server is there already; $0 is its pid file. Behind the fence, so that of
# several starts at once one runs the script, and the next one finds the server.
identity=$HA_IDENTITY
unset HA_IDENTITY
if ha_find; then
    echo "$HA_THERE"
    exit 0
fi
unset HA_THERE
# A pid file without its server makes the script believe in a stranger.
if [ -e "$0" ]; then mv -f -- "$0" "$0.stale" || exit; fi
"$@" || exit
# The script may return before the server is there; what comes to nothing in two seconds is the next start's to find.
tries=0
until ha_find || [ "$tries" -ge 40 ]; do
    tries=$((tries + 1))
    sleep 0.05
done
