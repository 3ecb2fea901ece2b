#!/usr/bin/env bash
# Has kube-apiserver write objects once more, under the provider and the key that it encrypts with now, and changes
# nothing in them. README.md beside this says when, and how to see that it is done.
#
#   rewrite.sh [--names FILE] [--encryption-config FILE] RESOURCE...
#
# A RESOURCE is one of EncryptionConfiguration: secrets, things.example.com. It waits until each kube-apiserver has the
# EncryptionConfiguration of this node and kekring's active key, at most three minutes. --names has lines of a namespace and a
# name, for where a list fails. Ends with 0 when every object is written, and with 1 when not: each that is not is named.
set -euo pipefail
export LC_ALL=C

# kube-apiserver asks for the key each minute, and looks for a new file as often.
PATIENCE=180
# Objects for one kubectl, and how many of them run at once.
BATCH=100 AT_ONCE=4

usage() {
    sed -n 's/^# \{0,1\}//; 5,9p' "$0" >&2
    exit 2
}

fail() {
    echo "rewrite.sh: $1" >&2
    exit 1
}

# Each kube-apiserver by its own address, where the cluster knows them: none behind a balancer answers for another.
servers() {
    # shellcheck disable=SC2016
    kubectl --namespace default get endpointslices --selector kubernetes.io/service-name=kubernetes -o go-template='
        {{- range .items}}{{$v6 := eq .addressType "IPv6"}}{{$port := (index .ports 0).port}}{{range .endpoints -}}
        https://{{if $v6}}[{{end}}{{index .addresses 0}}{{if $v6}}]{{end}}:{{$port}}{{"\n"}}{{end}}{{end}}'
}

# ask SERVER PATH
ask() {
    if [[ $1 == "the kube-apiserver" ]]; then
        kubectl get --raw "$2"
    else
        kubectl --server "$1" --tls-server-name kubernetes get --raw "$2"
    fi
}

# What a kube-apiserver does not have yet, by its metrics; nothing when it has all. The check makes it ask for the key.
lacks() {
    local metrics=$WORK/metrics
    if ! ask "$1" /readyz/kms-providers >"$WORK/ready" 2>&1; then
        echo "its check kms-providers fails: $(tr '\n' ' ' <"$WORK/ready")"
    elif ! ask "$1" /metrics >"$metrics" 2>"$WORK/ready"; then
        echo "it does not show its metrics: $(tr '\n' ' ' <"$WORK/ready")"
    elif ! has_configuration <"$metrics"; then
        echo "it has not taken $CONFIGURATION"
    elif ! has_key <"$metrics"; then
        echo "it has not been told $KEY yet"
    fi
}

