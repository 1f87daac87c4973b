#!/bin/sh
# Starts Roost with the options of the add-on. Arguments go to `roost serve`. ROOST_DATA, ROOST_CONFIG: other folders, for tests.
set -eu
umask 077
data=${ROOST_DATA:-/data}
config=${ROOST_CONFIG:-/config}
own=$config/roost.yaml
# Once: later there is a store.
if [ -f "$config/mosquitto.db" ] && [ ! -e "$data/store/roost.db" ]; then
  roost import "$config/mosquitto.db" --users-verified --data-dir "$data/store"
fi
if [ -f "$own" ]; then
  echo "The options are not used: $own is there."
  exec roost serve --config "$own" --data-dir "$data/store" "$@"
fi
node "$(dirname "$0")/configure.mjs" "$data"
# Passwords go to the files as they are, and are replaced by hashes before anything reads them.
for file in "$data"/passwords "$data"/console-passwords; do
  if [ -s "$file" ]; then roost passwd -U "$file"; fi
done
exec roost serve --config "$data/roost.yaml" "$@"
