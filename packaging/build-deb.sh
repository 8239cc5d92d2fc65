#!/usr/bin/env bash
# Builds the Debian package of globalcounter into a directory: packaging/build-deb.sh DIR
# Needs Rust, cargo-deb (cargo install cargo-deb) and dpkg-dev.
set -euo pipefail
into=$(realpath "${1:?usage: packaging/build-deb.sh DIR}")
cd "$(dirname "$0")/.."

target=${CARGO_TARGET_DIR:-target}
cargo build --release --locked --bin globalcounter

# What the package contains beside the binary is made by the binary.
made=$target/release/packaging
rm -rf "$made"
mkdir -p "$made"/{man,bash,zsh,fish}
"$target/release/globalcounter" man "$made/man"
"$target/release/globalcounter" completions bash >"$made/bash/globalcounter"
"$target/release/globalcounter" completions zsh >"$made/zsh/_globalcounter"
"$target/release/globalcounter" completions fish >"$made/fish/globalcounter.fish"

cargo deb --locked --no-build --package globalcounter --output "$into"
