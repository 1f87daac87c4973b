#!/bin/sh
# Makes a folder that is a Home Assistant add-on: `npm run home-assistant -- FOLDER`. Copy it to /addons/roost of Home Assistant.
set -eu
[ $# -eq 1 ] || { echo "usage: npm run home-assistant -- FOLDER (which must be empty or not exist)" >&2; exit 2; }
mkdir -p "$1"
to=$(cd "$1" && pwd)
[ -z "$(ls -A "$to")" ] || { echo "$to: not empty" >&2; exit 2; }
cd "$(dirname "$0")"
cp -r roost/. "$to"
cp ../../CHANGELOG.md "$to"
cd ../..
packed=$(npm pack --silent --pack-destination "$to" | tail -n 1)
mv "$to/$packed" "$to/roost-mqtt.tgz"
echo "$to is an add-on: copy it to /addons/roost of Home Assistant, and install it from the store (local add-ons)."
