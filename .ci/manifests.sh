#!/usr/bin/env bash
# Holds deploy/kubernetes against the schemas of Kubernetes, by the package kubernetes-validate from PyPI, which carries them, in a
# directory that is removed afterwards. What is KEDA's has no schema there: a test of rokini-cli (deployment) reads it.
#
# Exit status 77: skipped, and the reason is printed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# shellcheck source=.ci/scratch.sh
source .ci/scratch.sh

python_environment 'kubernetes-validate>=1.37,<2'

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
