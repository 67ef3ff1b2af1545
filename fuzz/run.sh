#!/bin/sh
# Runs fuzz targets for so many seconds each, two at a time: fuzz/run.sh [seconds] [target...]. Fails on a finding, which
# lies in fuzz/artifacts/. What was learnt stays in fuzz/corpus/.
set -eu
cd "$(dirname "$0")"
seconds="${1:-60}"
[ $# -eq 0 ] || shift
cargo fuzz build --sanitizer none --target-dir target
[ $# -gt 0 ] || set -- $(cargo fuzz list)

# shellcheck disable=SC2016 # expanded by the inner shell
printf '%s\n' "$@" | SECONDS_EACH="$seconds" xargs -P 2 -I{} sh -c '
    log="target/$1.log"
    mkdir -p "corpus/$1"
    if cargo fuzz run --sanitizer none --target-dir target "$1" "corpus/$1" "seeds/$1" -- \
        -max_total_time="$SECONDS_EACH" -timeout=20 -max_len=8192 >"$log" 2>&1; then
        echo "$1: $(grep DONE "$log")"
    else
        echo "$1 FAILED:" && tail -n 60 "$log"
        exit 1
    fi' sh {}
