#!/bin/sh
# Writes the tenants that ConfigMaps hold as a part of a configuration: deploy/kustomize/tenants.sh NAMESPACE [KUBECTL-ARGUMENT...]
#
# ConfigMaps with the label scopegate/tenants=true count; each of their entries is a list of tenants in YAML that begins at
# the margin. `scopegate bundle` puts the parts of a configuration together and checks them:
#
#   deploy/kustomize/tenants.sh gateway > gateway/tenants-of-the-cluster.yaml
#   scopegate bundle gateway/ -o policy.json
set -eu
namespace=$1
shift
exec "${KUBECTL:-kubectl}" "$@" get configmaps --namespace "$namespace" --selector scopegate/tenants=true \
  --output go-template='tenants:{{"\n"}}{{range .items}}{{range .data}}{{.}}{{"\n"}}{{end}}{{end}}'
