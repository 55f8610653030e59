{{- define "loadr-fast.name" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- /* A Job cannot be changed: each revision of the release is another. */ -}}
{{- define "loadr-fast.job" -}}
{{- printf "%s-%d" (include "loadr-fast.name" .) (int .Release.Revision) -}}
{{- end -}}

{{- define "loadr-fast.labels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.labels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "loadr-fast.cores" -}}
{{- if .Values.cores -}}
{{- .Values.cores -}}
{{- else if gt (int .Values.cpus) 2 -}}
{{- sub (int .Values.cpus) 1 -}}
{{- else -}}
{{- .Values.cpus -}}
{{- end -}}
{{- end -}}
