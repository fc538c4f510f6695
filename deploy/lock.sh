#!/bin/sh
# Writes the requirements*.lock files anew from pyproject.toml, for every platform, with hashes and no index host.
# What is locked stays at its version; `sh deploy/lock.sh --upgrade` takes the newest. Needs uv.
set -eu
cd "$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)"

lock() {
    file=$1
    shift
    uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
        --output-file "$file" "$@" >/dev/null
}

lock requirements.lock pyproject.toml --extra notify "$@"
lock requirements-cluster.lock pyproject.toml --extra cluster --extra notify "$@"
lock requirements-page.lock pyproject.toml --extra page --extra notify "$@"
lock requirements-demo.lock pyproject.toml --extra demo --extra page "$@"
lock requirements-dev.lock pyproject.toml --all-extras --group dev "$@"
lock requirements-mutation.lock --group mutation "$@"
lock requirements-build.lock --group build "$@"
