#!/usr/bin/env bash
# Fetches the jars of the Apache Kafka broker that the end-to-end tests start (55 MB, once) and prints their folder.
# Needs Maven. The cache is $TIDEMILL_CACHE, by default ~/.cache/tidemill.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${TIDEMILL_CACHE:-$HOME/.cache/tidemill}
jars=$cache/kafka/$(cksum < "$here/pom.xml" | cut -d ' ' -f 1)

if [ ! -d "$jars" ]; then
  mkdir -p "$cache/kafka"
  partial=$(mktemp -d "$cache/kafka/partial.XXXXXX")
  trap 'rm -rf "$partial"' EXIT
  for attempt in 1 2 3; do
    if mvn --batch-mode --quiet --file "$here/pom.xml" dependency:copy-dependencies \
        -DincludeScope=runtime -DoutputDirectory="$partial" >&2; then
      mv -T "$partial" "$jars" 2>/dev/null || [ -d "$jars" ] # another run may have been faster
      break
    fi
    echo "fetching the Kafka broker failed (attempt $attempt of 3)" >&2
  done
fi

[ -d "$jars" ] || { echo "cannot fetch the Kafka broker: see Maven's messages above" >&2; exit 1; }
echo "$jars"
