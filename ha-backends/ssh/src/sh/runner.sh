d=$1 G=$2 home=$3 epoch=$4 wait=$5 deadline=$6
# The one claim: whoever makes this file runs the command, and nobody else ever does.
set -C
{ true >"$d.started"; } 2>/dev/null || exit 0
set +C
read -r keeper _ </proc/self/stat
# A claim that a power cut takes back would let the command run twice.
sync "$d.started" "$G/work" 8>&- 9>&- &
claim=$!
ha_done() {
    # One line at once; without its line feed it does not count. Whoever waits learns it as soon as the lock is free: what
    # a power cut could take back from here on is this word, and then the work is lost.
    printf '%s\n' "$1" >"$d.rc"
    exec 8>&- 9>&-
    sync "$d.rc" "$G/work" &
    if [ -n "$raised" ]; then
        (
            ha_forget
            exec find "$G/work" -mindepth 1 -maxdepth 1 -mtime +30 -exec rm -rf -- {} +
        ) 2>/dev/null &
    fi
    exit 0
}
ha_guard "$epoch" "$wait"
guarded=$?
wait "$claim" || ha_done broken
case $guarded in
0) ;;
75) ha_done busy ;;
77) ha_done fenced ;;
*) ha_done broken ;;
esac
cd -- "$home" 2>/dev/null || ha_done nohome
[ ! -e "$d.cancelled" ] || ha_done cancelled
(
    trap 'kill "$s"; exit 0' TERM
    sleep "$deadline" &
    s=$!
    wait "$s"
    : >"$d.overdue"
    # A runner that was killed just before has started nobody.
    until read -r leader _ <"$d.leader"; do
        [ -d "/proc/$keeper" ] || exit
        sleep 0.05
    done
    kill -KILL "-$leader"
) </dev/null >/dev/null 2>&1 8>&- 9>&- &
watch=$!
# In a session of its own, in the foreground: nothing is ignored or inherited but the environment. That setsid says
# something means that a signal ended the command; its own messages go elsewhere. Its variables are set there too: here they
# would be taken for the runner's own.
# shellcheck disable=SC2016 # expanded by the inner shell
setsid -f -w /bin/sh -c 'ha_d=$1; IFS= read -r ha_s </proc/$$/stat; printf "%s %s\n" "$$" "${ha_s##*) }" >"$ha_d.leader"
. "$ha_d.cmd" 2>&3; command -v -- "$1" >/dev/null 2>&1 || { : >"$ha_d.missing"; exit 127; }
unset ha_d ha_s; exec "$@" 2>&3 3>&-' ha-command "$d" </dev/null >"$d.out" 3>"$d.err" 2>"$d.msg" 8>&- 9>&-
code=$?
kill "$watch" 2>/dev/null
if [ -e "$d.missing" ]; then
    ha_done missing
elif [ -e "$d.overdue" ]; then
    ha_done overdue
elif [ -s "$d.msg" ]; then
    ha_done "signaled $((code & 127))"
else
    ha_done "exited $code"
fi
