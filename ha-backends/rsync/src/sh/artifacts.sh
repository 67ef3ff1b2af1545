# The releases as a store of sets.

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

