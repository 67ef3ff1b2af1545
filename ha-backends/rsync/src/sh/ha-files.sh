#!/bin/sh
# The file sharing of one node: the gate that every transfer into it passes, and the sync that its writer runs.
# Usage: ha-files COMMAND [ARGUMENT...]. Its settings are in the file config beside it, or in HA_... variables.
# Ends with 0; 64 nothing there, 65 refused by what is there, 66 not permitted or not writable, 70 rsync failed, 75 busy or
# held, 76 refused for good, 77 a higher writer epoch was seen.
set -u
export LC_ALL=C
NEWLINE='
'
if [ -z "${HA_STATE:-}" ]; then
    HA_STATE=$(cd "${0%/*}" && pwd) || exit 66
    . "$HA_STATE/config" || exit 66
fi
S=$HA_STATE
HA_RELEASES=$HA_TREE.releases

say() { printf 'ha-files: %s\n' "$*" >&2; }

# Replaces a file of the state durably: put NAME TEXT.
put() {
    mkdir -p -- "$S/held" || return 66
    printf '%s\n' "$2" >"$S/.new.$$" && sync "$S/.new.$$" && mv -f -- "$S/.new.$$" "$S/$1" || return 66
    case $1 in */*) sync "$S/${1%/*}" ;; *) sync "$S" ;; esac || return 66
}

# Removes a file of the state durably.
drop() {
    [ -e "$S/$1" ] || return 0
    rm -f -- "$S/$1" || return 66
    case $1 in */*) sync "$S/${1%/*}" ;; *) sync "$S" ;; esac || return 66
}

number() {
    n=$(cat "$1" 2>/dev/null) || n=$2
    case $n in
    '' | *[!0-9]*)
        say "$1 holds no number"
        exit 66
        ;;
    esac
    echo "$n"
}

writer_epoch() { number "$S/writer" "$HA_FIRST_WRITER"; }

seen_epoch() {
    seen=$(number "$S/seen" 0) && mine=$(writer_epoch) || exit 66
    [ "$seen" -ge "$mine" ] && echo "$seen" || echo "$mine"
}

# Waits until no transfer is under way, for this many seconds, and keeps the next one away until the shell ends and all that
# it started: on descriptor 9.
lock() {
    mkdir -p -- "$S/held" || return 66
    exec 9>>"$S/lock" || return 66
    flock -w "$1" 9 || return 75
}

# Lists the processes that keep the lock.
holders() {
    real=$(cd "$S" && pwd -P)/lock
    find /proc/[0-9]*/fd -lname "$real" 2>/dev/null | cut -d/ -f3 | grep -vx "$$" | sort -un | tr '\n' ' '
}

is_held() {
    for gate in "$S"/held/*; do
        [ -e "$gate" ] && return 0
    done
    return 1
}

gates() {
    for gate in "$S"/held/*; do
        [ -e "$gate" ] || continue
        echo "held $(stat -c %Y -- "$gate") ${gate##*/} $(head -n 1 -- "$gate")"
    done
}

# Lists what is below the working directory, without what belongs to this node alone: modes, files, links or stamps.
walk() {
    what=$1
    set -f
    IFS=$NEWLINE
    set --
    for path in $HA_LOCAL_ONLY; do
        set -- "$@" -o -path "./$path"
    done
    unset IFS
    set +f
    set -- '(' -path './.ha-canary-*' "$@" ')' -prune -o
    case $what in
    modes) find . "$@" -type f -printf '%m %p\0' ;;
    files) find . "$@" -type f -print0 ;;
    links) find . "$@" -type l -printf '%p -> %l\0' ;;
    suspect) find . "$@" '(' -type l '(' -lname '/*' -o -lname '*..*' ')' -o ! -type f ! -type d ! -type l ')' -print0 ;;
    stamps) find . "$@" ! -type d -printf '%y %m %s %C@ %i %p %l\0' ;;
    esac
}

stamp() { walk stamps | sort -z | sha256sum | cut -d' ' -f1; }

