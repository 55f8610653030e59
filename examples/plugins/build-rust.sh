#!/usr/bin/env bash
# Builds the Rust plugins beside this script and puts each component next to its plugin.toml. Names or directories may be
# given; other directories are projects of `plugin new`.
#
# Where the target wasm32-wasip2 is installed that is one cargo call each. Where it cannot be had, the standard library is
# built from source for wasm32-unknown-unknown, which needs a compiler that has its library's source beside it (Debian:
# rustc-web, cargo-web, rust-web-src; set WEB_RUSTC and WEB_CARGO if they are not in /usr/bin), a linker (rust-lld, which
# the usual toolchain brings) and wasm-tools (`cargo install wasm-tools`; set WASM_TOOLS if it is not on the PATH) or what
# `./build-others.sh --tools` fetches. Exits with 3 when one of these is missing.
set -euo pipefail
start=$PWD
cd "$(dirname "$0")"

plugins=(order-id order-check json-shape)
if (($#)); then plugins=("$@"); fi

web_rustc=${WEB_RUSTC:-/usr/bin/rustc}
web_cargo=${WEB_CARGO:-/usr/bin/cargo}
wasm_tools=${WASM_TOOLS:-wasm-tools}
# One for all of them: the standard library is then built once.
target=${PLUGIN_TARGET_DIR:-$PWD/target}

# Every WebAssembly engine has these instructions; searches use them.
simd=-Ctarget-feature=+simd128

component_new() {
  if command -v "$wasm_tools" >/dev/null; then
    "$wasm_tools" component new "$1" -o "$2"
  elif [[ -d tools/node_modules ]]; then
    node tools/component.mjs - - "$1" "$2"
  else
    echo "build-rust.sh: there is no wasm-tools (cargo install wasm-tools, or ./build-others.sh --tools)" >&2
    exit 3
  fi
}

for plugin in "${plugins[@]}"; do
  [[ -d $plugin ]] || plugin=$(cd "$start" && realpath "$plugin")
  module=$(basename "$plugin")
  module=${module//-/_}.wasm
  locked=()
  [[ ! -f $plugin/Cargo.lock ]] || locked=(--locked)
  if [[ -z ${BUILD_STD:-} && -d "$(rustc --print sysroot)/lib/rustlib/wasm32-wasip2" ]]; then
    RUSTFLAGS=$simd cargo build --release "${locked[@]}" --target wasm32-wasip2 --target-dir "$target" --manifest-path "$plugin/Cargo.toml"
    cp "$target/wasm32-wasip2/release/$module" "$plugin/$module"
  else
    if [[ ! -x $web_rustc || ! -x $web_cargo || ! -d $("$web_rustc" --print sysroot)/lib/rustlib/src ]]; then
      echo "build-rust.sh: there is neither the target wasm32-wasip2 (rustup target add wasm32-wasip2) nor a compiler with" \
        "its library's source (Debian: rustc-web, cargo-web, rust-web-src)" >&2
      exit 3
    fi
    # Paths of the machine that builds would otherwise be in the component, in the messages of panics.
    RUSTC=$web_rustc RUSTC_BOOTSTRAP=1 \
      RUSTFLAGS="$simd --remap-path-prefix=$HOME=~ --remap-path-prefix=$PWD=." \
      CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER="$(rustc --print sysroot)/lib/rustlib/x86_64-unknown-linux-gnu/bin/rust-lld" \
      "$web_cargo" build --release "${locked[@]}" -Zbuild-std=std,panic_abort --target wasm32-unknown-unknown \
      --target-dir "$target" --manifest-path "$plugin/Cargo.toml"
    component_new "$target/wasm32-unknown-unknown/release/$module" "$plugin/$module"
  fi
  ls -l "$plugin/$module"
done
