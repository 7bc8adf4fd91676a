#!/bin/sh
# Make .venv and install everything into it, or do nothing when that has been done.
#
# .venv/installed names what the environment was made from (this folder, pyproject.toml, constraints.txt). It is
# removed before an installation starts and written after the last step, so an interrupted one is never taken
# for a finished one, and an environment that was copied from another folder is made anew.
set -eu
cd "$(dirname "$0")/.."
HERE=$(pwd -P)
STAMP=.venv/installed
# PyTorch comes with the CUDA libraries unless pip finds its processor build, with which 6 are enough.
NEED_GB=${NEED_GB:-12}

fail() {
    echo "setup: $1" >&2
    exit 1
}

fingerprint() {
    {
        echo "$HERE"
        cat pyproject.toml constraints.txt
    } | cksum
}

up_to_date() {
    [ -f "$STAMP" ] && [ "$(cat "$STAMP")" = "$(fingerprint)" ] && [ -x .venv/bin/python ]
}

# A pyenv shim may exist and not run; Debian's Python may come without its venv module. Only running it tells.
python_works() {
    "$1" -c 'import sys; raise SystemExit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' >/dev/null 2>&1
}

can_make_environments() {
    "$1" -c 'import ensurepip, venv' >/dev/null 2>&1
}

# All Pythons of the right versions, one a line: every place on PATH is tried, as a broken shim may hide a good one.
candidates() {
    for name in python3.11 python3.12 python3.13 python3; do
        echo "$PATH" | tr ':' '\n' | while IFS= read -r folder; do
            if [ -x "$folder/$name" ] && python_works "$folder/$name"; then
                echo "$folder/$name"
            fi
        done
    done
}

no_venv_module() {
    version=$("$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    fail "$1 lacks the venv module; install it (Debian, Ubuntu: apt install python$version-venv)"
}

find_python() {
    if [ -n "${PYTHON:-}" ]; then
        python_works "$PYTHON" || fail "PYTHON=$PYTHON is no working Python 3.11, 3.12 or 3.13; unset it or name another"
        can_make_environments "$PYTHON" || no_venv_module "$PYTHON"
        echo "$PYTHON"
        return
    fi
    found=$(candidates)
    [ -n "$found" ] || fail "no Python 3.11, 3.12 or 3.13 found; install one (Debian, Ubuntu: apt install python3.11 python3.11-venv) or run: make PYTHON=/path/to/python"
    echo "$found" | while IFS= read -r python; do
        if can_make_environments "$python"; then
            echo "$python"
            break
        fi
    done | grep . || no_venv_module "$(echo "$found" | head -n 1)"
}

# Python and pip themselves must live here: a copied environment still runs the programs of the folder it came from.
environment_is_ours() {
    [ "$(.venv/bin/python -c 'import sys; print(sys.prefix)' 2>/dev/null)" = "$HERE/.venv" ] &&
        head -n 3 .venv/bin/pip 2>/dev/null | grep -qF "$HERE/.venv/"
}

check_space() {
    free_kb=$(df -Pk . | awk 'NR == 2 {print $4}')
    used_kb=0
    [ ! -d .venv ] || used_kb=$(du -sk .venv | cut -f 1)
    [ $((free_kb + used_kb)) -ge $((NEED_GB * 1000000)) ] ||
        fail "$((free_kb / 1000)) MB are free on this disk and .venv needs $NEED_GB GB; free some space, clone to a larger disk, or set NEED_GB=6 if pip finds PyTorch's processor build"
}

install_all() {
    check_space
    rm -f "$STAMP"
    if ! environment_is_ours; then
        python=$(find_python)
        rm -rf .venv
        "$python" -m venv .venv || fail "$python could not make .venv; what it said is above"
    fi
    echo "Installing about 200 packages into .venv ($(.venv/bin/python --version), 5 GB): this takes some minutes"
    if ! .venv/bin/python -m pip install --disable-pip-version-check --constraint constraints.txt \
        --editable '.[all,dev]' >.venv/install.log 2>&1; then
        tail -n 6 .venv/install.log >&2
        fail "pip failed: its last lines are above, all of them in .venv/install.log; run make again once that is mended"
    fi
    fingerprint >"$STAMP"
}

if up_to_date; then
    exit 0
fi
# Of two makes at once the second waits here, starts over, and finds the work done.
if [ -z "${SETUP_IS_LOCKED:-}" ] && command -v flock >/dev/null; then
    SETUP_IS_LOCKED=1 exec flock scripts/setup.sh sh scripts/setup.sh
fi
install_all
