#!/bin/sh
# Runs the update tool of a product as the command of a change, and reads its exit code.
#
#   ha-step [--done CODES] [--again CODES] [--held CODES] [--undone CODES] [--puppet PROGRAM] [--resume] -- TOOL ARG..
#
# It ends with 0 where the tool's work is done, 3 where it waits for a person, 4 where the tool has undone its work, 1 otherwise.
# CODES are numbers with commas between them. An argument {HA_RELEASE} becomes the release that the change is to.
#
# Held (conflicts): the file .ha-step.held says so. Until a person has resolved them and called it with --resume, or has undone the
# work and removed the file, nothing is run again.
# With --puppet the agent's own runs are held meanwhile (puppet agent --disable, --enable): a loan, written to .ha-step.loan before it is
# made, and repaid at the end, or by the next call where this one was killed. While a person decides it stays open. An agent that
# somebody else has disabled stays disabled, and nothing is run.
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

if [ -e .ha-step.held ] && [ -z "$resume" ]; then
    echo "ha-step: held: $(cat .ha-step.held): resolve it, then resume or revert the update on this node" >&2
    exit 3
fi

# The tool has this open too: one that outlived a killed call is waited for, not run twice.
command -v flock >/dev/null || { echo "ha-step: there is no program flock" >&2; exit 1; }
exec 9>.ha-step.lock
flock -n 9 || { echo "ha-step: the tool of an earlier call still runs: wait for its end" >&2; exit 1; }

change="the change to ${HA_RELEASE:-a release}"
runs_agent=''
if [ -n "$puppet" ]; then
    disabled=$("$puppet" config print agent_disabled_lockfile) || { echo "ha-step: puppet does not answer" >&2; exit 1; }
    if [ -e "$disabled" ] && [ ! -e .ha-step.loan ]; then
        echo "ha-step: somebody else has disabled the agent: $(head -c 300 "$disabled")" >&2
        exit 1
    fi
    echo "$change holds the agent" >.ha-step.loan.new && mv .ha-step.loan.new .ha-step.loan || exit 1
    repay() { [ -e .ha-step.held ] || { "$puppet" agent --enable && rm -f .ha-step.loan; }; }
    trap repay EXIT
    trap 'exit 1' HUP INT TERM
    "$puppet" agent --disable "$change" || exit 1
    # The agent refuses to run while it is disabled.
    if [ "${2:-}" = agent ]; then runs_agent=yes; fi
fi

turn=0
while :; do
    if [ -n "$runs_agent" ]; then "$puppet" agent --enable || exit 1; fi
    "$@"
    code=$?
    if [ -n "$runs_agent" ]; then "$puppet" agent --disable "$change" || exit 1; fi
    if is_one_of "$code" "$done_codes"; then
        rm -f .ha-step.held
        exit 0
    fi
    if is_one_of "$code" "$held"; then
        echo "the tool ended with $code, which means conflicts" >.ha-step.held
        echo "ha-step: the tool ended with $code: it waits for a person" >&2
        exit 3
    fi
    if is_one_of "$code" "$undone"; then
        rm -f .ha-step.held
        echo "ha-step: the tool ended with $code: it has undone its work" >&2
        exit 4
    fi
    turn=$((turn + 1))
    if ! is_one_of "$code" "$again" || [ "$turn" -ge 3 ]; then
        echo "ha-step: the tool ended with $code" >&2
        exit 1
    fi
done
