# Whole sets that take each other's place by one rename.

# Lets a staged release take the place of the current one: publish DIGEST NAME WRITER PASS.
publish() {
    lock "$HA_BUSY" || return
    admit "$3" "${4:-}" || return
    staged=$HA_RELEASES/.new-$2
    if [ -d "$staged" ]; then
        cd "$staged" || return 66
        [ "$(digest "staged")" = "$1" ] || {
            say "what arrived is not what was sent"
            return 65
        }
        sync -f . || return 66
        cd "$HA_RELEASES" || return 66
        if [ "$(cd "$1" 2>/dev/null && digest "release-$1")" = "$1" ]; then
            # It is there, and may be what serves: times alone are otherwise.
            rsync -aO --checksum --modify-window=-1 "$staged/" "$HA_RELEASES/$1/" >&2 && rm -rf -- "$staged" || return 66
        else
            gone=.new-gone-$2
            [ ! -e "$1" ] || mv -T -- "$1" "$gone" || return 66
            mv -T -- "$staged" "$1" && rm -rf -- "$gone" || return 66
        fi
        sync "$HA_RELEASES" || return 66
    fi
    switch "$1" && prune
}

# Points the tree at a release in one step.
switch() {
    [ -d "$HA_RELEASES/$1" ] || {
        say "$HA_RELEASES/$1 is not there"
        return 64
    }
    [ -L "$HA_TREE" ] || [ ! -e "$HA_TREE" ] || {
        say "$HA_TREE is a folder: with publish = \"switch\" it is a link to a release"
        return 65
    }
    ln -sfn -- "${HA_RELEASES##*/}/$1" "$HA_TREE.new.$$" && mv -fT -- "$HA_TREE.new.$$" "$HA_TREE" || return 66
    sync "${HA_TREE%/*}" || return 66
}

# Lists the releases of this node, the current one first: digest and number.
releases() {
    current=$(readlink -- "$HA_TREE") current=${current##*/}
    find "$HA_RELEASES/" -mindepth 1 -maxdepth 1 -type d ! -name '.new-*' -printf '%T@ %f\n' 2>/dev/null | sort -rn |
        while read -r _ name; do
            number=$(cd "$HA_RELEASES/$name" && sequence) || continue
            [ "$name" = "$current" ] && echo "0 $name $number" || echo "1 $name $number"
        done | sort -s -k1,1n | cut -d' ' -f2-
}

# Switches back to a release that is there, whoever holds the sync: switch_back DIGEST.
switch_back() {
    lock "$HA_BUSY" || return
    is_digest "$1" && cd "$HA_RELEASES/$1" 2>/dev/null || {
        say "there is no release $1 here"
        return 64
    }
    [ "$(digest "release-$1")" = "$1" ] || {
        say "the release $1 is not what it was"
        return 65
    }
    switch "$1"
}

# Removes the oldest releases but the last few and the current one, and what was staged and never published.
prune() {
    current=$(readlink -- "$HA_TREE") current=${current##*/}
    find "$HA_RELEASES" -mindepth 1 -maxdepth 1 -type d -name '.new-*' -mmin +60 -exec rm -rf -- {} +
    find "$HA_RELEASES" -mindepth 1 -maxdepth 1 -type d ! -name '.new-*' ! -name "$current" -printf '%T@ %f\n' | sort -rn |
        tail -n "+$((HA_KEEP + 1))" | while read -r _ old; do rm -rf -- "${HA_RELEASES:?}/$old" "$S/digest.release-$old"; done
}

