#!/usr/bin/env bash
# Runs the vectors (see ../../README.md) with redis-cli (7 or newer) and jq: runner.sh LUA VECTORS URL
set -euo pipefail

[[ $# == 3 ]] || { echo 'usage: runner.sh LUA VECTORS URL' >&2; exit 2; }
lua=$1 vectors=$2 url=$3
here=$(cd "$(dirname "$0")" && pwd)
prefix="rv$$-$RANDOM:"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
passed=0 failed=0
# redis-cli doubles the backslashes of \", but leaves the quote: the JSON would end there.
mend=':again; s/(^|[^\\])((\\{4})*)\\{2}"/\1\2\\\\\\"/; t again'

for program in redis-cli jq sha1sum; do
    command -v "$program" >/dev/null || { echo "$program is not on the PATH" >&2; exit 2; }
done

failure() {
    echo "$1"
    failed=$((failed + 1))
}

while IFS=$'\t' read -r name file sha1; do
    digest=$(sha1sum "$lua/$file" | cut -d' ' -f1)
    loaded=$(redis-cli -u "$url" -x SCRIPT LOAD <"$lua/$file")
    [[ $digest == "$sha1" && $loaded == "$sha1" ]] || failure "$name: the digest of $file is $digest, not $sha1"
done < <(jq -r '.scripts | to_entries[] | [.key, .value.file, .value.sha1] | @tsv' "$lua/manifest.json")

while read -r primitive; do
    if ! jq -c -f "$here/plan.jq" --arg primitive "$primitive" --arg prefix "$prefix" \
        --slurpfile scripts "$lua/manifest.json" "$vectors/$primitive.json" >"$work/plan" 2>"$work/wrong"; then
        failure "$primitive.json: $(cat "$work/wrong")"
        continue
    fi
    jq -r 'select(.send).send' "$work/plan" | redis-cli -u "$url" --quoted-json | sed -E "$mend" >"$work/replies"
    jq -r -s -f "$here/judge.jq" --rawfile replies "$work/replies" "$work/plan" >"$work/verdict"
    sed '$d' "$work/verdict"
    read -r right wrong < <(tail -n 1 "$work/verdict")
    passed=$((passed + right)) failed=$((failed + wrong))
done < <(jq -r '.scripts | keys | map(split(".")[0]) | unique[]' "$lua/manifest.json")

echo "$passed passed, $failed failed"
[[ $failed == 0 ]]
