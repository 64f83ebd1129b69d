#!/bin/sh
# Builds the relay as one static program that runs on any Linux: build-static.sh FOLDER
set -eu
target=x86_64-unknown-linux-musl
folder=${1:?folder for the program}
cd "$(dirname "$0")/../.."
cargo build --release --locked --package hypertab-relay --target "$target"
mkdir -p "$folder"
cp "${CARGO_TARGET_DIR:-target}/$target/release/hypertab-relay" "$folder/hypertab-relay"
