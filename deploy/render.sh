#!/bin/sh
# Writes the files of deploy/ that carry the configuration: deploy/render.sh TOOL POLICY DIRECTORY
#
# WASM: the wasm file as Envoy finds it. IMAGE, SHA256: the OCI image and its digest. FILE_URL, FILE_SHA256: the wasm
# file by HTTP and its SHA-256. Those that are left out stand for a file to be filled in.
set -eu
tool=$1 policy=$2 directory=$3
mkdir -p "$directory/envoy/scopegate" "$directory/istio" "$directory/istio-traffic-extension" "$directory/envoy-gateway"
image=${IMAGE:-oci://registry.example.com/scopegate:0.1.0}
file=${FILE_URL:-https://files.example.com/scopegate.wasm}

"$tool" render "$policy" --as ecds --wasm "${WASM:-/etc/envoy/scopegate/scopegate.wasm}" \
  > "$directory/envoy/scopegate/filter.yaml"
"$tool" render "$policy" --as istio --image "$image" ${SHA256:+--sha256 "$SHA256"} \
  --cluster 'idp=outbound|443||login.example.com' > "$directory/istio/scopegate.yaml"
"$tool" render "$policy" --as istio-traffic-extension --image "$image" ${SHA256:+--sha256 "$SHA256"} \
  --cluster 'idp=outbound|443||login.example.com' > "$directory/istio-traffic-extension/scopegate.yaml"
"$tool" render "$policy" --as envoy-gateway --image "$image" ${SHA256:+--sha256 "$SHA256"} \
  > "$directory/envoy-gateway/scopegate.yaml"
"$tool" render "$policy" --as envoy-gateway --image "$file" ${FILE_SHA256:+--sha256 "$FILE_SHA256"} \
  > "$directory/envoy-gateway/scopegate-by-http.yaml"