# By the hash of the file; where there is none, as before Kubernetes 1.34, by when it was read.
has_configuration() {
    local hash changed
    hash=$(sha256sum <"$CONFIGURATION")
    changed=$(stat --format %Z "$CONFIGURATION")
    awk -v hash="hash=\"sha256:${hash%% *}\"" -v changed="$changed" '
        /^apiserver_encryption_config_controller_last_config_info\{/ {known = 1; if (index($0, "," hash)) same = 1}
        /^apiserver_encryption_config_controller_automatic_reload_last_timestamp_seconds\{.*"success"/ || /^process_start_time_seconds / {
            if ($NF > changed) later = 1
        }
        END {exit !(known ? same : later)}'
}

# What Status said last to each provider that is kekring.
has_key() {
    local hash
    hash=$(printf %s "$KEY" | sha256sum)
    awk -F '"' -v hash="sha256:${hash%% *}" '
        /^apiserver_envelope_encryption_key_id_hash_status_last_timestamp_seconds\{/ && $6 ~ /^kekring/ {
            sub(/^[^ ]* /, "", $7)
            if ($7 + 0 >= newest[$6]) {newest[$6] = $7 + 0; told[$6] = $4}
        }
        END {for (it in told) {n++; if (told[it] != hash) exit 1}; exit !n}'
}

wait_for_each_server() {
    local server missing servers
    servers=$(servers)
    while IFS= read -r server; do
        while missing=$(lacks "$server") && [[ -n $missing ]]; do
            ((SECONDS < PATIENCE)) || fail "$server is not ready for this: $missing; nothing was rewritten"
            sleep 1
        done
        echo "$server encrypts by $CONFIGURATION, and kekring's key is $KEY"
    done <<<"${servers:-the kube-apiserver}"
}

# Lines of a namespace, or `-`, and a name. A list with an object that cannot be read is an error: then each namespace for
# itself, and one that cannot be listed is told of at the end.
names() {
    local resource=$1 namespace
    if [[ -n $NAMES ]]; then
        sed '/^$/d' "$NAMES"
    elif grep -qxF "$resource" "$WORK/cluster-scoped"; then
        list "$resource" || not_listed "$resource"
        awk '{print "-", $1}' "$WORK/list"
    elif list "$resource" --all-namespaces; then
        awk '{print $1, $2}' "$WORK/list"
    else
        kubectl get namespaces --no-headers >"$WORK/namespaces"
        while read -r namespace _; do
            list "$resource" --namespace "$namespace" || not_listed "$resource of $namespace"
            awk -v namespace="$namespace" '{print namespace, $1}' "$WORK/list"
        done <"$WORK/namespaces"
    fi
}

list() {
    kubectl get "$@" --no-headers >"$WORK/list" 2>"$WORK/why"
}

not_listed() {
    echo "the $1, since they cannot be listed: $(tr '\n' ' ' <"$WORK/why")" >>"$WORK/failed"
    : >"$WORK/list"
}

# patch RESOURCE NAMESPACE NAME...: an empty patch is written where the stored form is not the one that is written now, and
# goes into no annotation. One that fails does not stop the others.
patch() {
    local resource=$1 namespace=$2 where=()
    shift 2
    [[ $namespace == - ]] || where=(--namespace "$namespace")
    kubectl "${where[@]}" patch "$resource" "$@" --type merge --patch '{}'
}

# Says which objects were written; the error of each that was not comes when it is tried again by itself.
patch_batch() {
    patch "$@" 2>/dev/null | sed -n "s|^[^/ ]*/\([^ ]*\) patched|$2 \1|p" >"$WORK/done.$BASHPID" || true
}

rewrite() {
    local resource=$1 namespace name why
    names "$resource" | sort >"$WORK/names"
    awk -v most="$BATCH" '
        $1 != namespace || n == most {if (n) print ""; namespace = $1; n = 0; printf "%s", $1}
        {n++; printf " %s", $2}
        END {if (NR) print ""}' "$WORK/names" >"$WORK/batches"
    xargs --no-run-if-empty -P "$AT_ONCE" -L 1 bash -c 'patch_batch "$@"' patch_batch "$resource" <"$WORK/batches"
    find "$WORK" -name 'done.*' -exec cat {} + >"$WORK/done"
    rm -f "$WORK"/done.*
    awk 'NR == FNR {done[$1, $2]; next} !(($1, $2) in done)' "$WORK/done" "$WORK/names" >"$WORK/again"
    while read -r namespace name; do
        if why=$(patch "$resource" "$namespace" "$name" 2>&1); then
            echo "$namespace $name ${why#* patched}" >>"$WORK/done"
        elif ! gone "$resource" "$namespace" "$name"; then
            echo "$resource $namespace/$name: $why" >>"$WORK/failed"
        fi
    done <"$WORK/again"
    [[ ! -s $WORK/names ]] || echo "$resource: $(grep -vc 'no change' "$WORK/done" || true) rewritten, $(grep -c 'no change' "$WORK/done" || true) were up to date"
}

gone() {
    local resource=$1 namespace=$2 name=$3 where=()
    [[ $namespace == - ]] || where=(--namespace "$namespace")
    [[ -z $(kubectl "${where[@]}" get "$resource" "$name" --ignore-not-found -o name 2>&1) ]]
}

NAMES="" CONFIGURATION=/etc/kubernetes/kekring/encryption.yaml
while (($#)); do
    case $1 in
    --names | --encryption-config)
        (($# > 1)) || usage
        [[ $1 == --names ]] && NAMES=$2 || CONFIGURATION=$2
        shift 2
        ;;
    -*) usage ;;
    *) break ;;
    esac
done
(($#)) || usage
for resource in "$@"; do
    [[ $resource != events && $resource != events.* ]] || fail "leave $resource away: they expire within the hour"
done
[[ -r $CONFIGURATION ]] || fail "cannot read $CONFIGURATION: name the file of kube-apiserver by --encryption-config"
[[ -z $NAMES || -r $NAMES ]] || fail "cannot read $NAMES"

WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT
export WORK
export -f patch patch_batch
touch "$WORK/failed"
KEY=$(kekring probe | sed -n 's/.*, key \([^ ,]*\) in .*/\1/p')
[[ -n $KEY ]] || fail "kekring does not say its key: what is rewritten must be read first"
wait_for_each_server
kubectl api-resources --namespaced=false -o name >"$WORK/cluster-scoped" || echo "rewrite.sh: not every API answers" >&2
for resource in "$@"; do
    rewrite "$resource"
done
if [[ -s $WORK/failed ]]; then
    sed 's/^/NOT REWRITTEN: /' "$WORK/failed" >&2
    fail "$(wc -l <"$WORK/failed") failed; the others are written"
fi
