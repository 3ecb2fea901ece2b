#!/usr/bin/env bash
# Makes all that a release of this version has, for the kind of machine that it runs on.
#
#   release.sh [--program FILE] OUTDIR
#
# The same sources and the same SOURCE_DATE_EPOCH give the same bytes wherever they lie; where that is not set it is the
# time of the commit. With --program, which must be linked statically, nothing is built. SHA256SUMS is what to sign.
set -euo pipefail
export LC_ALL=C TZ=UTC
umask 022

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
# shellcheck disable=SC1091
source "$ROOT/deploy/release/tools.sh"

usage() {
    sed -n 's/^# \{0,1\}//; 2,4p' "${BASH_SOURCE[0]}" >&2
    exit 2
}

step() {
    printf '=== %s\n' "$*" >&2
}

# The time of everything in the release: never that of the moment.
epoch() {
    local when=${SOURCE_DATE_EPOCH:-}
    [[ -n "$when" ]] || when=$(git -C "$ROOT" log -1 --format=%ct 2>/dev/null) || {
        echo "release.sh: no commit says what time it is: set SOURCE_DATE_EPOCH" >&2
        exit 1
    }
    printf '%s\n' "$when"
}

# The libraries in the program, for the target that it is built for, without those that only built it. The name of the
# directory is left out, and with SOURCE_DATE_EPOCH there is no serial number: both would be others each time.
sbom() {
    local out=$1 made=$ROOT/$NAME.cdx.json
    (cd "$ROOT" && cargo cyclonedx --quiet --format json --target "$MACHINE-unknown-linux-musl" --no-build-deps \
        --spec-version 1.5 --override-filename "$NAME.cdx")
    sed -E 's|path\+file://[^"#]*#(kekring@)?|path+file:///kekring#|' "$made" >"$out"
    rm "$made"
    echo "$out"
}

PROGRAM=""
while (($#)); do
    case $1 in
    --program)
        (($# > 1)) || usage
        PROGRAM=$2
        shift 2
        ;;
    -*) usage ;;
    *) break ;;
    esac
done
(($# == 1)) || usage
mkdir -p "$1"
OUT=$(cd "$1" && pwd -P)
[[ -z "$(ls -A "$OUT")" ]] || {
    echo "release.sh: $OUT is not empty: a release has a directory of its own" >&2
    exit 1
}
MACHINE=$(uname -m)
case $MACHINE in
aarch64) ARCH=arm64 ;;
*) ARCH=amd64 ;;
esac
need cargo "Rust, by rustup or from your distribution"
need go "Go, from https://go.dev or your distribution"
step "tools, in $CACHE"
tools
SOURCE_DATE_EPOCH=$(epoch)
export SOURCE_DATE_EPOCH
step "the release is of $(date -d "@$SOURCE_DATE_EPOCH" +%FT%TZ): SOURCE_DATE_EPOCH=$SOURCE_DATE_EPOCH"
if [[ -z "$PROGRAM" ]]; then
    step "the program"
    PROGRAM=$("$ROOT/deploy/release/program.sh")
fi
VERSION=$("$PROGRAM" --version | cut -d' ' -f2)
NAME=kekring-$VERSION
step "image"
"$ROOT/deploy/container/image.sh" --binary "$PROGRAM" --tag "kekring:$VERSION" "$OUT/$NAME-image-$ARCH.tar"
step "packages"
"$ROOT/deploy/release/packages.sh" "$PROGRAM" "$OUT"
step "SBOM"
sbom "$OUT/$NAME.cdx.json"
step "sums"
(cd "$OUT" && sha256sum -- * >"$OUT/.sums" && mv .sums SHA256SUMS && cat SHA256SUMS)
