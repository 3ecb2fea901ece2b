#!/usr/bin/env bash
# Makes a node image for kind where no image registry can be reached, from Debian's packages and one static program that
# is all of Kubernetes' and etcd's:
#
#   build.sh KUBERNETES VERSION WORK OUT.tar.zst
#
# OUT.tar.zst is what `zstd -dc | docker load` takes: the image kekring.test/node:VERSION. Needs root, debootstrap, zstd;
# no container engine.
set -euo pipefail
export LC_ALL=C
umask 022

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
KUBERNETES=$(realpath "$1") VERSION=$2 WORK=$(realpath "$3") OUT=$(realpath -m "$4")
NODE=$WORK/node

packages() {
    local list
    list=$(paste -sd, "$HERE/packages")
    debootstrap --variant=minbase --include="$list" bookworm "$NODE"
    rm -rf "$NODE"/var/lib/apt/lists/* "$NODE"/var/cache/apt/* "$NODE"/var/log/* \
        "$NODE"/usr/share/{doc,man,locale,info}/*
}

hash_of() {
    sha256sum "$1" | cut -d' ' -f1
}

# archive DIRECTORY OUT CONFIG NAME...: a directory as an image of one layer, with these names.
archive() {
    local dir=$1 out=$2 config=$3 image names
    shift 3
    image=$(mktemp -d -p "$WORK")
    tar --sort=name --mtime=@0 --numeric-owner -C "$dir" -cf "$image/layer.tar" .
    printf '{"architecture": "%s", "os": "linux", "config": %s, "rootfs": {"type": "layers", "diff_ids": ["sha256:%s"]}}' \
        "$(dpkg --print-architecture)" "$config" "$(hash_of "$image/layer.tar")" >"$image/config.json"
    names=$(printf ', "%s"' "$@")
    printf '[{"Config": "config.json", "RepoTags": [%s], "Layers": ["layer.tar"]}]' "${names#, }" >"$image/manifest.json"
    tar -C "$image" -cf "$out" manifest.json config.json layer.tar
    rm -rf "$image"
}

# One image under every name that kubeadm asks for; a Pod's first process is what it does by itself.
control_plane_image() {
    local root=$WORK/control-plane program
    mapfile -t images < <("$WORK/kubeadm" config images list --kubernetes-version "$VERSION" |
        grep -v -e /coredns/ -e /kube-proxy:)
    PAUSE=$(printf '%s\n' "${images[@]}" | grep /pause:)
    mkdir -p "$root"/{bin,etc,tmp}
    cp "$KUBERNETES" "$root/bin/kubernetes"
    for program in etcd etcdctl kube-apiserver kube-controller-manager kube-scheduler pause; do
        ln -s kubernetes "$root/bin/$program"
    done
    mkdir -p "$NODE/kind/images"
    archive "$root" "$NODE/kind/images/control-plane.tar" '{"Entrypoint": ["/bin/pause"], "Env": ["PATH=/bin"]}' \
        "${images[@]}"
}

files() {
    local program
    install -D "$KUBERNETES" "$NODE/usr/bin/kubernetes"
    for program in kubelet kubeadm kubectl; do
        ln -s kubernetes "$NODE/usr/bin/$program"
    done
    install "$HERE"/{entrypoint,kubelet-cgroups} "$NODE/usr/local/bin"
    install -m 0644 "$HERE/kubelet.service" "$NODE/etc/systemd/system"
    install -D -m 0644 "$HERE/images.conf" "$NODE/etc/systemd/system/containerd.service.d/images.conf"
    install -D -m 0644 "$HERE/network.conflist" "$NODE/etc/cni/net.d/10-none.conflist"
    sed "s|@PAUSE@|$PAUSE|" "$HERE/containerd.toml" >"$NODE/etc/containerd/config.toml"
    mkdir -p "$NODE/kind/manifests" "$NODE/etc/kubernetes/manifests"
    # One line; kind chooses kubeadm's configuration by it.
    echo "$VERSION" >"$NODE/kind/version"
}

# kind waits for a line that systemd writes to the console, and a login there would end such lines.
units() {
    local unit
    mkdir -p "$NODE/etc/systemd/system/multi-user.target.wants"
    ln -s ../kubelet.service "$NODE/etc/systemd/system/multi-user.target.wants"
    for unit in console-getty.service getty.target systemd-logind.service apt-daily.timer apt-daily-upgrade.timer \
        e2scrub_all.timer e2scrub_reap.service dpkg-db-backup.timer fstrim.timer; do
        ln -sfn /dev/null "$NODE/etc/systemd/system/$unit"
    done
}

mkdir -p "$NODE"
ln -s "$KUBERNETES" "$WORK/kubeadm"
packages
control_plane_image
files
units
archive "$NODE" "$WORK/image.tar" '{"Entrypoint": ["/usr/local/bin/entrypoint"], "Env": ["container=docker"]}' \
    "kekring.test/node:$VERSION"
zstd -q -3 -T0 "$WORK/image.tar" -o "$OUT"
