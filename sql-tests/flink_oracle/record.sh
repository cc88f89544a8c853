#!/usr/bin/env bash
# Asks a real Apache Flink 2.3.0 again: runs NAME.sql (all scripts if none is named) and writes what it answers into NAME.out.
#
# Flink comes from PyPI: `pip download --no-deps apache-flink-libraries==2.3.0` (330 MB), unzip the wheel, and set FLINK_LIB
# to its folder pyflink/lib. Java 17 must be there.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
lib=${FLINK_LIB:?set FLINK_LIB to the folder pyflink/lib of the wheel apache-flink-libraries 2.3.0}

# Flink's own logging last: it shades what the others bring.
classpath=$(printf '%s\n' "$lib"/*.jar | grep -v log4j | tr '\n' ':')$(printf '%s\n' "$lib"/log4j*.jar | tr '\n' ':')
opens=()
for package in lang util time net io nio text util.concurrent; do
    opens+=("--add-opens=java.base/java.$package=ALL-UNNAMED")
done

scripts=("${@:-}")
[[ -n ${scripts[0]} ]] || scripts=(*.sql)
for script in "${scripts[@]}"; do
    name=${script%.sql}
    echo "$name" >&2
    java -Xmx1200m -Dlog4j2.level=OFF -Dlog4j.rootLogger=OFF "${opens[@]}" -cp "$classpath" Oracle.java "$name.sql" >"$name.out.new"
    mv "$name.out.new" "$name.out"
done
