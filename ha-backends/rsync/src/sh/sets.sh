# What a folder holds, as a set of shared files.

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

is_digest() {
    [ ${#1} -eq 64 ] || return 1
    case $1 in *[!0-9a-f]*) return 1 ;; esac
}

