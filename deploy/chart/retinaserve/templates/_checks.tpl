{{/* Nothing, or a sentence about values that the schema takes one by one and that don't go together. */}}
{{- define "retinaserve.checks" -}}
{{- with .Values.autoscaling -}}
{{- if and .kind (gt (int .minReplicas) (int .maxReplicas)) -}}
{{- fail (printf "autoscaling.minReplicas is %d, and maxReplicas only %d" (int .minReplicas) (int .maxReplicas)) -}}
{{- end -}}
{{- end -}}

{{- if eq .Values.strategy.type "RollingUpdate" -}}
{{- $rolling := .Values.strategy.rollingUpdate | default dict -}}
{{- $none := list -}}
{{- range $name := list "maxSurge" "maxUnavailable" -}}
{{- if hasKey $rolling $name -}}
{{- if not (get $rolling $name | toString | trimSuffix "%" | float64) -}}
{{- $none = append $none $name -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if eq (len $none) 2 -}}
{{- fail "strategy.rollingUpdate has maxSurge 0 and maxUnavailable 0: no pod could ever be replaced; one of them must be more" -}}
{{- end -}}
{{- end -}}

{{- range $name, $value := include "retinaserve.selector" . | fromYaml -}}
{{- if hasKey $.Values.podLabels $name -}}
{{- fail (printf "podLabels has %s: the chart sets it, and services find the pods by it" $name) -}}
{{- end -}}
{{- end -}}

{{/* The server reads its variables in capitals or not. */}}
{{- range .Values.env -}}
{{- if regexMatch "(?i)^RETINASERVE_" .name -}}
{{- fail (printf "env has %s: the server's settings have their place in settings, by the names without RETINASERVE_; those that settings refuses follow from other values" .name) -}}
{{- end -}}
{{- end -}}

{{- if and .Values.admin.enabled .Values.admin.service -}}
{{- if not (or .Values.networkPolicy.enabled .Values.apiKeySecret.name) -}}
{{- fail "admin.service needs networkPolicy.enabled or apiKeySecret.name: else all of the cluster could have any bundle of the pods served" -}}
{{- end -}}
{{- end -}}
{{- end -}}
