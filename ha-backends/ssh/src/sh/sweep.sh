# Removes what transfers have left behind that nobody carries on.
ha_sweep() {
    for f in "$G"/put/*; do
        [ -f "$f" ] || continue
        command exec 7<"$f" || continue
        if flock -n 7; then
            IFS= read -r t <&7 && case $t in */.ha-put.*) rm -f -- "$t" ;; esac
            rm -f -- "$f"
        fi
        exec 7<&-
    done
}
