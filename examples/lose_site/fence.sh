#!/bin/sh
# fence.sh status|fence|lift DATA SSH_CONFIG ADDRESS...: fences a site from outside, while nothing in it answers.
# It shuts the way from the front to the site's addresses, and lets its database (the folder DATA, which stands for a storage that is
# reached past the site) recover from its next start on: it takes no writes then, whoever starts it.
# What is written last is the file `whole`: half a fence is none, and is gone on with.
set -eu
verb=$1 data=$2 config=$3
shift 3
table="fence_$HA_SITE"
front() { ssh -F "$config" front "$@"; }
case "$verb" in
status)
    if [ -e whole ] && [ -e "$data/standby.signal" ]; then
        tables=$(front nft list tables)
        case "$tables" in *"$table"*) echo fenced && exit ;; esac
    fi
    echo free
    ;;
fence)
    rm -f whole
    {
        echo "table inet $table"
        echo "delete table inet $table"
        echo "table inet $table {"
        echo "chain output {"
        echo "type filter hook output priority 0"
        for address in "$@"; do echo "ip daddr $address drop"; done
        echo "}"
        echo "}"
    } | front nft -f -
    : >"$data/standby.signal"
    echo "primary_conninfo = ''" >>"$data/postgresql.auto.conf"
    if pid=$(head -n 1 "$data/postmaster.pid" 2>/dev/null) && grep -qaF "$data" "/proc/$pid/cmdline" 2>/dev/null; then
        # At once: it must not wait for a standby that it does not reach.
        kill -QUIT "$pid"
        left=500
        while kill -0 "$pid" 2>/dev/null; do
            left=$((left - 1))
            [ "$left" -gt 0 ] || { echo "the database did not end in 10 s" >&2; exit 1; }
            sleep 0.02
        done
    fi
    : >whole
    ;;
lift)
    tables=$(front nft list tables)
    case "$tables" in *"$table"*) front nft delete table inet "$table" ;; esac
    rm -f whole
    ;;
esac
