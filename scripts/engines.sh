#!/bin/sh
# Make .venv-engines, in which PyFlink and Beam run, or do nothing when that has been done. Needs .venv (scripts/setup.sh).
#
# .venv-engines/installed names what it was made from (this folder, the list of packages). It is removed before an
# installation starts and written after the last step, so that an interrupted one is never taken for a finished one.
set -eu
cd "$(dirname "$0")/.."
HERE=$(pwd -P)
PACKAGES=tests/engines/requirements.txt
STAMP=.venv-engines/installed
NEED_GB=3

fail() {
    echo "engines: $1" >&2
    exit 1
}

fingerprint() {
    {
        echo "$HERE"
        cat "$PACKAGES"
    } | cksum
}

up_to_date() {
    [ -f "$STAMP" ] && [ "$(cat "$STAMP")" = "$(fingerprint)" ] && [ -x .venv-engines/bin/python ]
}

# A shim may exist and not run, and Debian's Python may come without its venv module: only running it tells.
python_works() {
    "$1" -c 'import sys, ensurepip, venv; raise SystemExit(sys.version_info[:2] not in ((3, 11), (3, 12)))' >/dev/null 2>&1
}

find_python() {
    for python in "${PYTHON:-}" .venv/bin/python python3.11 python3.12 python3; do
        if [ -n "$python" ] && python_works "$python"; then
            echo "$python"
            return
        fi
    done
    fail "Flink's Python packages need Python 3.11 or 3.12 and none was found; install one (Debian, Ubuntu: apt install python3.11 python3.11-venv) or run: make PYTHON=/path/to/python3.12 test-engines"
}

check_java() {
    java -version >/dev/null 2>&1 ||
        fail "Flink and Spark run on Java, and none was found; install version 17 (Debian, Ubuntu: apt install openjdk-17-jre-headless)"
}

check_space() {
    free_kb=$(df -Pk . | awk 'NR == 2 {print $4}')
    [ "$free_kb" -ge $((NEED_GB * 1000000)) ] ||
        fail "$((free_kb / 1000)) MB are free on this disk and .venv-engines needs $NEED_GB GB; free some space or clone to a larger disk"
}

install_all() {
    rm -rf .venv-engines
    check_space
    python=$(find_python)
    "$python" -m venv .venv-engines || fail "$python could not make .venv-engines; what it said is above"
    echo "Installing Flink and Beam into .venv-engines (1.5 GB): this takes a minute"
    if ! .venv-engines/bin/python -m pip install --disable-pip-version-check --requirement "$PACKAGES" \
        >.venv-engines/install.log 2>&1; then
        tail -n 6 .venv-engines/install.log >&2
        fail "pip failed: its last lines are above, all of them in .venv-engines/install.log; run make test-engines again once that is mended"
    fi
    fingerprint >"$STAMP"
}

check_java
if up_to_date; then
    exit 0
fi
# Of two makes at once the second waits here, starts over, and finds the work done.
if [ -z "${ENGINES_ARE_LOCKED:-}" ] && command -v flock >/dev/null; then
    ENGINES_ARE_LOCKED=1 exec flock scripts/engines.sh sh scripts/engines.sh
fi
install_all
