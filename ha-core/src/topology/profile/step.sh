#!/bin/sh
# Runs the update tool of a product as the command of a change, and reads its exit code.
#
#   ha-step [--done CODES] [--again CODES] [--held CODES] [--undone CODES] [--puppet PROGRAM] [--resume] -- TOOL ARG..
#
# It ends with 0 where the tool's work is done, 4 where the tool has undone its work, 5 where it waits for a person, 1 otherwise.
# CODES are numbers with commas between them. An argument {HA_RELEASE} becomes the release that the change is to.
#
# Held (conflicts): the file .ha-step.held says so, and nothing is run again until a call with --resume has run the tool to its end:
# that of a person who has resolved them, or the restore of a rollback. Who has undone the work by hand removes the file.
# With --puppet the agent's own runs are held meanwhile (puppet agent --disable, --enable): a loan under a name of its own, written to
# .ha-step.loan before it is made, and repaid at the end, or by the next call where this one was killed. While a person decides it stays
# open. An agent that somebody else has disabled stays disabled, and nothing is run.
# HUP, INT and TERM end it once the tool has ended, whose exit code counts as ever; the tool is not run again then.
set -u
done_codes=0 again='' held='' undone='' puppet='' resume=''
while [ $# -gt 0 ]; do
    case $1 in
    --done) done_codes=$2; shift 2 ;;
    --again) again=$2; shift 2 ;;
    --held) held=$2; shift 2 ;;
    --undone) undone=$2; shift 2 ;;
    --puppet) puppet=$2; shift 2 ;;
    --resume) resume=yes; shift ;;
    --) shift; break ;;
    *) echo "ha-step: unknown option $1" >&2; exit 1 ;;
    esac
done
[ $# -gt 0 ] || { echo "ha-step: no tool after --" >&2; exit 1; }
left=$#
while [ "$left" -gt 0 ]; do
    argument=$1
    shift
    if [ "$argument" = '{HA_RELEASE}' ]; then argument=${HA_RELEASE:?is not set}; fi
    set -- "$@" "$argument"
    left=$((left - 1))
done

is_one_of() { case ",$2," in *",$1,"*) return 0 ;; esac; return 1; }
tell() { echo "ha-step: $*" >&2; }

# The tool has this open too: one that outlived a killed call is waited for, not run twice.
command -v flock >/dev/null || { tell "there is no program flock"; exit 1; }
exec 9>.ha-step.lock
flock -n 9 || { tell "the tool of an earlier call still runs: wait for its end"; exit 1; }

if [ -e .ha-step.held ] && [ -z "$resume" ]; then
    tell "held: $(cat .ha-step.held): resolve it, then resume or revert the update on this node"
    exit 5
fi

asked='' waits='' runs_agent=''
trap 'asked=yes' HUP INT TERM
change="the change to ${HA_RELEASE:-a release}"

# Tells whether it is this loan that has disabled the agent.
is_ours() { [ -n "$loan" ] && grep -qF -e "$loan" "$disabled"; }
others() { tell "somebody else has disabled the agent: $(head -c 300 "$disabled")"; }
hold() {
    if [ ! -e "$disabled" ] && ! "$puppet" agent --disable "$change $loan"; then
        tell "the agent could not be disabled"
        return 1
    fi
    is_ours || { others; return 1; }
}
lift() {
    [ -e "$disabled" ] || return 0
    is_ours || { others; return 1; }
    "$puppet" agent --enable || { tell "the agent could not be enabled, and stays disabled"; return 1; }
}
repay() {
    if [ -e .ha-step.held ] || [ -n "$waits" ]; then return; fi
    # What somebody else has disabled meanwhile is no loan of this one.
    if [ -e "$disabled" ] && is_ours && ! lift; then return; fi
    rm -f .ha-step.loan
}

if [ -n "$puppet" ]; then
    disabled=$("$puppet" config print agent_disabled_lockfile) || { tell "puppet does not answer"; exit 1; }
    loan=$(cat .ha-step.loan 2>/dev/null)
    if [ ! -e "$disabled" ]; then
        loan="(ha-step $(date +%s)-$$)"
    elif ! is_ours; then
        others
        rm -f .ha-step.loan
        exit 1
    fi
    echo "$loan" >.ha-step.loan.new && mv .ha-step.loan.new .ha-step.loan || exit 1
    trap repay EXIT
    hold || exit 1
    # The agent refuses to run while it is disabled.
    if [ "${2:-}" = agent ]; then runs_agent=yes; fi
fi

turn=0
while :; do
    [ -z "$asked" ] || { tell "asked to end: the tool is not run"; exit 1; }
    if [ -n "$runs_agent" ]; then lift || exit 1; fi
    "$@"
    code=$?
    if is_one_of "$code" "$held"; then
        waits=yes
        echo "the tool ended with $code, which means conflicts" >.ha-step.held ||
            tell ".ha-step.held could not be written: nothing keeps the next call from running the tool over the conflicts"
    fi
    # Where that fails it is told, and the code counts as ever.
    if [ -n "$runs_agent" ]; then hold; fi
    if [ -n "$waits" ]; then
        tell "the tool ended with $code: it waits for a person"
        exit 5
    fi
    if is_one_of "$code" "$done_codes"; then
        rm -f .ha-step.held
        exit 0
    fi
    if is_one_of "$code" "$undone"; then
        rm -f .ha-step.held
        tell "the tool ended with $code: it has undone its work"
        exit 4
    fi
    turn=$((turn + 1))
    if ! is_one_of "$code" "$again" || [ "$turn" -ge 3 ]; then
        tell "the tool ended with $code"
        exit 1
    fi
done
