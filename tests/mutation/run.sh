#!/bin/sh
# Measures how many changes to the code the tests notice; README.md beside this file. Arguments: see --help.
set -eu
root=$(CDPATH='' cd -- "$(dirname -- "$0")/../.." && pwd)
. "$root/deploy/setup.sh"
set_up "$root/.venv" "$root/requirements-dev.lock"
tests=$python
set_up "$root/.venv-mutation" "$root/requirements-mutation.lock"
exec "$python" -m tests.mutation.score --python "$tests" "$@"
