#!/bin/sh
# Makes the folder DIR a small Debian that boots, with the service installed as deploy/README.md says: in
# /opt/stem-archiver from the lock, its units in /etc/systemd/system. Needs root and mmdebstrap.
set -eu
[ $# -eq 1 ] || { echo "usage: image.sh DIR" >&2; exit 2; }
root=$(CDPATH='' cd -- "$(dirname -- "$0")/../.." && pwd)
. "$root/deploy/setup.sh"
image=$1

if [ ! -x "$image/usr/bin/python3" ]; then
    rm -rf "$image"
    mmdebstrap --quiet --variant=minbase --include=systemd,systemd-sysv,dbus,python3,python3-venv bookworm "$image"
fi

find_python ensurepip,venv
tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT
"$base" -m venv "$tools"
wheels=$image/wheels
rm -rf "$wheels"
mkdir "$wheels"
cp "$root/requirements.lock" "$wheels"
pip() {
    "$tools/bin/python" -m pip --quiet --disable-pip-version-check "$@"
}
# For the image's Python, which need not be this machine's.
pip download --no-deps --require-hashes --only-binary=:all: --python-version 3.11 -r "$wheels/requirements.lock" -d "$wheels"
sh "$root/deploy/build.sh" "$wheels"

chroot "$image" sh -c 'set -eu
    export PIP_CONFIG_FILE=/dev/null
    [ -x /opt/stem-archiver/bin/pip ] || python3 -m venv /opt/stem-archiver
    pip() { /opt/stem-archiver/bin/pip --quiet --disable-pip-version-check "$@"; }
    pip install --no-index --no-deps --find-links /wheels --require-hashes -r /wheels/requirements.lock
    pip install --no-index --no-deps --force-reinstall /wheels/stem_archiver-*.whl'
cp "$root"/deploy/systemd/*.service "$root"/deploy/systemd/*.timer "$image/etc/systemd/system/"
rm -rf "$wheels"
