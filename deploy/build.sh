#!/bin/sh
# Builds the sdist and the wheel into dist/ (or DIR), with build tools that are locked by hash. Equal sources give equal bytes.
set -eu
root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
. "$root/deploy/setup.sh"
set_up "$root/.venv-build" "$root/requirements-build.lock"
case ${1-} in
    '') out=$root/dist ;;
    /*) out=$1 ;;
    *) out=$PWD/$1 ;;
esac
cd "$root"
"$python" -P -m hatchling build --target sdist --target wheel --directory "$out"
if grep -q '^repository = ""$' pyproject.toml; then
    say 'repository in pyproject.toml is empty: the packages name no address, and their description has no links.'
    say 'Before you publish them, fill in where the project stands (https://example.com/owner/name), and build again.'
fi
