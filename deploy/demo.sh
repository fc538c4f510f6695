#!/bin/sh
# Sets up what the demo needs in .venv-demo, and runs it. Arguments go to `stem-archiver demo`.
set -eu
root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
. "$root/deploy/setup.sh"
set_up "$root/.venv-demo" "$root/requirements-demo.lock"
exec "$python" -P -m archiver demo "$@"
