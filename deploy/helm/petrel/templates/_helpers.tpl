{{/* A value as a variable has it: lists by commas, whole numbers without an exponent. */}}
{{- define "petrel.text" -}}
{{- if kindIs "slice" . -}}
{{- $parts := list -}}
{{- range . }}{{ $parts = append $parts (include "petrel.text" .) }}{{ end -}}
{{- join "," $parts -}}
{{- else if and (kindIs "float64" .) (eq (floor .) .) -}}
{{- printf "%.0f" . -}}
{{- else -}}
{{- toString . -}}
{{- end -}}
{{- end -}}

{{/*
The name of the volume of a Secret or ConfigMap, as `secret-push-tls`. A volume's has no dots and 63 characters at most, a
Secret's may have both more: then a hash tells it from others. Takes `kind` and `source`.
*/}}
{{- define "petrel.volume" -}}
{{- $name := printf "%s-%s" .kind .source -}}
{{- if or (contains "." $name) (gt (len $name) 63) -}}
{{- $name = printf "%s-%s" (replace "." "-" $name | trunc 50 | trimSuffix "-") (sha256sum .source | trunc 8) -}}
{{- end -}}
{{- $name -}}
{{- end -}}

{{/* The services that read a variable. Takes `readers` and `variable`. */}}
{{- define "petrel.readers" -}}
{{- if not (hasKey .readers .variable) }}{{ fail (printf "no service reads %s" .variable) }}{{ end -}}
{{- join " " (get .readers .variable) -}}
{{- end -}}

{{/* An object of base/ as it goes to the cluster. Takes `root` and `object`. */}}
{{- define "petrel.object" -}}
{{- $metadata := .object.metadata -}}
{{- $labels := get $metadata "labels" | default dict -}}
{{- $_ := set $labels "app.kubernetes.io/part-of" "petrel" -}}
{{- $_ := set $labels "app.kubernetes.io/managed-by" .root.Release.Service -}}
{{- $_ := set $labels "helm.sh/chart" (printf "%s-%s" .root.Chart.Name .root.Chart.Version) -}}
{{- $_ := set $metadata "labels" $labels -}}
{{- $_ := set $metadata "namespace" .root.Release.Namespace }}
---
{{ toYaml .object }}
{{ end -}}

{{/* Every ConfigMap's data, by its name: what the base has, then `settings`, then those of a service. */}}
{{- define "petrel.configMaps" -}}
{{- $readers := .Files.Get "base/settings.yaml" | fromYaml -}}
{{- $all := dict -}}
{{- range (.Files.Get "base/objects.yaml" | fromYaml).items -}}
{{- if and (eq .kind "ConfigMap") (ne .metadata.name "petrel-topics") }}{{ $_ := set $all .metadata.name .data }}{{ end -}}
{{- end -}}
{{- range $variable, $value := .Values.settings -}}
{{- $text := include "petrel.text" $value -}}
{{- $services := splitList " " (include "petrel.readers" (dict "readers" $readers "variable" $variable)) -}}
{{- if or (hasKey (index $all "petrel-common") $variable) (eq (len $services) 4) -}}
{{- $_ := set (index $all "petrel-common") $variable $text -}}
{{- else -}}
{{- range $services }}{{ $_ := set (index $all (printf "petrel-%s" .)) $variable $text }}{{ end -}}
{{- end -}}
{{- end -}}
{{- range $service, $own := .Values.services -}}
{{- range $variable, $value := $own.settings -}}
{{- if eq $variable "PARTITIONS" -}}
{{- fail (printf "PARTITIONS is one number for all services: set settings.PARTITIONS, not services.%s.settings.PARTITIONS" $service) -}}
{{- end -}}
{{- $services := splitList " " (include "petrel.readers" (dict "readers" $readers "variable" $variable)) -}}
{{- if not (has $service $services) }}{{ fail (printf "%s does not read %s" $service $variable) }}{{ end -}}
{{- $_ := set (index $all (printf "petrel-%s" $service)) $variable (include "petrel.text" $value) -}}
{{- end -}}
{{- end -}}
{{- /* With TLS up to the services, auth is asked over TLS too. */ -}}
{{- if and (hasKey .Values.files "TLS_CERT_FILE") (not (hasKey .Values.settings "AUTH_URL")) -}}
{{- $_ := set (index $all "petrel-push-node") "AUTH_URL" "https://auth:7101" -}}
{{- end -}}
{{- toYaml $all -}}
{{- end -}}
