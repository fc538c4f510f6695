#!/bin/sh
# Sets up what the checks need in .venv, and runs them all. `quick`: in two minutes, units, contracts on SQLite and what users see.
# With other arguments: pytest alone, with these.
set -eu
root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
. "$root/deploy/setup.sh"
set_up "$root/.venv" "$root/requirements-dev.lock"
cd "$root"
if [ "${1-}" = quick ]; then
    shift
    set -- -q -n 3 --dist loadfile -m "not slow and not benchmark and not long" tests/unit tests/contracts tests/golden "$@"
fi
[ $# -eq 0 ] || exec "$python" -m pytest "$@"

failed=
check() {
    name=$1
    shift
    printf '\n--- %s\n' "$name"
    "$@" || failed="$failed $name"
}

bin=${python%/*}
check lint "$bin/ruff" check .
check format "$bin/ruff" format --check .
check types "$bin/mypy"
check imports "$bin/lint-imports"
check tests "$python" -m pytest -q -n 3 --dist loadfile

[ -z "$failed" ] || { printf '\nFAILED:%s\n' "$failed" >&2; exit 1; }
printf '\nAll checks passed.\n'
