# Who may copy into this node, and who may write.

# Holds the sync into this node: hold OWNER SECONDS REASON [canary|none]. With a canary it is proven only when that has not come.
hold() {
    canary=${4:-}
    [ "$(writer_epoch)" -eq 0 ] || {
        say "this node writes the shared files: there is no sync into it"
        return 65
    }
    wait=$2
    if [ -e "$S/held/$1" ]; then
        echo same
        [ ! -e "$S/unproven" ] || echo unproven
        # A transfer that is refused at the gate keeps the lock for a moment.
        [ "$wait" -gt 0 ] || wait=2
    else
        [ "$wait" -gt 0 ] || return 75
        [ "$canary" != canary ] || put unproven 'no canary was waited for yet' || return
        put "held/$1" "$3" || return
        [ "$canary" != canary ] || echo unproven
    fi
    [ "$canary" != none ] || drop unproven || return
    lock "$wait" || {
        say "a transfer into this node does not end; it is held by the processes $(holders)"
        return 75
    }
    drop pass
}

# Puts a canary into the tree that this node writes, or takes it away: canary [NAME].
canary() {
    find "$HA_TREE/" -maxdepth 1 -name '.ha-canary-*' -delete || return 66
    [ $# -eq 0 ] || : >"$HA_TREE/.ha-canary-$1" || return 66
}

# Waits whether a canary comes into this node, which is held: await_canary NAME SECONDS.
await_canary() {
    until=$(($(date +%s) + $2))
    while :; do
        if [ -e "$HA_TREE/.ha-canary-$1" ]; then
            put unproven 'a canary came past the gate'
            canary
            say "what $HA_TREE gets still comes, past the gate: a crontab, a script or a daemon copies without it; find it and end it"
            return 65
        fi
        [ "$(date +%s)" -lt "$until" ] || break
        sleep 0.2
    done
    drop unproven
}

# Lets the transfers with a pass in, though the sync is held: permit OWNER PASS.
permit() {
    [ "$(writer_epoch)" -eq 0 ] || {
        say "this node writes the shared files: there is no sync into it"
        return 65
    }
    for gate in "$S"/held/*; do
        [ -e "$gate" ] && [ "${gate##*/}" != "$1" ] || continue
        say "it is held by ${gate##*/} too, since $(date -d "@$(stat -c %Y -- "$gate")" -Iseconds): $(head -n 1 -- "$gate")"
        return 65
    done
    put pass "$2"
}

# Opens the sync into this node, when it has the set of this digest: open OWNER DIGEST.
open() {
    lock "$HA_BUSY" || return
    have=$(cd "$HA_TREE/" 2>/dev/null && digest live)
    [ "$have" = "$2" ] || {
        say "it has ${have:-no whole set}, and the writer $2"
        return 65
    }
    # Whatever was cut before: this is what the writer has.
    drop partial || return
    drop pass || return
    drop unproven || return
    if [ -e "$S/held/$1" ]; then drop "held/$1"; else echo same; fi
}

# Takes the right to write: demote OWNER EPOCH.
demote() {
    if [ "$(writer_epoch)" -gt 0 ]; then
        put "held/$1" "wrote until writer epoch $2" && put writer 0 || return
    fi
    put seen "$2"
}

# Gives the right to write: promote OWNER EPOCH.
promote() {
    put seen "$2" && put writer "$2" && drop "held/$1" && drop pass
}

status() {
    echo "writer $(writer_epoch)"
    echo "seen $(seen_epoch)"
    gates
    [ ! -e "$S/unproven" ] || echo "unproven $(cat "$S/unproven")"
    # What is copied meanwhile is no set.
    if [ ! -e "$S/lock" ] || lock 3; then
        generation
    else
        echo "running $(holders)"
    fi
}

