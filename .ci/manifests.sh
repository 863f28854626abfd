#!/usr/bin/env bash
# Holds deploy/kubernetes against the schemas of Kubernetes, by the package kubernetes-validate from PyPI, which carries them, in a
# directory that is removed afterwards. What is KEDA's has no schema there: a test of rokini-cli (deployment) reads it.
#
# Exit status 77: skipped, and the reason is printed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

skip() { printf 'skipped: %s\n' "$1"; exit 77; }
command -v python3 >/dev/null 2>&1 || skip "python3 is not installed"

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
trap 'exit 130' INT TERM

python3 -m venv "$scratch/venv" 2>"$scratch/venv.log" || skip "python3 makes no environment: $(tail -n 1 "$scratch/venv.log")"
timeout 240 "$scratch/venv/bin/pip" install --quiet 'kubernetes-validate>=1.37,<2' >"$scratch/pip.log" 2>&1 \
  || skip "pip cannot install kubernetes-validate: $(tail -n 1 "$scratch/pip.log")"

# validate FILE: fails on what the schema does not know. The program warns of a kind that has none, and says nothing of a file without
# documents.
validate() {
  local said status=0
  said=$("$scratch/venv/bin/kubernetes-validate" --strict "$1" 2>&1) || status=$?
  printf '%s\n' "$said"
  ((status == 0)) && grep -qE 'passed|keda\.sh' <<<"$said"
}

# What is wrong is found: a member that does not exist, and one of another type.
worker=deploy/kubernetes/worker.yaml
for wrong in 's/^\( *\)replicas: .*/\1replica: 3/' 's/^\( *\)replicas: .*/\1replicas: three/'; do
  sed "$wrong" "$worker" >"$scratch/wrong.yaml"
  ! cmp -s "$worker" "$scratch/wrong.yaml" || { printf 'failed: nothing was broken by %s\n' "$wrong" >&2; exit 1; }
  if validate "$scratch/wrong.yaml" >"$scratch/wrong.log"; then
    printf 'failed: the schema finds nothing wrong after %s\n' "$wrong" >&2
    exit 1
  fi
done

for file in deploy/kubernetes/*.yaml; do
  validate "$file" || { printf 'failed: %s\n' "$file" >&2; exit 1; }
done
