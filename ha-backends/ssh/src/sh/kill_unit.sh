# Ends the run $run of the unit $unit, with all in its control group, after it was asked to write down what it does.
ha_guard "$epoch" "$wait" || exit $?
# Tells whether that run goes on; where systemd does not answer, the script ends with $mute.
mute=66
ha_runs() {
    read -r now </proc/sys/kernel/random/boot_id
    said=$(ha_systemctl show --property=ActiveState,InvocationID,ControlGroup,MainPID) || exit "$mute"
    state='' id='' group='' main=''
    while IFS='=' read -r name value; do
        case $name in
        ActiveState) state=$value ;;
        InvocationID) id=$value ;;
        ControlGroup) group=$value ;;
        MainPID) main=$value ;;
        esac
    done <<HA_SAID
$said
HA_SAID
    case $state in inactive | failed) [ -n "$group" ] || return 1 ;; esac
    [ "$now" = "$boot" ] && [ "${id:-$group}" = "$run" ]
}
ha_runs || { echo gone; exit 0; }
# From here on something was done, and no answer is no proof that it was not.
mute=1
if [ -n "$diagnose" ]; then
    (cd -- "$home" && export HA_PID="$main" && eval "timeout -s KILL 10 $diagnose") </dev/null >/dev/null 2>&1 9>&-
else
    ha_systemctl kill --kill-who=main --signal=QUIT
    sleep 0.5
fi
ha_runs || { echo killed; exit 0; }
# Stopped first: killed alone it would be started again, as its unit says.
ha_systemctl stop --no-block || exit 1
ha_runs || { echo killed; exit 0; }
# One that has ended by itself in between may not be loaded any more.
ha_systemctl kill --signal=KILL || { ha_runs && exit 1; }
echo killed
