#!/usr/bin/env bash
# Sets up the virtual environment $1 from pinned constraints, and the system packages that FFCV and our C extension
# compile against.
set -euo pipefail
venv="${1:-.venv}"
packages=(pkg-config libturbojpeg0-dev libjpeg-dev libopencv-dev)

# find a Python that is new enough, before anything is installed
python="${PYTHON:-}"
for candidate in python3.11 python3.12 python3.13 python3; do
    [ -n "$python" ] && break
    if command -v "$candidate" > /dev/null && "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2> /dev/null; then
        python="$candidate"
    fi
done
if [ -z "$python" ]; then
    echo "setup: Python 3.11 or newer is needed; install it (apt-get install python3) or set PYTHON" >&2
    exit 2
fi

missing=()
for package in "${packages[@]}"; do
    dpkg-query -W -f '${Status}' "$package" 2> /dev/null | grep -q "ok installed" || missing+=("$package")
done
command -v c++ > /dev/null || missing+=(g++)
# a system's own Python keeps its headers in a package of their own; a venv's Python knows where they belong
headers='import os, sys, sysconfig; sys.exit(not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))'
"$python" -c "$headers" || missing+=("$("$python" -c 'import sys; print("python%d.%d-dev" % sys.version_info[:2])')")
if [ ${#missing[@]} -gt 0 ]; then
    install="apt-get install -y ${missing[*]}"
    run=()
    if [ "$(id -u)" -ne 0 ]; then
        if command -v sudo > /dev/null && sudo -n true 2> /dev/null; then
            run=(sudo)
        else
            echo "setup: system packages are missing; run: sudo $install" >&2
            exit 2
        fi
    fi
    if ! command -v apt-get > /dev/null; then
        echo "setup: ${missing[*]} (Debian's names) are missing; install them with this system's package manager" >&2
        exit 2
    fi
    echo "setup: installing ${missing[*]}"
    "${run[@]}" apt-get update -qq
    DEBIAN_FRONTEND=noninteractive "${run[@]}" apt-get install -y -qq "${missing[@]}" > /dev/null
fi

[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
"$venv/bin/python" -m pip install -q -c constraints.txt pip setuptools wheel
"$venv/bin/python" -m pip install -q -c constraints.txt --no-build-isolation -e ".[platform,dev]"
