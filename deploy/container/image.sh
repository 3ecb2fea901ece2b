#!/usr/bin/env bash
# Makes kekring's container image: one static program, and nothing else that runs. Without a container engine.
#
#   image.sh [--binary FILE] [--tag NAME:TAG] OUT.tar
#
# OUT.tar is what `docker load`, `podman load` and `ctr images import` take, and an OCI image layout too. The digest of
# the image is printed; the same program and the same tag give the same digest on any machine. Without --binary the
# program is built first, by release/program.sh. --tag is kekring:VERSION where it is not given. Needs bash, GNU tar and coreutils.
set -euo pipefail
export LC_ALL=C
umask 022

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
ROOT=$(cd "$HERE/../.." && pwd -P)
# The image's own user. The manifest of a static Pod chooses for itself.
USER_ID=65532

usage() {
    sed -n 's/^# \{0,1\}//; 2,4p' "${BASH_SOURCE[0]}" >&2
    exit 2
}

fail() {
    printf 'image.sh: %s\n' "$*" >&2
    exit 1
}

version() {
    sed -n '/^\[package\]/,/^\[/s/^version = "\(.*\)"$/\1/p' "$ROOT/Cargo.toml"
}

# The architecture as images name it, from the head of the program.
architecture() {
    local machine
    [[ "$(head -c 4 "$1" | od -An -tx1)" == " 7f 45 4c 46" ]] || fail "$1 is no program of Linux"
    if head -c 4096 "$1" | grep -aqE '/ld-(linux|musl)'; then
        fail "$1 is linked dynamically: in an image that has nothing else it cannot run"
    fi
    machine=$(od -An -tu2 -j18 -N2 "$1")
    case ${machine// /} in
    62) echo amd64 ;;
    183) echo arm64 ;;
    *) fail "$1 is for a machine that is not known here" ;;
    esac
}

# NAME:TAG as containerd stores it.
full_name() {
    case $1 in
    localhost/* | *.*/* | *:*/*) printf '%s\n' "$1" ;;
    */*) printf 'docker.io/%s\n' "$1" ;;
    *) printf 'docker.io/library/%s\n' "$1" ;;
    esac
}

# A tar file of what stands in a directory, in an order that is always the same, with a time and an owner that are.
pack() {
    local out=$1 dir=$2 owner=$3
    shift 3
    tar --format=ustar --sort=name --mtime=@0 --numeric-owner --owner="$owner" --group="$owner" --no-recursion \
        -C "$dir" -rf "$out" "$@"
}

# The only layer. What may be written is mounted over, or is a directory of the image's own user.
layer() {
    local out=$1 binary=$2 root=$WORK/root
    mkdir -p "$root"/{etc/kekring,run,usr/bin,usr/share/licenses/kekring,var/lib}
    install -m 0755 "$binary" "$root/usr/bin/kekring"
    install -m 0644 "$ROOT/LICENSE" "$root/usr/share/licenses/kekring/LICENSE"
    printf 'root:x:0:0::/:/sbin/nologin\nkekring:x:%s:%s::/var/lib/kekring:/sbin/nologin\n' $USER_ID $USER_ID \
        >"$root/etc/passwd"
    printf 'root:x:0:\nkekring:x:%s:\n' $USER_ID >"$root/etc/group"
    (cd "$root" && find . -mindepth 1 -printf '%P\n' | sort) >"$WORK/names"
    pack "$out" "$root" 0 -T "$WORK/names"
    mkdir -m 0700 "$root"/run/kekring "$root"/var/lib/kekring
    pack "$out" "$root" $USER_ID run/kekring var/lib/kekring
}

hash_of() {
    sha256sum "$1" | cut -d' ' -f1
}

# Puts a file among the blobs and prints its hash.
blob() {
    local hash
    hash=$(hash_of "$1")
    mv "$1" "$WORK/image/blobs/sha256/$hash"
    printf '%s\n' "$hash"
}

size_of() {
    stat -c %s "$WORK/image/blobs/sha256/$1"
}

