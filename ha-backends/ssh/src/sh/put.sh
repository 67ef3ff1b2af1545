# Puts standard input at $p: $length bytes of digest $want, mode $mode, if $expect stands there now.
ha_now() {
    if [ -L "$p" ]; then
        now=link
    elif [ -f "$p" ]; then
        now=$(sha256sum <"$p") && now=${now%% *} || exit 66
    elif [ -e "$p" ]; then
        now=other
    else
        now=absent
    fi
}
ha_check() {
    ha_now
    if [ "$now" = "$want" ] && [ "$(stat -c %a -- "$p")" = "$mode" ]; then
        echo same
        exit 0
    fi
    case $now in link | other) exit 65 ;; esac
    case $expect in any | "$now") ;; *) exit 65 ;; esac
}
dir=${p%/*}
[ -n "$dir" ] || dir=/
[ -d "$dir" ] || exit 64
ha_check
# What a cut connection leaves behind is listed, under a lock that its shell holds, and swept by the next one.
ha_sweep
# Before it is locked another one may take it for left behind: then it is made again.
made=0
until exec 8>"$G/put/$nonce" && flock 8 && [ -e "$G/put/$nonce" ]; do
    made=$((made + 1))
    [ "$made" -lt 50 ] || exit 78
done
t=$dir/.ha-put.$nonce
printf '%s\n' "$t" >&8
ha_last() { rm -f -- "$t" "$G/put/$nonce"; }
(umask 077 && timeout "$deadline" head -c "$length" >"$t") || exit 66
[ "$(stat -c %s -- "$t")" = "$length" ] || exit 70
got=$(sha256sum <"$t") && [ "${got%% *}" = "$want" ] || exit 70
chmod "$mode" -- "$t" && sync "$t" || exit 66
ha_guard "$epoch" "$wait" || exit $?
ha_check
mv -fT -- "$t" "$p" || exit 66
sync "$dir" || exit 1
echo put
