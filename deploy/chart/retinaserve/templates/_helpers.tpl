{{/* The name of everything. Room is left for a suffix, and "retinaserve" is never cut off. */}}
{{- define "retinaserve.name" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else if contains "retinaserve" .Release.Name -}}
{{- .Release.Name -}}
{{- else -}}
{{- printf "%s-retinaserve" (.Release.Name | trunc 44 | trimSuffix "-") -}}
{{- end -}}
{{- end -}}

{{- define "retinaserve.selector" -}}
app.kubernetes.io/name: retinaserve
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{/* Of the pod of `helm test`, which no service selects. */}}
{{- define "retinaserve.testLabels" -}}
app.kubernetes.io/name: retinaserve-test
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{- define "retinaserve.labels" -}}
{{ include "retinaserve.selector" . }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "retinaserve.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{- printf "%s@%s" .repository .digest -}}
{{- else -}}
{{- printf "%s:%s" .repository .tag -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* What the server gets as a variable. Not toString, which makes 2.68435456e+08 of 268435456. */}}
{{- define "retinaserve.variable" -}}
{{- if kindIs "string" . -}}{{- . -}}{{- else -}}{{- toJson . -}}{{- end -}}
{{- end -}}

{{/* "true" where the bundle is not the image's own. */}}
{{- define "retinaserve.mountsBundle" -}}
{{- if and .Values.bundle.volume .Values.bundle.init -}}
{{- fail "bundle.volume and bundle.init are both set: the bundle comes from one of them" -}}
{{- end -}}
{{- if or .Values.bundle.volume .Values.bundle.init -}}true{{- end -}}
{{- end -}}

{{/* Folder of the bundle; nothing for the one that comes with the package. */}}
{{- define "retinaserve.bundle" -}}
{{- if include "retinaserve.mountsBundle" . -}}
{{- if isAbs .Values.bundle.path -}}
{{- fail (printf "bundle.path is %s: it must be relative to the volume or to what bundle.init leaves" .Values.bundle.path) -}}
{{- end -}}
{{- $folder := list "/bundle" .Values.bundle.path | join "/" | clean -}}
{{- if not (hasPrefix "/bundle/" (print $folder "/")) -}}
{{- fail (printf "bundle.path is %s: it leads out of the volume, or of what bundle.init leaves" .Values.bundle.path) -}}
{{- end -}}
{{- $folder -}}
{{- else if .Values.bundle.path -}}
{{- if not (isAbs .Values.bundle.path) -}}
{{- fail (printf "bundle.path is %s: it must be a folder of the image that begins with /, or have bundle.volume or bundle.init beside it" .Values.bundle.path) -}}
{{- end -}}
{{- .Values.bundle.path -}}
{{- else if .Values.gpu.enabled -}}
{{- fail "gpu.enabled needs bundle.volume, bundle.init or bundle.path: the bundle that comes with the package has no graph for a GPU" -}}
{{- end -}}
{{- end -}}

{{/* Seconds from the decision that a pod goes until it is killed. */}}
{{- define "retinaserve.grace" -}}
{{- with .Values -}}
{{- addf .preStopSeconds .settings.drain_delay_s .settings.drain_timeout_s .graceMarginSeconds | ceil | int -}}
{{- end -}}
{{- end -}}

{{/* Seconds between readiness probes: two that fail in a row have to fit the drain delay. */}}
{{- define "retinaserve.readinessPeriod" -}}
{{- divf .Values.settings.drain_delay_s 2 | floor | int | min 2 -}}
{{- end -}}

{{/* Of a container that needs the GPU where there is one. */}}
{{- define "retinaserve.resources" -}}
{{- $resources := deepCopy .Values.resources -}}
{{- if .Values.gpu.enabled -}}
{{- $gpu := dict "limits" (dict .Values.gpu.resource 1) -}}
{{- $resources = merge $resources $gpu -}}
{{- end -}}
{{- toYaml $resources -}}
{{- end -}}

{{- define "retinaserve.mounts" -}}
{{- if include "retinaserve.mountsBundle" . }}
- name: bundle
  mountPath: /bundle
  readOnly: true
{{- end }}
{{- if .Values.gpu.enabled }}
- name: plans
  mountPath: /plans
- name: tmp
  mountPath: /tmp
{{- end }}
{{- end -}}
