# The gate that every transfer into this node passes.

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