compute() {
    {
        walk modes | sort -z
        walk files | sort -z | xargs -0r sha256sum -z --
        walk links | sort -z
    } | sha256sum | cut -d' ' -f1
}

# Prints the digest of the working directory; that of what has not changed since is remembered under a name.
digest() {
    before=$(stamp)
    if [ -r "$S/digest.$1" ] && read -r known value <"$S/digest.$1" && [ "$known" = "$before" ]; then
        echo "$value"
        return 0
    fi
    for turn in 1 2 3; do
        value=$(compute)
        after=$(stamp)
        if [ "$after" = "$before" ]; then
            printf '%s %s\n' "$after" "$value" >"$S/.digest.$$" 2>/dev/null && mv -f -- "$S/.digest.$$" "$S/digest.$1"
            echo "$value"
            return 0
        fi
        before=$after
    done
    say "$PWD changes while it is read"
    return 65
}

# Prints the number of the set in the working directory.
sequence() {
    n=$(head -c 32 .ha-generation 2>/dev/null | tr -d ' \n') || return 65
    case $n in '' | *[!0-9]*) return 65 ;; esac
    echo "$n"
}

# Prints what the tree holds, when it is a whole set.
generation() {
    [ ! -e "$S/partial" ] || return 0
    cd "$HA_TREE/" 2>/dev/null || return 0
    number=$(sequence) || return 0
    value=$(digest live) || return 0
    echo "generation $number $value"
}

# Prints what a folder anywhere on this node holds, as a set to deploy: generation_in FOLDER.
generation_in() {
    cd "$1" 2>/dev/null || return 64
    check_source || return
    echo "$(sequence) $(compute)"
}

