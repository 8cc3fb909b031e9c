#!/bin/sh
# Writes the patch that puts a configuration into a base: deploy/kustomize/policy.sh TOOL POLICY BASE [RENDER-ARGUMENT...]
#
# BASE: istio, istio-traffic-extension, envoy-gateway. POLICY is checked; what the filter would refuse is not written.
# Arguments such as --cluster NAME=NAME are for `scopegate render`.
set -eu
tool=$1 policy=$2 base=$3
shift 3
case $base in
  istio) path=/spec/pluginConfig ;;
  istio-traffic-extension) path=/spec/wasm/pluginConfig ;;
  envoy-gateway) path=/spec/wasm/0/config ;;
  *) echo "policy.sh: no base is called $base: istio, istio-traffic-extension, envoy-gateway" >&2; exit 2 ;;
esac
configuration=$("$tool" render "$policy" "$@")
printf '[{"op": "replace", "path": "%s", "value": %s}]\n' "$path" "$configuration"
