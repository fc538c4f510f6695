# Sourced by deploy/demo.sh and tests/run.sh, which set $root to the checkout.
#
# set_up ENV LOCK: makes the virtual environment ENV hold what the hash-locked file LOCK names, and sets
# $python to its interpreter. Quick when nothing has changed. Ends the script with 2 and one clear line
# when it cannot.

export PYTHONUTF8=1  # names and signs in the output, whatever the locale
unset PYTHONHOME PYTHONPATH VIRTUAL_ENV

say() {
    printf '%s: %s\n' "${0##*/}" "$1" >&2
}

fail() {
    say "$1"
    exit 2
}

recent='import sys; sys.exit(sys.version_info < (3, 11))'

# find_python MODULES: sets $base to the first Python on PATH that is recent and can import MODULES.
find_python() {
    lame=
    for base in python3.13 python3.12 python3.11 python3.14 python3 python; do
        "$base" -c "$recent" >/dev/null 2>&1 || continue
        if "$base" -c "import $1" >/dev/null 2>&1; then return; fi
        lame=${lame:-$base}
    done
    [ -z "$lame" ] || fail "$lame has no venv: install it (Debian, Ubuntu: apt install python3-venv), or uv"
    fail "Python 3.11 or newer is needed, and none is on PATH"
}

is_recent() {
    "$1/bin/python" -c "$recent" >/dev/null 2>&1
}

# with_uv ENV LOCK, with_pip ENV LOCK: make ENV anew where what stands there cannot be used, and fill it.
with_uv() {
    uv --version >/dev/null 2>&1 || return  # a version manager's shim on PATH may have no uv behind it
    if ! is_recent "$1"; then
        find_python sys
        rm -rf "$1"
        uv venv --quiet --no-project --python "$("$base" -c 'import sys; print(sys.executable)')" "$1" || return
    fi
    # shellcheck disable=SC2086 # $quiet is one word or none
    uv pip install $quiet --python "$1/bin/python" --no-deps --require-hashes -r "$2" || {
        # uv reads neither pip's settings nor, by default, the system's certificates.
        say "uv could not install ${2##*/}; trying pip"
        return 1
    }
}

with_pip() {
    if ! is_recent "$1" || ! "$1/bin/python" -m pip --version >/dev/null 2>&1; then
        find_python ensurepip,venv
        rm -rf "$1"
        "$base" -m venv "$1" || fail "$base could not make the virtual environment $1"
    fi
    # The lock is complete. Without --no-deps pip's resolver looks for what `pytest-cov` wants as `coverage[toml]`
    # beside the pinned `coverage`, takes the newest release, and stops for want of its hash.
    # shellcheck disable=SC2086
    "$1/bin/python" -m pip install $quiet --disable-pip-version-check --no-input --no-deps --require-hashes -r "$2" ||
        fail "could not install ${2##*/} (the reason stands above): can this machine reach its package index?"
}

# stamp_of ENV LOCK: prints what ENV is to be made of.
stamp_of() {
    "$1/bin/python" -c 'if True:
        import hashlib, pathlib, sys
        lock = pathlib.Path(sys.argv[1]).read_bytes()
        print(hashlib.sha256(lock).hexdigest(), sys.version.split()[0], sys.argv[2])' "$2" "$root" 2>/dev/null
}

set_up() {
    python=$1/bin/python
    if stamp=$(stamp_of "$1" "$2") && [ "$stamp" = "$(cat "$1/made-of" 2>/dev/null)" ]; then return; fi
    say "setting up ${1##*/} from ${2##*/}"
    rm -f "$1/made-of"
    quiet=--quiet
    [ ! -t 2 ] || quiet=  # someone is watching: show how far the downloads are
    with_uv "$1" "$2" || with_pip "$1" "$2"
    echo '*' >"$1/.gitignore"
    # A path file makes the checkout importable from anywhere; `pip install -e` would fetch a build
    # backend that no hash guards.
    "$python" -c 'if True:
        import pathlib, sys, sysconfig
        pathlib.Path(sysconfig.get_path("purelib"), "stem-archiver-checkout.pth").write_text(sys.argv[1] + "\n")
        ' "$root"
    stamp_of "$1" "$2" >"$1/made-of"
}
