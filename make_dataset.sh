#!/usr/bin/env bash
# Crops of every .mp4 below VIDEO_ROOT, a folder each in OUT_ROOT; the same command again does what is missing.
#   bash make_dataset.sh VIDEO_ROOT OUT_ROOT [--every N] [--workers N] [--config CONF] [key=value ...]
set -euo pipefail

if [ "$#" -lt 2 ]; then
    echo "usage: bash make_dataset.sh VIDEO_ROOT OUT_ROOT [options of make_dataset.py]" >&2
    exit 2
fi
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
python="$here/.venv/bin/python"
[ -x "$python" ] || python=python3
exec "$python" "$here/make_dataset.py" "$@" --only mp4
