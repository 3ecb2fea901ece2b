#!/usr/bin/env bash
# Builds kekring's program for this kind of machine, and prints where it is: one static file that runs on every
# distribution, in packages, tarball and image alike.
#
# The same sources, the same release of Rust and the same C compiler give the same program wherever they lie. The list of
# its libraries is in it, by cargo-auditable, for those that look for one that is known to be bad.
set -euo pipefail
export LC_ALL=C

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
TARGET_DIR=${CARGO_TARGET_DIR:-$ROOT/target}
TARGET=$(uname -m)-unknown-linux-musl
# shellcheck disable=SC1091
source "$ROOT/deploy/release/tools.sh"

# As cargo's configuration has them: every directory has one name, so that the program does not say where it was built,
# and the linker is the one that comes with Rust.
flags() {
    local registry flags="'-Clinker=rust-lld'"
    for registry in "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*; do
        flags+=", '--remap-path-prefix=$registry=/registry'"
    done
    # The last that fits wins.
    flags+=", '--remap-path-prefix=$ROOT=/kekring', '--remap-path-prefix=$TARGET_DIR=/kekring/target'"
    printf 'build.rustflags = [%s]\n' "$flags"
}

tool_cargo auditable "$CARGO_AUDITABLE"
cd "$ROOT"
if command -v rustup >/dev/null; then
    rustup target add "$TARGET" >&2
fi
cargo fetch --locked --target "$TARGET" >&2
name=${TARGET//-/_}
# The C and the assembly of ring call no C library, so the machine's own compiler will do, without its checked calls.
# Flags of this shell would take the place of the repository's own, which these are added to.
env -u RUSTFLAGS -u CARGO_ENCODED_RUSTFLAGS CARGO_TARGET_DIR="$TARGET_DIR" \
    "CC_$name=${CC:-cc}" "CFLAGS_$name=-U_FORTIFY_SOURCE" \
    cargo auditable build --release --locked --target "$TARGET" --bin kekring --config "$(flags)" >&2
printf '%s\n' "$TARGET_DIR/$TARGET/release/kekring"
