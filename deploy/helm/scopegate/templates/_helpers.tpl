{{/* The configuration with all tenants, as JSON. */}}
{{- define "scopegate.policy" -}}
{{- $policy := .Values.policy -}}
{{- if kindIs "string" $policy -}}{{- $policy = mustFromJson $policy -}}{{- end -}}
{{- if not $policy -}}
{{- fail "policy is empty: set it, for example by --set-file policy=policy.json, which `scopegate bundle` writes" -}}
{{- end -}}
{{- $tenants := .Values.tenants | default list -}}
{{- if .Values.tenantConfigMaps.enabled -}}
{{- range $map := (lookup "v1" "ConfigMap" .Release.Namespace "").items -}}
{{- $wanted := true -}}
{{- range $label, $value := $.Values.tenantConfigMaps.labels -}}
{{- if ne (dig "metadata" "labels" $label "" $map) $value -}}{{- $wanted = false -}}{{- end -}}
{{- end -}}
{{- if $wanted -}}
{{- range $name, $text := $map.data -}}
{{- $tenants = concat $tenants (fromYamlArray $text) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if $tenants -}}
{{- if hasKey $policy "compact" -}}
{{- fail "policy is compact: bundle its tenants with it, or leave out --compact" -}}
{{- end -}}
{{- $policy = merge (dict "tenants" (concat (get $policy "tenants" | default list) $tenants)) $policy -}}
{{- end -}}
{{- toJson $policy -}}
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
