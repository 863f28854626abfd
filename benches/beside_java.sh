#!/usr/bin/env bash
# Rokini beside the Java daemon of the KCL (MultiLang 3.1.3): the same kclpy application, properties, stream and load on
# `rokini local`; 28 shards, 20 of them idle. Prints one table: memory, CPU, the first record, silence at a deploy and a kill.
#
#   benches/beside_java.sh                      about 12 minutes; 15 at most, and the downloads
#   benches/beside_java.sh behaviour            what both do when children and daemons die or freeze, and at a split and merge;
#                                               about half an hour, and exit status 1 where Rokini is worse at any of it
#   benches/beside_java.sh cost rokini lambda   only these: rokini, java, lambda, lines
#
# ROKINI names the program (target/release/rokini unless set), JARS a folder that has the jars, JAVA_OPTIONS what the JVM gets
# (-Xmx256m unless set). Exit status 77: skipped, and the reason is printed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# shellcheck source=.ci/scratch.sh
source .ci/scratch.sh
need java python3 timeout
mode=${1:-cost}
[[ "$mode" == cost || "$mode" == behaviour ]] || { sed -n '2,11s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 2; }
shift || true

if [[ -z "${JARS:-}" ]]; then
  JARS=$scratch/jars
  multilang_jars "$JARS"
fi
python_packages "$scratch/py" awslambdaric==4.2.2 boto3
kclpy 3.2.0 "$scratch/py" amazon_kclpy

if [[ -z "${ROKINI:-}" ]]; then
  ROKINI=${CARGO_TARGET_DIR:-$PWD/target}/release/rokini
  [[ -x "$ROKINI" ]] || cargo build --quiet --release --bin rokini
fi
export ROKINI JARS scratch PYTHONPATH="$scratch/py"
# The behaviour is measured event after event, and the Java daemon needs minutes for some.
limit=900
[[ "$mode" == cost ]] || limit=2700
timeout --kill-after=10 "$limit" python3 "$PWD/benches/beside_java" "$mode" "$@"
