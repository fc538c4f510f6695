# Sourced by deploy/demo.sh and tests/run.sh, which set $root to the checkout.
#
# set_up ENV LOCK: makes the virtual environment ENV hold what the hash-locked file LOCK names, and sets
# $python to its interpreter. Quick when nothing has changed. Ends the script with 2 and one clear line
# when it cannot.

export PYTHONUTF8=1  # names and signs of the output, whatever the locale
unset PYTHONHOME PYTHONPATH VIRTUAL_ENV

fail() {
    printf '%s: %s\n' "${0##*/}" "$1" >&2
    exit 2
}

# has_uv: says whether a uv stands on PATH that really runs (a version manager's shim may not).
has_uv() {
    uv --version >/dev/null 2>&1
}

recent='import sys; sys.exit(sys.version_info < (3, 11))'

# find_python: sets $base to an interpreter that can make a virtual environment.
find_python() {
    lame=
    for base in python3.13 python3.12 python3.11 python3.14 python3 python; do
        "$base" -c "$recent" >/dev/null 2>&1 || continue
        if has_uv || "$base" -c 'import ensurepip, venv' >/dev/null 2>&1; then return; fi
        lame=${lame:-$base}
    done
    [ -z "$lame" ] || fail "$lame has no venv module: install it (Debian, Ubuntu: apt install python3-venv), or uv"
    fail "Python 3.11 or newer is needed, and none is on PATH"
}

# make_env ENV: makes sure that ENV is a usable environment; a broken or outdated one is made anew.
make_env() {
    if "$1/bin/python" -c "$recent" >/dev/null 2>&1; then
        if has_uv || "$1/bin/python" -m pip --version >/dev/null 2>&1; then return; fi
    fi
    find_python
    rm -rf "$1"
    if has_uv; then
        uv venv --quiet --no-project --python "$("$base" -c 'import sys; print(sys.executable)')" "$1"
    else
        "$base" -m venv "$1"
    fi || fail "$base could not make the virtual environment $1"
    echo '*' >"$1/.gitignore"
}

# stamp_of ENV LOCK: prints what ENV should have been made of.
stamp_of() {
    "$1/bin/python" -c 'if True:
        import hashlib, pathlib, sys
        lock = pathlib.Path(sys.argv[1]).read_bytes()
        print(hashlib.sha256(lock).hexdigest(), sys.version.split()[0], sys.argv[2])' "$2" "$root" 2>/dev/null
}

# install ENV LOCK
install() {
    quiet=--quiet
    [ ! -t 2 ] || quiet=  # someone is watching: show how far the downloads are
    if has_uv; then
        # shellcheck disable=SC2086 # $quiet is one word or none
        uv pip install $quiet --python "$1/bin/python" --require-hashes -r "$2"
    else
        # shellcheck disable=SC2086
        "$1/bin/python" -m pip install $quiet --disable-pip-version-check --no-input --require-hashes -r "$2"
    fi || fail "could not install ${2##*/} (the reason stands above); can this machine reach its package index?"
}

set_up() {
    python=$1/bin/python
    stamp=$(stamp_of "$1" "$2") && [ "$stamp" = "$(cat "$1/made-of" 2>/dev/null)" ] && return
    printf '%s: setting up %s from %s\n' "${0##*/}" "${1##*/}" "${2##*/}" >&2
    make_env "$1"
    rm -f "$1/made-of"
    install "$1" "$2"
    # A path file makes the checkout importable from anywhere; the build that `pip install -e` needs would
    # fetch its backend without a hash.
    "$python" -c 'if True:
        import pathlib, sys, sysconfig
        pathlib.Path(sysconfig.get_path("purelib"), "stem-archiver-checkout.pth").write_text(sys.argv[1] + "\n")
        ' "$root"
    stamp_of "$1" "$2" >"$1/made-of"
}
