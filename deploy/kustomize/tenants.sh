#!/bin/sh
# Writes the ConfigMaps that hold tenants, as a part of a configuration: deploy/kustomize/tenants.sh NAMESPACE [KUBECTL-ARGUMENT...]
#
# ConfigMaps with the label scopegate/tenants=true count; each of their entries is a list of tenants in YAML. `scopegate bundle`
# takes them as they are beside the other parts of a configuration, and checks the whole:
#
#   deploy/kustomize/tenants.sh gateway > gateway/tenants-of-the-cluster.json
#   scopegate bundle gateway/ -o policy.json
set -eu
namespace=$1
shift
exec "${KUBECTL:-kubectl}" "$@" get configmaps --namespace "$namespace" --selector scopegate/tenants=true --output json
