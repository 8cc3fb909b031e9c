{{/* The configuration with all tenants, as JSON. */}}
{{- define "scopegate.policy" -}}
{{- $policy := .Values.policy -}}
{{- if kindIs "string" $policy -}}{{- $policy = mustFromJson $policy -}}{{- end -}}
{{- if not $policy -}}
{{- fail "policy is empty: set it, for example by --set-file policy=policy.json, which `scopegate bundle` writes" -}}
{{- end -}}
{{- $added := list (dict "place" "the value `tenants`" "tenants" (.Values.tenants | default list)) -}}
{{- if .Values.tenantConfigMaps.enabled -}}
{{- $added = concat $added (include "scopegate.config-maps" . | fromJsonArray) -}}
{{- end -}}
{{- $tenants := get $policy "tenants" | default list -}}
{{- $places := dict -}}
{{- range $tenants -}}{{- $_ := set $places .id "the value `policy`" -}}{{- end -}}
{{- range $added -}}
{{- $place := .place -}}
{{- range .tenants -}}
{{- if hasKey $places .id -}}
{{- fail (printf "%s: tenant `%s` stands in %s too" $place .id (get $places .id)) -}}
{{- end -}}
{{- $_ := set $places .id $place -}}
{{- $tenants = append $tenants . -}}
{{- end -}}
{{- end -}}
{{- if $tenants -}}
{{- if hasKey $policy "compact" -}}
{{- fail "policy is compact: bundle its tenants with it, or leave out --compact" -}}
{{- end -}}
{{- $policy = merge (dict "tenants" $tenants) $policy -}}
{{- end -}}
{{- toJson $policy -}}
{{- end -}}

{{/* The tenants of each entry of the labelled ConfigMaps, and the place it stands in, as JSON. */}}
{{- define "scopegate.config-maps" -}}
{{- $found := lookup "v1" "ConfigMap" .Release.Namespace "" -}}
{{- /* Without a cluster `lookup` finds an empty map, where a cluster without ConfigMaps has an empty list. */ -}}
{{- if not (hasKey $found "items") -}}
{{- fail "tenantConfigMaps: Helm sees no cluster here, so the tenants of ConfigMaps would be left out. `helm template` needs --dry-run=server; with Argo CD and `helm lint` set tenantConfigMaps.enabled=false, and bundle the tenants instead (deploy/kustomize/tenants.sh)" -}}
{{- end -}}
{{- $entries := list -}}
{{- range $map := $found.items -}}
{{- $labels := dig "metadata" "labels" dict $map -}}
{{- $wanted := true -}}
{{- range $label, $value := $.Values.tenantConfigMaps.labels -}}
{{- if not (and (hasKey $labels $label) (eq (get $labels $label) $value)) -}}{{- $wanted = false -}}{{- end -}}
{{- end -}}
{{- if $wanted -}}
{{- $of := printf "ConfigMap %s/%s" $map.metadata.namespace $map.metadata.name -}}
{{- if hasKey $map "binaryData" -}}{{- fail (printf "%s has `binaryData`: tenants are text, in `data`" $of) -}}{{- end -}}
{{- range $name, $text := $map.data -}}
{{- $place := printf "%s, entry %s" $of $name -}}
{{- $entries = append $entries (dict "place" $place "tenants" (include "scopegate.tenants" (list $place $text) | fromJsonArray)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- toJson $entries -}}
{{- end -}}

{{/* A list of tenants in YAML, as JSON; fails where it is none, with the place it stands in. */}}
{{- define "scopegate.tenants" -}}
{{- $place := index . 0 -}}
{{- $text := index . 1 -}}
{{- if regexMatch "(?m)^---(\\s|$)" $text -}}
{{- fail (printf "%s: holds more than one YAML document, or a line `---`: Helm reads the first alone" $place) -}}
{{- end -}}
{{- $tenants := fromYamlArray $text -}}
{{- range $index, $tenant := $tenants -}}
{{- $item := printf "%s: item %d" $place (add1 $index) -}}
{{- if and (kindIs "string" $tenant) (hasPrefix "error " $tenant) -}}
{{- /* How `fromYamlArray` tells of a mistake. */ -}}
{{- fail (printf "%s: is no list of tenants in YAML: %s" $place $tenant) -}}
{{- else if not (kindIs "map" $tenant) -}}
{{- fail (printf "%s is no tenant: it is a %s" $item (kindOf $tenant)) -}}
{{- else if not (hasKey $tenant "id") -}}
{{- fail (printf "%s is no tenant: it has no `id`" $item) -}}
{{- else if not (kindIs "string" $tenant.id) -}}
{{- fail (printf "%s has the `id` %v, which is no text: write it in quotes" $item $tenant.id) -}}
{{- end -}}
{{- end -}}
{{- toJson $tenants -}}
{{- end -}}

{{/* RBAC behind the filter: lets pass only what the filter has let pass. */}}
{{- define "scopegate.tripwire" -}}
name: scopegate-tripwire
typed_config:
  "@type": type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC
  rules_stat_prefix: scopegate_tripwire
  rules:
    action: DENY
    policies:
      not-decided-by-scopegate:
        permissions: [{any: true}]
        principals:
          - not_id:
              or_ids:
                ids:
                  - filter_state: {key: wasm.scopegate.decision, string_match: {exact: allow}}
                  - filter_state: {key: wasm.scopegate.decision, string_match: {exact: shadow}}
{{- end -}}

{{- define "scopegate.istio.wasm" -}}
url: {{ .Values.image.url | quote }}
{{- with .Values.image.sha256 }}
sha256: {{ . }}
{{- end }}
failStrategy: FAIL_RELOAD
{{- with .Values.env }}
vmConfig:
  env:
    {{- range . }}
    - {name: {{ . }}, valueFrom: HOST}
    {{- end }}
{{- end }}
pluginConfig: {{ include "scopegate.policy" . }}
{{- end -}}
