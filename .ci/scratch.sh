# Sourced by the scripts that install what they need: they run at the root of the repository, have a directory that is removed
# afterwards ($scratch), and can skip themselves.
#
#   source .ci/scratch.sh       (after `set -euo pipefail` and `cd` to the root)

# skip REASON: what the machine lacks.
skip() {
  printf 'skipped: %s\n' "$1"
  exit 77
}

# need PROGRAM...: skips where one is not installed.
need() {
  local program
  for program in "$@"; do
    command -v "$program" >/dev/null 2>&1 || skip "$program is not installed"
  done
}

# python_environment PACKAGE...: an environment of Python in $scratch/venv with these from PyPI.
python_environment() {
  need python3
  python3 -m venv "$scratch/venv" >"$scratch/venv.log" 2>&1 ||
    skip "python3 cannot make an environment: $(tail -n 1 "$scratch/venv.log")"
  timeout 240 "$scratch/venv/bin/pip" install --quiet "$@" >"$scratch/pip.log" 2>&1 ||
    skip "pip cannot install $*: $(tail -n 1 "$scratch/pip.log")"
}

# multilang_jars DIRECTORY: the KCL's MultiLang daemon 3.1.3 with all that it needs, from Maven.
multilang_jars() {
  need mvn
  cat >"$scratch/pom.xml" <<'POM'
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>kcl</groupId><artifactId>kcl</artifactId><version>1</version>
  <dependencies><dependency>
    <groupId>software.amazon.kinesis</groupId><artifactId>amazon-kinesis-client-multilang</artifactId><version>3.1.3</version>
  </dependency></dependencies>
</project>
POM
  timeout 240 mvn -q -B -f "$scratch/pom.xml" dependency:copy-dependencies -DoutputDirectory="$1" >"$scratch/mvn.log" 2>&1 ||
    skip "Maven has no MultiLang daemon: $(tail -n 1 "$scratch/mvn.log")"
}

# kclpy VERSION DIRECTORY MEMBER...: these members of amazon_kclpy. Its installation would fetch the jars: only the source is wanted.
kclpy() {
  local version=$1 directory=$2
  shift 2
  need pip tar
  pip download --quiet --no-deps --no-binary :all: -d "$scratch" "amazon_kclpy==$version" >"$scratch/pip.log" 2>&1 ||
    [[ -n "$(find "$scratch" -maxdepth 1 -name 'amazon_kclpy*.tar.gz')" ]] ||
    skip "pip has no amazon_kclpy: $(tail -n 1 "$scratch/pip.log")"
  tar -xzf "$scratch"/amazon_kclpy*.tar.gz -C "$directory" --strip-components=1 --wildcards "${@/#/*/}"
}

# python_packages DIRECTORY PACKAGE...: these from PyPI, for PYTHONPATH.
python_packages() {
  need pip
  timeout 240 pip install --quiet --target "$@" >"$scratch/pip.log" 2>&1 ||
    skip "pip cannot install the clients: $(tail -n 1 "$scratch/pip.log")"
}

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
trap 'exit 130' INT TERM
