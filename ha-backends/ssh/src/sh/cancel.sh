# Ends the work $d with its process group.
[ -e "$d.started" ] && [ ! -e "$d.rc" ] || { echo already; exit 0; }
: >"$d.cancelled"
tries=0
while [ ! -e "$d.rc" ] && [ "$tries" -lt 100 ]; do
    if read -r leader rest 2>/dev/null <"$d.leader" && IFS= read -r now 2>/dev/null <"/proc/$leader/stat"; then
        # shellcheck disable=SC2086 # a list of words
        set -- $rest
        was=${20}
        # shellcheck disable=SC2086 # a list of words
        set -- ${now##*) }
        if [ "$was" = "${20}" ]; then
            if [ "$tries" -lt 20 ]; then kill -TERM "-$leader"; else kill -KILL "-$leader"; fi 2>/dev/null
        fi
    fi
    [ "$(ha_state)" != lost ] || break
    tries=$((tries + 1))
    sleep 0.05
done
echo cancelled
