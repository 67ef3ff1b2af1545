#!/bin/sh
# Runs every check of this project on a bare Debian machine with Rust: ./test.sh, or ./test.sh --long for the long jobs.
set -eu
cd "$(dirname "$0")"

long=no
case "${1:-}" in
"") ;;
--long) long=yes ;;
*)
    echo "usage: ./test.sh [--long]" >&2
    exit 2
    ;;
esac

say() { printf '\n== %s\n' "$*"; }

# Debian package, and the program of it that must be there.
missing=""
PATH="$PATH:/usr/sbin:/usr/local/sbin"
# Debian keeps the programs of PostgreSQL in a folder of their version.
for dir in /usr/lib/postgresql/*/bin; do
    PATH="$PATH:$dir"
done
pairs="haproxy:haproxy rsync:rsync gcc:cc openssh-server:sshd openssh-client:ssh openssl:openssl iproute2:ip nftables:nft zsh:zsh fish:fish tcsh:tcsh socat:socat systemd:systemctl postgresql:postgres mariadb-server:mariadbd mariadb-client:mariadb sqlite3:sqlite3 tomcat10-user:tomcat10-instance-create procps:ps keepalived:keepalived chromium:chromium chromium-driver:chromedriver"
if [ "$long" = yes ]; then
    pairs="$pairs g++:c++"
fi
for pair in $pairs; do
    command -v "${pair#*:}" >/dev/null 2>&1 || missing="$missing ${pair%%:*}"
done
# These bring no program of their own into the search path.
[ -x /usr/share/tomcat10/bin/startup.sh ] || missing="$missing tomcat10"
[ -e /usr/share/java/postgresql.jar ] || missing="$missing libpostgresql-jdbc-java"
if [ -n "$missing" ]; then
    say "installing$missing"
    root=""
    if [ "$(id -u)" -ne 0 ]; then
        root="sudo -n"
    fi
    # In runlevel 1 no server is started by its installation: the tests start their own.
    # shellcheck disable=SC2086 # a list of words
    if ! { $root apt-get update && $root env RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing; }; then
        echo "test.sh: these Debian packages are missing and could not be installed:$missing" >&2
        exit 1
    fi
fi
for tool in rustfmt cargo-clippy; do
    command -v "$tool" >/dev/null 2>&1 || {
        echo "test.sh: $tool is missing: rustup component add rustfmt clippy" >&2
        exit 1
    }
done

say "format"
cargo fmt --all --check
cargo fmt --manifest-path fuzz/Cargo.toml --check

say "clippy"
cargo clippy --workspace --all-targets --all-features -- -D warnings

say "fuzz targets compile"
RUSTFLAGS="--cfg fuzzing" cargo check -q --manifest-path fuzz/Cargo.toml --no-default-features --lib --target-dir target/fuzzing

say "a crate outside of the workspace embeds the library, with a balancer of its own"
cargo test -q --locked --manifest-path examples/embed/Cargo.toml --target-dir target

# The benchmarks have no tests; without them their dependencies need not be built.
if cargo nextest --version >/dev/null 2>&1; then
    say "tests, side by side"
    HA_FIGURES="$PWD/target/figures.txt"
    export HA_FIGURES
    mkdir -p target
    : >"$HA_FIGURES"
    passed=yes
    cargo nextest run --workspace --exclude benches --all-features || passed=no
    say "figures; of conformance, the number of cases before each line"
    grep -v ' conformance of ' "$HA_FIGURES" || true
    grep ' conformance of ' "$HA_FIGURES" | sort | uniq -c || true
    unset HA_FIGURES
    [ "$passed" = yes ] || exit 1
    say "doc tests"
    cargo test --workspace --exclude benches --all-features --doc
else
    say "tests and doc tests (cargo-nextest would run them side by side)"
    cargo test --workspace --exclude benches --all-features
fi

say "docs"
RUSTDOCFLAGS="-D warnings" cargo doc --workspace --all-features --no-deps

if [ "$long" = yes ]; then
    say "long: property tests, 20,000 cases each"
    PROPTEST_CASES=20000 cargo test --profile long --workspace --exclude benches --all-features --lib --test rotation

    say "long: the wording of the law against its proof, at least 5,000 plans"
    HA_SEEDS=2200 cargo test --profile long -p ha-testkit --all-features --test independent -- --nocapture

    say "long: nodes that are alike counted, against every state, 7,500 plans"
    HA_CLASSES=300 cargo test --profile long -p ha-testkit --all-features --test by_class -- --nocapture

    say "long: every single call fails, 20,000 runs; what a person asks for beside a fault, 10,000 runs"
    HA_CALLS=20000 HA_ABORTS=10000 cargo test --profile long -p ha-testkit --all-features --test single_calls -- --nocapture

    say "long: remedies of refused plans, each tried, and one that takes less refused"
    HA_REMEDIES=100 cargo test --profile long -p ha-testkit --all-features --test remedy -- --nocapture

    say "long: simulated runs under any single fault, at least 10,000"
    HA_SEEDS=18500 cargo test --profile long -p ha-testkit --all-features --test simulation -- --nocapture

    say "long: what follows a loss at rest, and the return of what was lost: at least 10,000 faults in each"
    HA_SEEDS=29000 cargo test --profile long -p ha-testkit --all-features --test outage_simulation -- --nocapture
    HA_SEEDS=29000 cargo test --profile long -p ha-testkit --all-features --test site_simulation -- --nocapture
    HA_SEEDS=29000 cargo test --profile long -p ha-testkit --all-features --test grow_simulation -- --nocapture

    say "long: one-line mutants of the law, the actions, the decision core, the fold and the explorer"
    cargo test -p ha-core --all-features --test mutants -- --ignored --nocapture

    say "long: hosts over ssh, 200 trials of each random fault, 500 MB streams"
    HA_SSH_TRIALS=200 cargo test --profile long -p ha-ssh

    say "long: the whole catalogue of HAProxy configurations"
    HA_CATALOGUE=all cargo test -p ha-backends --all-features --test catalogue -- --nocapture

    say "long: the main job, three times on each balancer"
    cargo build --release --example patch_server
    for turn in 1 2 3; do
        for options in "" "--haproxy" "--haproxy --queue"; do
            say "patch_server $options ($turn of 3)"
            # shellcheck disable=SC2086 # no option is no word
            target/release/examples/patch_server $options
        done
    done

    say "long: a patch that loses its active, its passive, its spare or a balancer of a pair in a random step, 20 times each, a host, and a host's link"
    for victim in active passive spare; do
        for options in "" "--haproxy"; do
            for turn in $(seq 20); do
                say "patch_server --kill $victim $options ($turn of 20)"
                # shellcheck disable=SC2086 # no option is no word
                target/release/examples/patch_server --kill "$victim" $options --requests 1000
            done
        done
    done
    for turn in $(seq 20); do
        say "patch_server --kill balancer ($turn of 20)"
        target/release/examples/patch_server --kill balancer --requests 1000
    done
    for turn in $(seq 20); do
        say "patch_server --ssh --kill host ($turn of 20)"
        target/release/examples/patch_server --ssh --kill host
    done
    for turn in $(seq 20); do
        say "patch_server --ssh --kill link ($turn of 20)"
        target/release/examples/patch_server --ssh --kill link
    done

    say "long: a member lost at rest, five times each"
    cargo build --release --example lose_node
    for options in "" "--active-active" "--haproxy" "--active-active --haproxy"; do
        for turn in 1 2 3 4 5; do
            say "lose_node $options ($turn of 5)"
            # shellcheck disable=SC2086 # no option is no word
            target/release/examples/lose_node $options
        done
    done
    say "long: from the kill of the active server to the first answer of the passive, beside HAProxy's backup server and keepalived, 20 turns"
    target/release/examples/lose_node --failover --turns 20

    say "long: a site of two machines with sshd, HAProxy and PostgreSQL lost, or only cut off, and led back to (a minute and a half each)"
    cargo build --release --example lose_site
    for options in "" "--hot" "--wake" "--hot --wake"; do
        say "lose_site --real $options"
        # shellcheck disable=SC2086 # no option is no word
        target/release/examples/lose_site --real $options
    done
    cargo build -p examples --example lose_site
    cargo test -p examples --test lose_site -- --ignored --test-threads 1

    say "long: an update of services, its controller killed at 20 random moments"
    cargo build --release --example update_service
    for options in "" "--haproxy --ssh"; do
        # shellcheck disable=SC2086 # no option is no word
        target/release/examples/update_service $options --kill-controller --rounds 20
    done

    say "long: a service added, its controller killed at a random moment, 20 times"
    cargo build --release --example add_service
    for options in "" "--haproxy --ssh"; do
        for turn in $(seq 20); do
            say "add_service $options ($turn of 20)"
            # shellcheck disable=SC2086 # no option is no word
            target/release/examples/add_service $options --kill-controller
        done
    done

    say "long: an upgrade with its database, its controller killed at a random moment, five times on each"
    cargo build --release --example upgrade_version
    for options in "" "--postgres" "--mariadb"; do
        for turn in 1 2 3 4 5; do
            say "upgrade_version $options ($turn of 5)"
            # shellcheck disable=SC2086 # no option is no word
            target/release/examples/upgrade_version $options --kill-controller
        done
    done

    say "long: real Java servers, three times each"
    cargo build --release --example tomcat
    for job in patch update upgrade lose-active "patch --ssh"; do
        for turn in 1 2 3; do
            say "tomcat $job ($turn of 3)"
            # shellcheck disable=SC2086 # a list of words
            target/release/examples/tomcat $job
        done
    done

    say "long: the whole real lab"
    cargo run --release --example all_procedures

    say "long: migrations, 200 kills of the migrator and 50 of the server of each, every message and 200 bytes cut, 1,000,000 rows renamed"
    HA_DB_KILLS=200 HA_DB_SERVER_KILLS=50 HA_DB_CUT_EVERY=1 HA_DB_NET_CUTS=200 HA_DB_ROWS=1000000 \
        cargo test --profile long -p ha-migrate --all-features --test faults -- --nocapture

    say "long: benchmarks"
    cargo bench -p benches

    say "long: fuzz targets, ${FUZZ_SECONDS:-300} s each, two at a time"
    cargo fuzz --version >/dev/null 2>&1 || cargo install --locked cargo-fuzz
    RUSTFLAGS="--cfg fuzzing" cargo test --manifest-path fuzz/Cargo.toml --no-default-features --lib --target-dir fuzz/target/seeds
    fuzz/run.sh "${FUZZ_SECONDS:-300}"
fi

say "all checks passed"