# Refuses to copy what is no set of files: the working directory.
check_source() {
    sequence >/dev/null || {
        say "$PWD holds no .ha-generation with a number: it is no set of files, or not mounted"
        return 65
    }
    # A link that leads out would be copied as what it says, and lead elsewhere there.
    odd=$(walk suspect | xargs -0r sh -c '
        for path in "$@"; do
            [ -L "$path" ] || { printf "%s is no file, folder or link" "$path"; exit 0; }
            to=$(readlink -n -- "$path" && echo x) to=${to%x} depth=0
            set -f
            IFS=/
            for part in ${path%/*}; do case $part in "" | .) ;; *) depth=$((depth + 1)) ;; esac; done
            for part in $to; do
                case $part in "" | .) ;; ..) depth=$((depth - 1)) ;; *) depth=$((depth + 1)) ;; esac
                [ "$depth" -ge 0 ] || break
            done
            case $to in /*) depth=-1 ;; esac
            [ "$depth" -ge 0 ] || { printf "the link %s leads out of it" "$path"; exit 0; }
        done' sh)
    [ -z "$odd" ] || {
        say "$PWD: $odd"
        return 65
    }
}

# Runs a command on a reader: over ssh, or, where all nodes are on this machine, here.
remote() {
    host=$1
    shift
    # What is remote has a state of its own.
    unset HA_STATE
    if [ -z "$HA_RSH" ]; then
        exec sh -c "$*"
    fi
    line="$*"
    IFS=$NEWLINE
    set -f
    # shellcheck disable=SC2086 # one word a line
    set -- $HA_RSH
    exec "$@" "$host" "$line"
}

# Refuses what no transfer into this node needs: the gate may be all that a key permits.
permitted() {
    [ "${1:-}" = --server ] || return 76
    for word in "$@"; do
        last=$word
        case $word in
        --server | --delete* | --delay-updates | --max-delete=* | --timeout=* | --temp-dir | --temp-dir=* | --numeric-ids) ;;
        --partial | --partial-dir | --partial-dir=* | --link-dest | --link-dest=* | --log-format=* | --out-format=*) ;;
        --bwlimit=* | --ignore-errors | --force | --fsync | --fuzzy | --omit-dir-times | --size-only | --checksum | --no-r | --stats) ;;
        -@-1) ;;
        --*) return 76 ;;
        -*[!A-Za-z0-9.,]*) return 76 ;;
        esac
    done
    case $last in
    *..*) return 76 ;;
    "$HA_TREE" | "$HA_TREE"/ | "$HA_RELEASES"/.new-*) ;;
    *) return 76 ;;
    esac
}

# Tells whether the options of a server are those of a dry run.
is_dry() {
    for word in "$@"; do
        case $word in
        --*) ;;
        -*)
            case ${word%%e*} in *n*) return 0 ;; esac
            return 1
            ;;
        esac
    done
    return 1
}

# Lets a transfer with this writer epoch and this pass into the node, or says why not.
admit() {
    [ "$(writer_epoch)" -eq 0 ] || {
        say "this node writes the shared files: nothing is copied to it"
        return 76
    }
    if is_held && { [ -z "$2" ] || [ "$2" != "$(cat "$S/pass" 2>/dev/null)" ]; }; then
        say "held: $(gates | tr '\n' ';')"
        return 75
    fi
    [ -n "$1" ] || return 0
    seen=$(seen_epoch) || return 66
    [ "$1" -ge "$seen" ] || {
        say "writer epoch $seen was seen, this is $1"
        return 77
    }
    [ "$1" -eq "$seen" ] || put seen "$1"
}

gate() {
    if [ $# -eq 0 ] && [ -n "${SSH_ORIGINAL_COMMAND:-}" ]; then
        set -f
        # shellcheck disable=SC2086 # a forced command has its words in one text; paths have no blanks
        set -- $SSH_ORIGINAL_COMMAND
        set +f
        case ${1:-}:${2:-} in
        rsync:* | */rsync:*) shift ;;
        "$S/ha-files:gate") shift 2 ;;
        "$S/ha-files:publish")
            shift 2
            publish "$@"
            return
            ;;
        *)
            say "this key permits nothing but file sharing"
            return 76
            ;;
        esac
    fi
    pass='' writer=''
    while [ $# -gt 1 ]; do
        case $1 in
        --pass) pass=$2 ;;
        --writer) writer=$2 ;;
        *) break ;;
        esac
        shift 2
    done
    permitted "$@" || {
        say "not permitted: $*"
        return 76
    }
    lock "$HA_BUSY" || {
        say "another transfer is under way: $(holders)"
        return 75
    }
    admit "$writer" "$pass" || return
    # What a cut transfer has left.
    mkdir -p -- "$S/tmp" && find "$S/tmp" -mindepth 1 -delete || return 66
    case $last in "$HA_RELEASES"/*) mkdir -p -- "$HA_RELEASES" || return 66 ;; *)
        if [ -e "$S/partial" ]; then
            find "$HA_TREE/" -type d -name .~tmp~ -prune -exec rm -rf -- {} +
        fi
        if ! is_dry "$@" && [ ! -e "$S/partial" ]; then
            : >"$S/partial" && sync "$S" || return 66
        fi
        ;;
    esac
    rsync "$@"
    code=$?
    case $last in "$HA_RELEASES"/*) ;; *)
        if ! is_dry "$@" && [ $code -eq 0 ]; then
            rm -f -- "$S/partial"
        fi
        ;;
    esac
    return $code
}

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

is_digest() {
    [ ${#1} -eq 64 ] || return 1
    case $1 in *[!0-9a-f]*) return 1 ;; esac
}

# Lists the names of all releases but the one of this name.
names() {
    find "$HA_RELEASES/" -mindepth 1 -maxdepth 1 -type d ! -name '.new-*' ! -name "$1" -printf '%f\n' 2>/dev/null
}

# Lists the sets among the releases: number, digest and name. A name that is a digest is believed here.
sets() {
    names '' | while read -r name; do
        cd "$HA_RELEASES/$name" 2>/dev/null && number=$(sequence) || continue
        if is_digest "$name"; then value=$name; else value=$(digest "kept.$name") || continue; fi
        echo "$number $value $name"
    done | sort -k1,1rn -k2,2
}

# Lists the sets that this node keeps, the newest first: digest and number.
artifacts() { sets | while read -r number value _; do echo "$value $number"; done; }

# Prints where a set is kept here, nothing where it is not: artifact_place DIGEST NUMBER.
artifact_place() {
    if [ -d "$HA_RELEASES/$1" ]; then
        echo "$HA_RELEASES/$1"
        return 0
    fi
    sets | while read -r number value name; do
        [ "$number" -eq "$2" ] && [ "$value" = "$1" ] || continue
        echo "$HA_RELEASES/$name"
        break
    done
}

# Reads all content of a set that is kept here: whole and where, or damaged and why: artifact_kept DIGEST NUMBER.
artifact_kept() {
    damaged=''
    if [ -e "$HA_RELEASES/$1" ]; then
        cd "$HA_RELEASES/$1" || return 66
        have=$(compute) number=$(sequence)
        if [ "$have" = "$1" ] && [ "${number:--1}" -eq "$2" ]; then
            echo "whole $HA_RELEASES/$1"
            return 0
        fi
        damaged="damaged $HA_RELEASES/$1 holds the set ${number:-without a number} with the digest $have"
    fi
    found=$(names "$1" | while read -r name; do
        cd "$HA_RELEASES/$name" 2>/dev/null || continue
        number=$(sequence) && [ "$number" -eq "$2" ] && [ "$(compute)" = "$1" ] || continue
        echo "whole $HA_RELEASES/$name"
        break
    done)
    [ -z "$found$damaged" ] || echo "${found:-$damaged}"
}

# Keeps what a folder of this node holds as a release, without switching to it: artifact_put DIGEST NUMBER SOURCE.
artifact_put() {
    cd "$3" 2>/dev/null || {
        say "there is no folder $3"
        return 64
    }
    check_source || return
    number=$(sequence) value=$(compute)
    [ "$number" -eq "$2" ] && [ "$value" = "$1" ] || {
        say "$3 holds the set $number with the digest $value"
        return 65
    }
    lock "$HA_BUSY" || return
    case $(artifact_kept "$1" "$2") in
    whole*)
        echo same
        return 0
        ;;
    esac
    current=$(readlink -- "$HA_TREE") current=${current##*/}
    [ "$current" != "$1" ] || {
        say "the release $1 serves here, and is damaged: deploy a whole set first"
        return 65
    }
    staged=$HA_RELEASES/.new-kept
    mkdir -p -- "$HA_RELEASES" && rm -rf -- "$staged" || return 66
    set -- "$1" "$3"
    set -f
    IFS=$NEWLINE
    for path in $HA_LOCAL_ONLY; do
        set -- "$@" "--exclude=/$path"
    done
    unset IFS
    set +f
    value=$1 source=$2
    shift 2
    rsync -aO "$@" ./ "$staged/" >&2
    code=$?
    [ $code -eq 0 ] || {
        rm -rf -- "$staged"
        echo "rsync $code"
        return 70
    }
    [ "$(cd "$staged" && compute)" = "$value" ] || {
        rm -rf -- "$staged"
        say "$source changed while it was copied"
        return 65
    }
    sync -f "$staged" || return 66
    rm -rf -- "${HA_RELEASES:?}/$value" && mv -T -- "$staged" "$HA_RELEASES/$value" && sync "$HA_RELEASES" || return 74
}

# Removes sets from the oldest on, but the newest, the current one, and those in use: artifact_prune KEEP [DIGEST...].
artifact_prune() {
    keep=$1
    shift
    lock "$HA_BUSY" || return
    [ -d "$HA_RELEASES" ] || {
        echo same
        return 0
    }
    current=$(readlink -- "$HA_TREE") current=${current##*/}
    sets | tail -n "+$((keep + 1))" | {
        removed=''
        while read -r _ value name; do
            [ "$name" != "$current" ] || continue
            for used in "$@"; do [ "$used" != "$value" ] || continue 2; done
            staged=$HA_RELEASES/.new-gone
            rm -rf -- "$staged" && mv -T -- "$HA_RELEASES/$name" "$staged" && sync "$HA_RELEASES" && rm -rf -- "$staged" || return 74
            removed=yes
        done
        [ -n "$removed" ] || echo same
    }
}

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
