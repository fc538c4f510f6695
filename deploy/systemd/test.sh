#!/bin/sh
# Boots a real systemd with the service installed, and sees it work, die, freeze, drain and come back. Needs root and,
# on Debian: apt install mmdebstrap systemd-container. ARCHIVER_IMAGE=DIR keeps the machine's image for the next time.
set -eu
root=$(CDPATH='' cd -- "$(dirname -- "$0")/../.." && pwd)
for tool in mmdebstrap systemd-nspawn nsenter; do
    command -v "$tool" >/dev/null || { echo "test.sh: $tool is missing (Debian: apt install mmdebstrap systemd-container util-linux)" >&2; exit 2; }
done
[ "$(id -u)" -eq 0 ] || { echo "test.sh: booting a machine needs root" >&2; exit 2; }
exec sh "$root/tests/run.sh" -m slow -v tests/acceptance/test_systemd_boot.py "$@"
