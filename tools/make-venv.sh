#!/usr/bin/env bash
# A virtual environment at $1. Where Debian's python lacks ensurepip, root installs it and others are told how.
set -euo pipefail
target=$1
python=${PYTHON:-python3}
"$python" - <<'P' || exit 1
import sys
if sys.version_info < (3, 11):
    sys.exit(f"Gatehouse needs Python 3.11 or newer; {sys.executable} is {sys.version.split()[0]}")
P
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3-venv >/dev/null
  else
    echo "apt-get install python3-venv" >&2
    exit 1
  fi
fi
[ -x "$target/bin/python" ] || "$python" -m venv "$target"
