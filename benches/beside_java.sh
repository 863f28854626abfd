#!/usr/bin/env bash
# Rokini beside the Java daemon of the KCL (MultiLang 3.1.3): the same kclpy application, properties, stream and load on
# `rokini local`; 28 shards, 20 of them idle. Prints one table: memory, CPU, the first record, silence at a deploy and a kill.
#
#   benches/beside_java.sh                      about 12 minutes; 15 at most, and the downloads
#   benches/beside_java.sh behaviour            what both do when children and daemons die or freeze, and at a split and merge
#   benches/beside_java.sh cost rokini lambda   only these: rokini, java, lambda, lines
#
# ROKINI names the program (target/release/rokini unless set), JARS a folder that has the jars, JAVA_OPTIONS what the JVM gets
# (-Xmx256m unless set). Exit status 77: skipped, and the reason is printed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

skip() { printf 'skipped: %s\n' "$1"; exit 77; }
for needed in java python3 pip tar timeout; do
  command -v "$needed" >/dev/null 2>&1 || skip "$needed is not installed"
done
mode=${1:-cost}
[[ "$mode" == cost || "$mode" == behaviour ]] || { sed -n '2,10s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 2; }
shift || true

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
trap 'exit 130' INT TERM

if [[ -z "${JARS:-}" ]]; then
  command -v mvn >/dev/null 2>&1 || skip "mvn is not installed, and JARS names no folder of jars"
  cat >"$scratch/pom.xml" <<'POM'
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>kcl</groupId><artifactId>kcl</artifactId><version>1</version>
  <dependencies><dependency>
    <groupId>software.amazon.kinesis</groupId><artifactId>amazon-kinesis-client-multilang</artifactId><version>3.1.3</version>
  </dependency></dependencies>
</project>
POM
  JARS=$scratch/jars
  timeout 240 mvn -q -B -f "$scratch/pom.xml" dependency:copy-dependencies -DoutputDirectory="$JARS" \
    >"$scratch/mvn.log" 2>&1 || skip "Maven has no MultiLang daemon: $(tail -n 1 "$scratch/mvn.log")"
fi
timeout 240 pip install --quiet --target "$scratch/py" awslambdaric==4.2.2 boto3 >"$scratch/pip.log" 2>&1 \
  || skip "pip cannot install the clients: $(tail -n 1 "$scratch/pip.log")"
# Its installation would fetch the jars once more: only the source is wanted.
pip download --quiet --no-deps --no-binary :all: -d "$scratch" amazon_kclpy==3.2.0 >"$scratch/pip.log" 2>&1 \
  || [[ -n "$(find "$scratch" -maxdepth 1 -name 'amazon_kclpy*.tar.gz')" ]] \
  || skip "pip has no amazon_kclpy: $(tail -n 1 "$scratch/pip.log")"
tar -xzf "$scratch"/amazon_kclpy*.tar.gz -C "$scratch/py" --strip-components=1 --wildcards '*/amazon_kclpy'

if [[ -z "${ROKINI:-}" ]]; then
  ROKINI=${CARGO_TARGET_DIR:-$PWD/target}/release/rokini
  [[ -x "$ROKINI" ]] || cargo build --quiet --release --bin rokini
fi
export ROKINI JARS scratch PYTHONPATH="$scratch/py"
# The behaviour is measured event after event, and the Java daemon needs minutes for some.
limit=900
[[ "$mode" == cost ]] || limit=2700
timeout --kill-after=10 "$limit" python3 "$PWD/benches/beside_java" "$mode" "$@"
