#!/bin/sh
# limited.sh TENANT JOB COMMAND... runs the command if the tenant has quota left, and no other of that job meanwhile: on
# the same limit and lock as services in any language. Exit codes: 75 no quota, 76 no turn in 10 s, else the command's;
# 124 where it was stopped after $SECONDS_EACH (30).
set -eu
tenant=$1 job=$2
shift 2
lua=${RISKSCALE_LUA:-$(dirname "$0")/../../lua}
url=${REDIS_URL:-redis://127.0.0.1:6379}
seconds=${SECONDS_EACH:-30}

for name in "$tenant" "$job"; do
    case $name in
    '' | *[!A-Za-z0-9_.:-]*) echo "limited.sh: a name is of A-Z a-z 0-9 _ . : -" >&2 && exit 2 ;;
    esac
done

run() { # SCRIPT KEY... , ARGUMENT...
    script=$1
    shift
    redis-cli -e -u "$url" --eval "$lua/$script.lua" "$@"
}

decision=$(run rate/gcra "rs1:{$tenant}:rate:api:60s:gcra" , 10 60000000 10 1 1 '')
read -r _ retry_us _ <<REPLY
$decision
REPLY
if [ "$retry_us" != 0 ]; then
    echo "limited.sh: $tenant has no quota for $(((retry_us + 999999) / 1000000)) s" >&2
    exit 75
fi

keys="rs1:{$job}:lock rs1:{$job}:queue rs1:{$job}:wait"
owner=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
leave() { # also the place in the queue of one who gives up
    # shellcheck disable=SC2086 # three keys
    run lock/release $keys , "$owner" '' '' >/dev/null
}
trap leave EXIT
trap 'exit 130' INT TERM

give_up=$(($(date +%s) + 10))
while :; do
    # shellcheck disable=SC2086
    lease=$(run lock/acquire $keys , "$owner" "$((seconds + 5))000000" '' '' "$(uname -n)" '')
    { read -r acquired && read -r fence && read -r wait_us; } <<REPLY
$lease
REPLY
    [ "$acquired" = 0 ] || break
    [ "$(date +%s)" -lt "$give_up" ] || exit 76
    sleep "$((wait_us / 1000000)).$(printf %06d $((wait_us % 1000000)))" # a poller is told when to look again
done

RISKSCALE_FENCE=$fence timeout -k 1 "$seconds" "$@" # within its lease, or not at all
