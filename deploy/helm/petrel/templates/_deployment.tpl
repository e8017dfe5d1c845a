{{- define "petrel.image" -}}
{{- $image := printf "petrel/%s" .name -}}
{{- with .images.registry }}{{ $image = printf "%s/%s" (trimSuffix "/" .) $image }}{{ end -}}
{{- $digest := get .images.digests .name -}}
{{- if $digest }}{{ printf "%s@%s" $image $digest }}{{ else }}{{ printf "%s:%s" $image (.images.tag | default .version) }}{{ end -}}
{{- end -}}

{{/* Changes the Deployment of a service as the values say. Takes `root`, `object` and `configMaps`. */}}
{{- define "petrel.deployment" -}}
{{- $values := .root.Values -}}
{{- $readers := .root.Files.Get "base/settings.yaml" | fromYaml -}}
{{- $name := .object.metadata.name -}}
{{- $own := index $values.services $name -}}
{{- $template := .object.spec.template -}}
{{- $pod := $template.spec -}}
{{- $container := first $pod.containers -}}
{{- $config := merge (deepCopy (index .configMaps (printf "petrel-%s" $name) | default dict)) (deepCopy (index .configMaps "petrel-common")) -}}

{{- $_ := set $container "image" (include "petrel.image" (dict "images" $values.images "name" $name "version" .root.Chart.AppVersion)) -}}
{{- $_ := set $container "imagePullPolicy" $values.images.pullPolicy -}}
{{- $pullSecrets := list -}}
{{- range $values.images.pullSecrets }}{{ $pullSecrets = append $pullSecrets (dict "name" .) }}{{ end -}}
{{- with $pullSecrets }}{{ $_ := set $pod "imagePullSecrets" . }}{{ end -}}

{{- /* Secrets under names of one's own. */ -}}
{{- range $container.env -}}
{{- with dig "valueFrom" "secretKeyRef" nil . }}{{ if eq .name "petrel-redis" }}{{ $_ := set . "name" $values.secrets.redis }}{{ end }}{{ end -}}
{{- end -}}
{{- range $pod.volumes -}}
{{- with get . "secret" }}{{ if eq .secretName "petrel-auth" }}{{ $_ := set . "secretName" $values.secrets.auth }}{{ end }}{{ end -}}
{{- end -}}

{{- /* Variables from Secrets, and files: a directory for each Secret or ConfigMap, so that a change reaches the pod. */ -}}
{{- $env := $container.env -}}
{{- range $variable, $from := $values.settingsFromSecrets -}}
{{- if has $name (splitList " " (include "petrel.readers" (dict "readers" $readers "variable" $variable))) -}}
{{- $env = append $env (dict "name" $variable "valueFrom" (dict "secretKeyRef" (dict "name" $from.secret "key" $from.key))) -}}
{{- end -}}
{{- end -}}
{{- range $values.extraEnv -}}
{{- if hasKey $readers .name }}{{ fail (printf "extraEnv: %s is a setting; put it into settings, settingsFromSecrets or files" .name) }}{{ end -}}
{{- $env = append $env . -}}
{{- end -}}
{{- $sources := dict -}}
{{- $taken := list -}}
{{- range get $container "volumeMounts" }}{{ $taken = append $taken .mountPath }}{{ end -}}
{{- range $variable, $from := $values.files -}}
{{- if has $name (splitList " " (include "petrel.readers" (dict "readers" $readers "variable" $variable))) -}}
{{- $isSecret := hasKey $from "secret" -}}
{{- $source := ternary (get $from "secret") (get $from "configMap") $isSecret -}}
{{- $directory := printf "%s/%s" (ternary "/run/secrets" "/etc/petrel" $isSecret) $source -}}
{{- /* No Secret's name has an underscore, so this place is free: that of the base's own files is taken. */ -}}
{{- if has $directory $taken }}{{ $directory = printf "%s/_%s" (dir $directory) $source }}{{ end -}}
{{- $env = append $env (dict "name" $variable "value" (printf "%s/%s" $directory $from.key)) -}}
{{- $volume := include "petrel.volume" (dict "kind" (ternary "secret" "config" $isSecret) "source" $source) -}}
{{- $seen := get $sources $volume | default (dict "isSecret" $isSecret "source" $source "directory" $directory "keys" list) -}}
{{- $_ := set $seen "keys" (append $seen.keys $from.key) -}}
{{- $_ := set $sources $volume $seen -}}
{{- end -}}
{{- end -}}
{{- $_ := set $container "env" $env -}}
{{- $volumes := get $pod "volumes" | default list -}}
{{- $mounts := get $container "volumeMounts" | default list -}}
{{- range $volume, $one := $sources -}}
{{- $items := list -}}
{{- range uniq $one.keys }}{{ $items = append $items (dict "key" . "path" .) }}{{ end -}}
{{- if $one.isSecret -}}
{{- /* 0440, read through fsGroup. */ -}}
{{- $volumes = append $volumes (dict "name" $volume "secret" (dict "secretName" $one.source "defaultMode" 288 "items" $items)) -}}
{{- else -}}
{{- $volumes = append $volumes (dict "name" $volume "configMap" (dict "name" $one.source "items" $items)) -}}
{{- end -}}
{{- $mounts = append $mounts (dict "name" $volume "mountPath" $one.directory "readOnly" true) -}}
{{- end -}}
{{- with $volumes }}{{ $_ := set $pod "volumes" . }}{{ end -}}
{{- with $mounts }}{{ $_ := set $container "volumeMounts" . }}{{ end -}}

