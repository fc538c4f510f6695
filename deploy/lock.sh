#!/bin/sh
# Writes the requirements*.lock files anew from pyproject.toml, for every platform, with hashes and no index host.
# What is locked stays at its version; `sh deploy/lock.sh --upgrade` takes the newest. Needs uv.
set -eu
cd "$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)"

lock() {
    file=$1
    shift
    uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
        --output-file "$file" pyproject.toml "$@" >/dev/null
}

lock requirements.lock --extra callback --extra notify "$@"
lock requirements-demo.lock --extra demo "$@"
lock requirements-dev.lock --all-extras --group dev "$@"
