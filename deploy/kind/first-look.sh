#!/usr/bin/env bash
# A first look at kekring: a kind cluster whose Secrets it encrypts, and one of them as it lies in etcd.
#
#   first-look.sh up [--name NAME] [--node-image IMAGE] [--cluster FILE] [--binary FILE]
#   first-look.sh down [--name NAME]
#
# `up` makes the cluster, named kekring where no --name is given, and `down` deletes it with everything that `up` made.
# Needs Docker, and kind 0.33 or Go to install it with. --node-image is another node image than kind's own, --cluster
# another configuration than cluster.yaml, and --binary a static program that is there already: without it, kekring is
# built by cargo.
set -euo pipefail
umask 022

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
ROOT=$(cd "$HERE/../.." && pwd -P)
KIND_VERSION=v0.33.0

usage() {
    sed -n 's/^# \{0,1\}//; 2,6p' "${BASH_SOURCE[0]}" >&2
    exit 2
}

fail() {
    printf 'first-look.sh: %s\n' "$*" >&2
    exit 1
}

# Says what is done next, and after how many seconds.
say() {
    printf '\n%4d s  %s\n' "$SECONDS" "$*"
}

# Finds kind, or installs it into the user's cache.
find_kind() {
    local cache=${XDG_CACHE_HOME:-$HOME/.cache}/kekring/kind-$KIND_VERSION
    KIND=$(command -v kind || true)
    [[ -n "$KIND" ]] || KIND=$cache/kind
    [[ -x "$KIND" ]] && return
    command -v go >/dev/null || fail "needs kind: https://kind.sigs.k8s.io says how to install it"
    say "installing kind $KIND_VERSION into $cache"
    GOBIN=$cache go install "sigs.k8s.io/kind@$KIND_VERSION"
}

# The programs of the cluster, run in its node.
in_node() {
    docker exec "$NODE" "$@"
}

# kubectl runs in the node too, so that this needs none, and touches nobody's kubeconfig.
kubectl() {
    in_node kubectl "$@"
}

# What lies in etcd under a key, byte for byte.
etcd_value() {
    local pki=/etc/kubernetes/pki/etcd
    kubectl exec --namespace kube-system "etcd-$NODE" -- etcdctl --cacert $pki/ca.crt \
        --cert $pki/healthcheck-client.crt --key $pki/healthcheck-client.key get --print-value-only "$1"
}

# kekring out of its image, with the directories that its Pod will have.
kekring() {
    docker run --rm --network none --user 0:0 --volume "$DIR/etc:/etc/kekring" --volume "$DIR/ring:/var/lib/kekring" \
        "$IMAGE" "$@"
}

prepare() {
    mkdir -p "$DIR"/{encryption,etc,image,manifests}
    mkdir -m 0700 "$DIR/ring"
    say "kekring's image"
    "$ROOT/deploy/container/image.sh" ${BINARY:+--binary "$BINARY"} --tag "$IMAGE" "$DIR/image/kekring.tar"
    docker load --quiet --input "$DIR/image/kekring.tar"
    cat >"$DIR/image/containerd.conf" <<'CONF'
[Service]
ExecStartPost=-/bin/sh -c 'exec ctr --namespace k8s.io images import /kekring/kekring.tar'
CONF

    say "a ring, and the configurations"
    # A node of kind has another machine id after each start; the ring belongs to the cluster.
    cp "$ROOT/deploy/static-pod/config.yaml" "$DIR/etc/config.yaml"
    printf '\n# kind gives the node another machine id at each start.\nnode: {machineIdFile: /etc/kekring/machine-id}\n' \
        >>"$DIR/etc/config.yaml"
    tr -d - </proc/sys/kernel/random/uuid >"$DIR/etc/machine-id"
    kekring init --no-recovery
    (umask 077 && kekring config encryption >"$DIR/encryption/encryption.yaml")
    cp "$ROOT/deploy/static-pod/kekring.yaml" "$DIR/manifests/"
    sed "s|@DIR@|$DIR|" "$CLUSTER" >"$DIR/cluster.yaml"
}

up() {
    [[ ! -e "$DIR" ]] || fail "$DIR is there already: \`$0 down --name $NAME\` first"
    find_kind
    prepare
    say "the cluster"
    "$KIND" create cluster --name "$NAME" --config "$DIR/cluster.yaml" --kubeconfig "$DIR/kubeconfig" --wait 2m \
        ${NODE_IMAGE:+--image "$NODE_IMAGE"}
    say "a Secret"
    kubectl create secret generic first-look --from-literal=password=hunter2
    say "the same Secret in etcd"
    etcd_value /registry/secrets/default/first-look | head -c 160 | od -A d -t x1z
    say "and as kubectl shows it"
    kubectl get secret first-look --output 'jsonpath={.data.password}' | base64 --decode
    printf '\n'
    say "done"
    cat <<TEXT
Go on with:
    export KUBECONFIG=$DIR/kubeconfig
    kubectl get secrets --all-namespaces
    kubectl exec --namespace kube-system kekring-$NODE -- kekring status
    kubectl exec --namespace kube-system kekring-$NODE -- kekring rotate
Delete everything with:
    $0 down${NAME_GIVEN:+ --name $NAME}
TEXT
}

# What kekring and the node wrote belongs to root, so the node removes it.
down() {
    find_kind
    if in_node true 2>/dev/null; then
        in_node find /etc/kekring /var/lib/kekring /etc/kubernetes/manifests -mindepth 1 -delete
    fi
    "$KIND" delete cluster --name "$NAME" --kubeconfig "$DIR/kubeconfig"
    docker image rm "$IMAGE" >/dev/null 2>&1 || true
    rm -rf "$DIR" || fail "the node did not run: remove $DIR as root"
}

(($#)) || usage
VERB=$1 NAME=kekring NAME_GIVEN="" NODE_IMAGE="" CLUSTER=$HERE/cluster.yaml BINARY=""
shift
while (($#)); do
    (($# > 1)) || usage
    case $1 in
    --name) NAME=$2 NAME_GIVEN=yes ;;
    --node-image) NODE_IMAGE=$2 ;;
    --cluster) CLUSTER=$2 ;;
    --binary) BINARY=$2 ;;
    *) usage ;;
    esac
    shift 2
done
NODE=$NAME-control-plane
DIR=$ROOT/target/kind/$NAME
IMAGE=$(sed -n 's/^ *image: *//p' "$ROOT/deploy/static-pod/kekring.yaml")
case $VERB in
up | down) "$VERB" ;;
*) usage ;;
esac
