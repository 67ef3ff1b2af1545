# Starts the unit $0 by the systemctl in "$@" unless it is active. Behind the fence, and until the unit has begun, so that
# of several starts at once one starts it, and the next one finds it.
ha_active() {
    active=$("$@" show --property=ActiveState --value -- "$unit") && [ -n "$active" ]
}
unit=$0
ha_active "$@" || exit
case $active in
inactive) ;;
# What has failed too often is not started again until that is forgotten.
failed) "$@" reset-failed -- "$unit" || exit ;;
*)
    echo "$HA_THERE"
    exit 0
    ;;
esac
"$@" start --no-block -- "$unit" || exit
tries=0 begun=
# A unit whose program cannot be run is active for a moment: one look is not believed.
while ha_active "$@" || exit; do
    case $active in
    inactive) [ "$tries" -lt 40 ] || exit 0 ;;
    failed)
        "$@" status --no-pager --lines=5 -- "$unit" >&2
        exit 1
        ;;
    *)
        [ -z "$begun" ] || exit 0
        begun=yes
        ;;
    esac
    tries=$((tries + 1))
    sleep 0.05
done
