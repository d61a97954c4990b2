#!/bin/sh
# Rebuilds cloud/web/static/vendor from the npm registry's packages. For developers with Node; users never need it.
# Versions are pinned here; the result and its SHA-256 are listed in vendor/MANIFEST.json, which tests/web compares.
set -eu

PREACT=11.2.0
HTM=3.1.1
SIGNALS=2.11.4
SIGNALS_CORE=1.14.5
ESBUILD=0.28.2

root=$(cd "$(dirname "$0")/.." && pwd)
vendor="$root/cloud/web/static/vendor"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

npm init --yes >/dev/null
npm install --no-audit --no-fund \
    "preact@$PREACT" "htm@$HTM" "@preact/signals@$SIGNALS" "@preact/signals-core@$SIGNALS_CORE" "esbuild@$ESBUILD" >/dev/null

cat > entry.js <<'JS'
export { h, render, Fragment } from "preact";
export { useEffect, useLayoutEffect, useMemo, useRef, useState, useCallback, useErrorBoundary } from "preact/hooks";
export { signal, computed, effect, batch, untracked, useSignal, useComputed } from "@preact/signals";
import { h } from "preact";
import htm from "htm";
export const html = htm.bind(h);
JS

banner="/* preact $PREACT (MIT), htm $HTM (Apache-2.0), @preact/signals $SIGNALS and signals-core $SIGNALS_CORE (MIT); built by tools/vendor.sh */"
./node_modules/.bin/esbuild entry.js --bundle --minify --format=esm --target=es2022 --legal-comments=none \
    --banner:js="$banner" --outfile=preact-bundle.js --log-level=warning

mkdir -p "$vendor/licences"
cp preact-bundle.js "$vendor/preact-bundle.js"
cp node_modules/preact/LICENSE "$vendor/licences/preact.txt"
cp node_modules/htm/LICENSE "$vendor/licences/htm.txt"
cp node_modules/@preact/signals/LICENSE "$vendor/licences/preact-signals.txt"

sha=$(sha256sum preact-bundle.js | cut -d' ' -f1)
cat > "$vendor/MANIFEST.json" <<JSON
{
  "files": [
    {
      "file": "preact-bundle.js",
      "sha256": "$sha",
      "made": "tools/vendor.sh: esbuild $ESBUILD --bundle --minify --format=esm --target=es2022 of the packages below",
      "packages": [
        {"name": "@preact/signals", "version": "$SIGNALS", "licence": "MIT", "text": "licences/preact-signals.txt"},
        {"name": "@preact/signals-core", "version": "$SIGNALS_CORE", "licence": "MIT", "text": "licences/preact-signals.txt"},
        {"name": "htm", "version": "$HTM", "licence": "Apache-2.0", "text": "licences/htm.txt"},
        {"name": "preact", "version": "$PREACT", "licence": "MIT", "text": "licences/preact.txt"}
      ]
    }
  ]
}
JSON
echo "vendored preact-bundle.js $sha ($(wc -c < preact-bundle.js) bytes, $(gzip -9c preact-bundle.js | wc -c) gzipped)"