config_json() {
    cat <<JSON
{
  "created": "1970-01-01T00:00:00Z",
  "architecture": "$1",
  "os": "linux",
  "config": {
    "User": "$USER_ID:$USER_ID",
    "Env": ["PATH=/usr/bin"],
    "Entrypoint": ["/usr/bin/kekring"],
    "Cmd": ["serve"],
    "WorkingDir": "/",
    "Labels": {
      "org.opencontainers.image.title": "kekring",
      "org.opencontainers.image.description": "Kubernetes KMS v2 encryption provider",
      "org.opencontainers.image.licenses": "Apache-2.0",
      "org.opencontainers.image.version": "$(version)"
    }
  },
  "rootfs": {"type": "layers", "diff_ids": ["sha256:$2"]},
  "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "deploy/container/image.sh"}]
}
JSON
}

manifest_json() {
    local oci=application/vnd.oci.image
    cat <<JSON
{
  "schemaVersion": 2,
  "mediaType": "$oci.manifest.v1+json",
  "config": {"mediaType": "$oci.config.v1+json", "digest": "sha256:$1", "size": $(size_of "$1")},
  "layers": [{"mediaType": "$oci.layer.v1.tar", "digest": "sha256:$2", "size": $(size_of "$2")}]
}
JSON
}

index_json() {
    cat <<JSON
{
  "schemaVersion": 2,
  "mediaType": "application/vnd.oci.image.index.v1+json",
  "manifests": [{
    "mediaType": "application/vnd.oci.image.manifest.v1+json",
    "digest": "sha256:$1",
    "size": $(size_of "$1"),
    "platform": {"architecture": "$2", "os": "linux"},
    "annotations": {"io.containerd.image.name": "$(full_name "$TAG")", "org.opencontainers.image.ref.name": "${TAG##*:}"}
  }]
}
JSON
}

image() {
    local binary=$1 out=$2 architecture layer config manifest
    architecture=$(architecture "$binary")
    mkdir -p "$WORK/image/blobs/sha256"
    layer "$WORK/layer.tar" "$binary"
    layer=$(blob "$WORK/layer.tar")
    config_json "$architecture" "$layer" >"$WORK/config.json"
    config=$(blob "$WORK/config.json")
    manifest_json "$config" "$layer" >"$WORK/manifest.json"
    manifest=$(blob "$WORK/manifest.json")
    index_json "$manifest" "$architecture" >"$WORK/image/index.json"
    printf '{"imageLayoutVersion": "1.0.0"}\n' >"$WORK/image/oci-layout"
    # What `docker load` reads.
    printf '[{"Config": "blobs/sha256/%s", "RepoTags": ["%s"], "Layers": ["blobs/sha256/%s"]}]\n' \
        "$config" "$TAG" "$layer" >"$WORK/image/manifest.json"
    (cd "$WORK/image" && find . -mindepth 1 -printf '%P\n' | sort) >"$WORK/names"
    pack "$WORK/out.tar" "$WORK/image" 0 -T "$WORK/names"
    # Under its name it is whole.
    cp "$WORK/out.tar" "$out.unfinished"
    mv "$out.unfinished" "$out"
    printf '%s %s sha256:%s\n' "$out" "$TAG" "$manifest"
}

BINARY="" TAG="kekring:$(version)" OUT=""
while (($#)); do
    case $1 in
    --binary | --tag)
        (($# > 1)) || usage
        [[ "$1" == --tag ]] && TAG=$2 || BINARY=$2
        shift 2
        ;;
    -*) usage ;;
    *)
        [[ -z "$OUT" ]] || usage
        OUT=$1
        shift
        ;;
    esac
done
[[ -n "$OUT" ]] || usage
[[ "$TAG" =~ ^[a-z0-9._:/-]+:[A-Za-z0-9_][A-Za-z0-9._-]*$ ]] || fail "$TAG is not NAME:TAG"
WORK=$(mktemp -d)
chmod g-s "$WORK"
trap 'rm -rf "$WORK"' EXIT
[[ -n "$BINARY" ]] || BINARY=$("$ROOT/deploy/release/program.sh")
image "$BINARY" "$OUT"
