#!/usr/bin/env bash
# Packs a program that exists: a tarball, a .deb and a .rpm, for the kind of machine that it runs on.
#
#   packages.sh [--version VERSION] PROGRAM OUTDIR
#
# The same program and the same SOURCE_DATE_EPOCH, which must be set, give the same bytes. VERSION is that of Cargo.toml
# where it is not given. Needs bash, GNU tar, gzip and coreutils; and Go, the first time.
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

# What the program says of itself: completions, and a page for each verb.
written() {
    local place=$1
    mkdir -p "$place/completions" "$place/man"
    "$PROGRAM" completions bash >"$place/completions/kekring.bash"
    "$PROGRAM" completions zsh >"$place/completions/_kekring"
    "$PROGRAM" completions fish >"$place/completions/kekring.fish"
    "$PROGRAM" man "$place/man"
}

# The pages, and what they speak of, by their places in the repository, so that their links lead somewhere.
pages() {
    local place=$1
    mkdir -p "$place"
    install -m 0644 "$ROOT"/{README,SECURITY,CHANGELOG}.md "$place"
    # The scripts work in a clone alone, but for one.
    (cd "$ROOT" && find deploy -type f -not -name '*.sh' -not -path 'deploy/release/*' -o -path deploy/release/README.md \
        -o -path deploy/rewrite/rewrite.sh |
        copies "$place")
}

# Copies the files that standard input names.
copies() {
    local file
    while IFS= read -r file; do
        install -D -m 0644 "$file" "$1/$file"
    done
}

# As it is unpacked anywhere: the units run /usr/local/bin/kekring.
tarball() {
    local name=$1 place=$WORK/tarball/$1
    mkdir -p "$place"
    pages "$place"
    written "$place"
    install -m 0755 "$PROGRAM" "$place/kekring"
    install -m 0644 "$ROOT/LICENSE" "$place/LICENSE"
    tar --format=ustar --sort=name --mtime="@$SOURCE_DATE_EPOCH" --numeric-owner --owner=0 --group=0 \
        -C "$WORK/tarball" -cf "$WORK/$name.tar" "$name"
    gzip -9n <"$WORK/$name.tar" >"$OUT/$name.tar.gz"
    echo "$OUT/$name.tar.gz"
}

# What nfpm.yaml names.
layout() {
    local place=$1 unit
    mkdir -p "$place"/{units,sysusers.d,tmpfiles.d,scripts}
    install -m 0755 "$PROGRAM" "$place/kekring"
    for unit in kekring.service kekring.socket kekring-telemetry.socket; do
        sed 's|^ExecStart=/usr/local/bin/kekring |ExecStart=/usr/bin/kekring |' "$ROOT/deploy/systemd/$unit" \
            >"$place/units/$unit"
    done
    cp "$ROOT/deploy/systemd/sysusers.d/kekring.conf" "$place/sysusers.d"
    cp "$ROOT/deploy/systemd/tmpfiles.d/kekring.conf" "$place/tmpfiles.d"
    cp "$ROOT/deploy/systemd/config.yaml" "$ROOT/deploy/release/copyright" "$ROOT/LICENSE" "$place"
    cp "$ROOT"/deploy/release/scripts/* "$place/scripts"
    written "$place"
    gzip -9n "$place"/man/*.1
    pages "$place/doc"
    gzip -9n >"$place/changelog.gz" <<CHANGES
kekring ($VERSION) stable; urgency=medium

  * /usr/share/doc/kekring/CHANGELOG.md says what has changed.

 -- $(sed -n 's/^maintainer: //p' "$ROOT/deploy/release/nfpm.yaml")  $(date -R -d "@$SOURCE_DATE_EPOCH")
CHANGES
    find "$place" -type f -not -name kekring -exec chmod 0644 {} +
}

# pack FORMAT FILE
pack() {
    (cd "$WORK/layout" && VERSION=$VERSION ARCH=$GOARCH nfpm package --config "$ROOT/deploy/release/nfpm.yaml" \
        --packager "$1" --target "$OUT/$2" >/dev/null)
    echo "$OUT/$2"
}

VERSION=$(sed -n '/^\[package\]/,/^\[/s/^version = "\(.*\)"$/\1/p' "$ROOT/Cargo.toml")
while (($#)); do
    case $1 in
    --version)
        (($# > 1)) || usage
        VERSION=$2
        shift 2
        ;;
    -*) usage ;;
    *) break ;;
    esac
done
(($# == 2)) || usage
PROGRAM=$(realpath "$1")
mkdir -p "$2"
OUT=$(cd "$2" && pwd -P)
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:?is the time of the release, in seconds: release.sh knows it}
MACHINE=$(uname -m)
case $MACHINE in
x86_64) GOARCH=amd64 ;;
aarch64) GOARCH=arm64 ;;
*)
    echo "packages.sh: $MACHINE is no kind of machine that there are packages for" >&2
    exit 1
    ;;
esac
tool_nfpm
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT
tarball "kekring-$VERSION-$MACHINE-linux-musl"
layout "$WORK/layout"
pack deb "kekring_${VERSION}_$GOARCH.deb"
pack rpm "kekring-$VERSION-1.$MACHINE.rpm"
