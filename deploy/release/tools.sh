#!/usr/bin/env bash
# The tools of a release, each in one version, so that the same sources give the same bytes. Sourced.
#
# What is missing is built once and kept in the user's cache, where `.ci/run` and later releases find it.

NFPM=2.45.2
CARGO_AUDITABLE=0.7.7
CARGO_CYCLONEDX=0.5.9

CACHE=${XDG_CACHE_HOME:-${HOME:?}/.cache}/kekring/release-$NFPM-$CARGO_AUDITABLE-$CARGO_CYCLONEDX
PATH=$CACHE/bin:$PATH

# need TOOL WHERE-FROM: without what cannot be built here, nothing begins.
need() {
    command -v "$1" >/dev/null || {
        printf '%s: %s is missing: install %s\n' "${0##*/}" "$1" "$2" >&2
        exit 1
    }
}

# Makes the .deb and the .rpm.
tool_nfpm() {
    [[ ! -x "$CACHE/bin/nfpm" ]] || return 0
    need go "Go, from https://go.dev or your distribution"
    echo "building nfpm $NFPM into $CACHE; once" >&2
    # Outside any module: its own requirements count.
    (cd / && GOBIN=$CACHE/bin CGO_ENABLED=0 GOFLAGS=-trimpath go install "github.com/goreleaser/nfpm/v2/cmd/nfpm@v$NFPM") >&2
}

# tool_cargo NAME VERSION: a subcommand of cargo.
tool_cargo() {
    [[ ! -x "$CACHE/bin/cargo-$1" ]] || return 0
    need cargo "Rust, by rustup or from your distribution"
    echo "building cargo-$1 $2 into $CACHE; once" >&2
    (cd / && cargo install --quiet --locked --root "$CACHE" "cargo-$1@$2") >&2
}

# All of them.
tools() {
    tool_nfpm
    # Writes the list of its libraries into the program.
    tool_cargo auditable "$CARGO_AUDITABLE"
    # Writes the SBOM.
    tool_cargo cyclonedx "$CARGO_CYCLONEDX"
}
