# What is here, and what is asked for.

# Prints what is missing here, a line each, and the version of rsync.
check() {
    for program in rsync flock find sort xargs sha256sum sync stat readlink; do
        command -v "$program" >/dev/null || echo "program $program"
    done
    rsync --version 2>/dev/null | head -n 1
    [ "$(writer_epoch)" -eq 0 ] || [ -d "$HA_TREE/" ] || echo "tree"
    [ "$HA_MODE" = in-place ] || [ -L "$HA_TREE" ] || [ ! -e "$HA_TREE" ] || echo "link"
    [ "$(writer_epoch)" -eq 0 ] || [ ! -d "$HA_TREE/" ] || (cd "$HA_TREE/" && sequence >/dev/null) || echo "set"
}

# Tries whether the remote shell reaches a node; a key that permits nothing but the gate reaches it.
reach() {
    (remote "$1" true </dev/null)
    code=$?
    [ $code -eq 76 ] || return $code
}

# Puts this program and its settings where the gate and the timer find them: install TEXT READERS.
install() {
    mkdir -p -- "$S/held" || return 66
    text=$1 readers=$2
    {
        for key in HA_TREE HA_MODE HA_LOCAL_ONLY HA_RSH HA_TIMEOUT HA_BWLIMIT HA_BUDGET HA_BUSY HA_KEEP HA_FIRST_WRITER; do
            eval "printf \"%s='%s'\\n\" \"$key\" \"\$$key\""
        done
    } >"$S/.config.$$" && sync "$S/.config.$$" && mv -f -- "$S/.config.$$" "$S/config" || return 66
    printf '%s' "$readers" >"$S/.readers.$$" && sync "$S/.readers.$$" && mv -f -- "$S/.readers.$$" "$S/readers" || return 66
    printf '%s' "$text" >"$S/.tool.$$" && chmod 755 "$S/.tool.$$" && sync "$S/.tool.$$" &&
        mv -f -- "$S/.tool.$$" "$S/ha-files" && sync "$S" || return 66
}

command=${1:-}
[ $# -eq 0 ] || shift
case $command in
'' | gate) gate "$@" ;;
sync) sync_all ;;
artifact_kept | artifact_place | artifact_prune | artifact_put | artifacts | await_canary | canary | changes | check | demote) "$command" "$@" ;;
generation_in | hold | install | open | permit | progress | promote | publish | reach | releases | remote | send | status | switch_back) "$command" "$@" ;;
*)
    say "unknown command $command"
    exit 76
    ;;
esac
