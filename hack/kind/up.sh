#!/usr/bin/env bash
# A kind cluster instead of the embedded control plane. Needs Docker, kind and kubectl.
#
#   hack/kind/up.sh          create it and print how to use it
#   hack/kind/up.sh down     delete it
#
# Not run where this was written: there was no Docker daemon.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
name=joulery
kubeconfig="$(cd "$here/../.." && pwd)/build/kind/kubeconfig"

for program in docker kind kubectl; do
  command -v "$program" >/dev/null || { echo "kind/up.sh: $program is missing" >&2; exit 1; }
done
docker info >/dev/null 2>&1 || { echo "kind/up.sh: no Docker daemon answers" >&2; exit 1; }

if [[ "${1:-up}" == down ]]; then
  kind delete cluster --name "$name" --kubeconfig "$kubeconfig"
  exit
fi

mkdir -p "$(dirname "$kubeconfig")"
if ! kind get clusters | grep --quiet --line-regexp "$name"; then
  kind create cluster --config "$here/cluster.yaml" --kubeconfig "$kubeconfig" --wait 120s
fi
# kind's own node is one "that we did not make": marked as ours, since this whole cluster is, and closed to pods
# that do not ask for it.
kubectl --kubeconfig "$kubeconfig" label --overwrite nodes --all joulery.dev/emulated=false
kubectl --kubeconfig "$kubeconfig" taint --overwrite nodes --all node-role.kubernetes.io/control-plane=:NoSchedule

echo "use it by"
echo "  export JOULERY_KUBECONFIG=$kubeconfig"
echo "  make test"
