# What the writer copies.

# Copies the working directory to a reader: copy NAME DESTINATION STATE TREE PASS [OPTION...].
copy() {
    name=$1 to=$2 there=$3 tree=$4 pass=$5
    shift 5
    set -f
    IFS=$NEWLINE
    for path in $HA_LOCAL_ONLY; do
        set -- "$@" "--exclude=/$path"
    done
    unset IFS
    set +f
    # What comes through the gate brings no canary.
    set -- "$@" '--exclude=/.ha-canary-*'
    rsync -aO --modify-window=-1 --delete-after --max-delete="$HA_BUDGET" --timeout="$HA_TIMEOUT" --bwlimit="${HA_BWLIMIT:-0}" --temp-dir="$there/tmp" "$@" \
        -e "$S/ha-files remote" --rsync-path="$there/ha-files gate --writer $epoch${pass:+ --pass $pass}" ./ "$to:$tree/"
}

# Brings the working directory to one reader: bring NAME DESTINATION STATE TREE PASS [OPTION...].
bring() {
    if [ "$HA_MODE" = in-place ]; then
        copy "$@" --delay-updates
        return
    fi
    # Nothing to do is found without a copy.
    changes=$(copy "$@" --dry-run --itemize-changes) || return
    [ -n "$changes" ] || [ -n "$5" ] || return 0
    whole=$(digest live) || return
    run=$$-$(date +%s%N)
    (
        name=$1 to=$2 there=$3 tree=$4 pass=$5
        shift 5
        copy "$name" "$to" "$there" "$tree.releases/.new-$run" "$pass" "--link-dest=../../${tree##*/}" "$@"
    ) || return
    "$S/ha-files" remote "$2" "$3/ha-files publish $whole $run $epoch $5"
}

# Copies what this node has to one reader, and prints what was copied: send NAME PASS.
send() {
    epoch=$(writer_epoch) && [ "$epoch" -gt 0 ] || {
        say "this node does not write the shared files"
        return 65
    }
    cd "$HA_TREE/" || return 64
    check_source || return
    while read -r name to there tree; do
        [ "$name" = "$1" ] || continue
        whole=$(digest live) || return
        changes=$(copy "$name" "$to" "$there" "$tree" "$2" --dry-run --itemize-changes --checksum </dev/null)
        code=$?
        [ $code -eq 0 ] || {
            echo "rsync $code"
            return 70
        }
        deletions=$(printf '%s\n' "$changes" | grep -c '^\*deleting')
        [ "$deletions" -le "$HA_BUDGET" ] || {
            say "it would delete $deletions files and folders there, and may $HA_BUDGET"
            return 65
        }
        if [ -n "$changes" ]; then
            echo "of $(printf '%s\n' "$changes" | grep -c '^[<>]f')" >"$S/progress.$1"
            bring "$name" "$to" "$there" "$tree" "$2" --checksum --stats --no-human-readable --info=progress2 --no-inc-recursive \
                --outbuf=L </dev/null >>"$S/progress.$1"
            code=$?
            tr '\r' '\n' <"$S/progress.$1" | grep -e '^Number of regular files transferred:' -e '^Total transferred file size:'
            rm -f -- "$S/progress.$1"
            [ $code -eq 0 ] || {
                echo "rsync $code"
                return 70
            }
        fi
        [ "$(digest live)" = "$whole" ] || {
            say "$HA_TREE changed while it was copied"
            return 65
        }
        echo "digest $whole"
        return 0
    done <"$S/readers"
    say "no reader $1 is known here"
    return 64
}

# Prints how far the copy to a reader is; nothing where none is under way: progress NAME.
progress() {
    [ -r "$S/progress.$1" ] || return 0
    head -n 1 "$S/progress.$1"
    tail -c 256 "$S/progress.$1" | tr '\r' '\n' | grep 'xfr#' | tail -n 1
}

# Prints what a copy to one reader would change: changes NAME.
changes() {
    epoch=$(writer_epoch)
    cd "$HA_TREE/" || return 64
    while read -r name to there tree; do
        [ "$name" = "$1" ] || continue
        copy "$name" "$to" "$there" "$tree" "$(cat "$S/pass" 2>/dev/null)" --dry-run --itemize-changes --checksum </dev/null
        code=$?
        [ $code -eq 0 ] && return 0
        echo "rsync $code"
        return 70
    done <"$S/readers"
    return 64
}

# Copies what this node has to all its readers whose sync is not held; nothing where it does not write. For cron or a timer.
sync_all() {
    epoch=$(writer_epoch) || return 66
    [ "$epoch" -gt 0 ] || return 0
    [ -r "$S/readers" ] || return 66
    exec 8>>"$S/sync.lock" && flock -n 8 || {
        say "the sync before is still under way"
        return 75
    }
    cd "$HA_TREE/" || return 66
    check_source || return
    copies='' worst=0
    while read -r name to there tree; do
        # Without the lock of this sync: what ssh leaves in the background would keep it.
        bring "$name" "$to" "$there" "$tree" '' 8>&- </dev/null >/dev/null 2>"$S/.error.$name" &
        copies="$copies $name:$!"
    done <"$S/readers"
    for one in $copies; do
        wait "${one##*:}" || {
            code=$?
            grep -q '^ha-files: held' "$S/.error.${one%%:*}" || {
                say "${one%%:*}: rsync ended with $code"
                cat "$S/.error.${one%%:*}" >&2
                worst=70
            }
        }
    done
    return $worst
}

