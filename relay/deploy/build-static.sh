#!/bin/sh
# Builds the relay as one static program that runs on any Linux (x86-64): build-static.sh FOLDER
#
# Takes a compiler of C for musl, which ring is made with: `apt-get install musl-tools` on Debian.
set -eu
target=x86_64-unknown-linux-musl
folder=${1:?folder for the program}
mkdir -p "$folder"
program=$(cd "$folder" && pwd)/hypertab-relay
cd "$(dirname "$0")/../.."
if ! command -v x86_64-linux-musl-gcc >/dev/null && ! command -v musl-gcc >/dev/null; then
  echo "There is no compiler of C for musl: install musl-tools." >&2
  exit 1
fi
rustup target add "$target"
cargo build --release --locked --package hypertab-relay --target "$target"
cp "${CARGO_TARGET_DIR:-target}/$target/release/hypertab-relay" "$program"

# What is not static names who loads it.
if grep -q -a -E '/lib(64)?/ld-[a-z0-9_.-]+' "$program"; then
  echo "The program is not static." >&2
  exit 1
fi
"$program" --version
