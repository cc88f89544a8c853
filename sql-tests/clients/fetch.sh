#!/usr/bin/env bash
# Fetches the PostgreSQL drivers that the tests connect with, at the versions of their lock files (30 MB, once):
# fetch.sh psycopg | jdbc | pgx | node-postgres prints the folder of one, fetch.sh alone fetches them all.
# The cache is $TIDEMILL_CACHE, by default ~/.cache/tidemill.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${TIDEMILL_CACHE:-$HOME/.cache/tidemill}/clients

# need PROGRAM PACKAGE: the remedy, if the program is not there.
need() {
  command -v "$1" >/dev/null || { echo "$1 is missing: run ./dev setup, or install $2 (Debian's name)" >&2; exit 1; }
}

psycopg() {
  python3 -m venv "$1" && "$1/bin/python" -m pip install --quiet --disable-pip-version-check --only-binary :all: \
    --require-hashes --requirement "$here/psycopg/requirements.txt"
}

jdbc() {
  mvn --batch-mode --quiet --file "$here/jdbc/pom.xml" dependency:copy-dependencies -DincludeScope=runtime \
    -DexcludeTransitive=true -DoutputDirectory="$1"
}

pgx() {
  (cd "$here/pgx" && GOTOOLCHAIN=local GOFLAGS=-mod=readonly CGO_ENABLED=0 go build -buildvcs=false -o "$1/client" .)
}

node-postgres() {
  cp "$here/node-postgres/package.json" "$here/node-postgres/package-lock.json" "$1" &&
    npm ci --prefix "$1" --ignore-scripts --omit=optional --no-audit --no-fund --loglevel=error
}

# What the fetched folder is made from: another one is made when any of it changes.
made_from() {
  case $1 in
  psycopg)
    need python3 python3-venv
    python3 --version
    cat "$here/psycopg/requirements.txt"
    ;;
  jdbc)
    need java openjdk-17-jdk-headless
    need mvn maven
    cat "$here/jdbc/pom.xml"
    ;;
  pgx)
    need go golang-go
    go version
    cat "$here/pgx/go.mod" "$here/pgx/go.sum" "$here/pgx/main.go"
    ;;
  node-postgres)
    need node nodejs
    need npm npm
    cat "$here/node-postgres/package-lock.json"
    ;;
  *)
    echo "there is no client \"$1\"" >&2
    exit 1
    ;;
  esac
}

fetch() {
  local driver=$1 folder partial
  made_from "$driver" >/dev/null
  folder=$cache/$driver/$(made_from "$driver" | cksum | cut -d ' ' -f 1)
  if [ ! -d "$folder" ]; then
    mkdir -p "$cache/$driver"
    for attempt in 1 2 3; do
      partial=$(mktemp -d "$cache/$driver/partial.XXXXXX")
      if "$driver" "$partial" >&2; then
        mv -T "$partial" "$folder" 2>/dev/null || rm -rf "$partial" # another run may have been faster
        break
      fi
      rm -rf "$partial"
      echo "fetching $driver failed (attempt $attempt of 3)" >&2
    done
  fi
  [ -d "$folder" ] || { echo "cannot fetch $driver: see the messages above" >&2; exit 1; }
  echo "$folder"
}

if (($#)); then
  fetch "$1"
else
  for driver in psycopg jdbc pgx node-postgres; do fetch "$driver" >/dev/null; done
fi
