#!/usr/bin/env bash
# Writes requirements/*.txt: every package with its hashes, no address of any index.
set -euo pipefail
bin=$1
"$bin/python" -m pip install -q pip-tools
for name in edge cloud simulators dev; do
  CUSTOM_COMPILE_COMMAND="make lock" "$bin/python" -m piptools compile -q --strip-extras --allow-unsafe --generate-hashes \
    --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-emit-options --resolver=backtracking \
    $([ "$name" = dev ] && echo "--extra edge --extra cloud --extra simulators --extra dev --build-deps-for wheel --build-deps-for editable" || echo "--extra $name") \
    -o "requirements/$name.txt" pyproject.toml
done
