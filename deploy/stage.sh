#!/bin/sh
# Puts a Roost that runs into a folder: what was built, and the packages that it needs. `npm run deb` and the image are made of it.
set -eu
[ $# -eq 1 ] || { echo "usage: deploy/stage.sh FOLDER (which must be empty or not exist)" >&2; exit 2; }
mkdir -p "$1"
to=$(cd "$1" && pwd)
[ -z "$(ls -A "$to")" ] || { echo "$to: not empty" >&2; exit 2; }
cd "$(dirname "$0")/.."
[ -d node_modules ] || npm ci --no-audit --no-fund
npm run --silent build
cp -r dist docs deploy README.md CHANGELOG.md LICENSE package.json package-lock.json "$to"
cd "$to"
# What was built stays as it is.
npm pkg delete scripts.prepack scripts.prestart scripts.pretest
npm ci --omit=dev --no-audit --no-fund --silent
chmod +x dist/main.js