{{- if hasKey $values.files "TLS_CLIENT_CA_FILE" }}{{ fail "files.TLS_CLIENT_CA_FILE: the kubelet's probes send no certificate, and every pod would be restarted" }}{{ end -}}
{{- if hasKey $values.files "TLS_CERT_FILE" -}}
{{- range list "startupProbe" "readinessProbe" "livenessProbe" -}}
{{- with dig . "httpGet" nil $container }}{{ $_ := set . "scheme" "HTTPS" }}{{ end -}}
{{- end -}}
{{- end -}}

{{- /* preStop, the stop's own time, ten seconds, and five more; never less than in k8s/base. */ -}}
{{- if hasKey $own "preStopSeconds" -}}
{{- $seconds := int $own.preStopSeconds -}}
{{- $_ := unset $container "lifecycle" -}}
{{- if gt $seconds 0 }}{{ $_ := set $container "lifecycle" (dict "preStop" (dict "sleep" (dict "seconds" $seconds))) }}{{ end -}}
{{- end -}}
{{- $preStop := dig "lifecycle" "preStop" "sleep" "seconds" 0 $container | int -}}
{{- $stopMs := "" -}}
{{- if eq $name "push-node" }}{{ $stopMs = get $config "DRAIN_WINDOW_MS" | default "20000" }}{{ end -}}
{{- if eq $name "collect" }}{{ $stopMs = get $config "ACCEPT_DEADLINE_MS" | default "5000" }}{{ end -}}
{{- $stopSeconds := ternary 0 (int (ceil (divf (float64 $stopMs) 1000))) (eq $stopMs "") -}}
{{- $grace := add $preStop $stopSeconds 15 | int -}}
{{- $_ := set $pod "terminationGracePeriodSeconds" (max $grace (int $pod.terminationGracePeriodSeconds) | int) -}}

{{- with $own.resources }}{{ $_ := set $container "resources" (mergeOverwrite (deepCopy $container.resources) .) }}{{ end -}}
{{- if eq $own.spread "required" }}{{ $_ := set (first $pod.topologySpreadConstraints) "whenUnsatisfiable" "DoNotSchedule" }}{{ end -}}
{{- with $own.nodeSelector }}{{ $_ := set $pod "nodeSelector" . }}{{ end -}}
{{- with $own.tolerations }}{{ $_ := set $pod "tolerations" . }}{{ end -}}
{{- with $own.affinity }}{{ $_ := set $pod "affinity" . }}{{ end -}}
{{- with $own.priorityClassName }}{{ $_ := set $pod "priorityClassName" . }}{{ end -}}
{{- if not $own.autoscaling.enabled }}{{ $_ := set .object.spec "replicas" (int $own.replicas) }}{{ end -}}

{{- /* Other settings are other pods. */ -}}
{{- $annotations := dict "checksum/settings" (toYaml $config | sha256sum) -}}
{{- $_ := set $template.metadata "annotations" (merge (deepCopy $own.podAnnotations) $annotations) -}}
{{- $_ := set $template.metadata "labels" (merge (deepCopy $template.metadata.labels) $own.podLabels) -}}
{{- end -}}
