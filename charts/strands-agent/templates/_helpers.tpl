{{- define "strands-agent.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "strands-agent.selector" -}}
{{- if .Values.labels.selector -}}
{{- toYaml .Values.labels.selector -}}
{{- else -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: agent
{{- end -}}
{{- end -}}

{{- define "strands-agent.chartLabels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | quote }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- define "strands-agent.labels" -}}
{{- if .Values.labels.objects -}}
{{- toYaml .Values.labels.objects -}}
{{- else -}}
{{ include "strands-agent.selector" . }}
{{ include "strands-agent.chartLabels" . }}
{{- end -}}
{{- end -}}

{{- /* A pod's own: without the version, whose change would restart pods that have not changed. */ -}}
{{- define "strands-agent.podLabels" -}}
{{- if .Values.labels.objects -}}
{{- toYaml .Values.labels.objects -}}
{{- else -}}
{{ include "strands-agent.selector" . }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}
{{- end -}}

{{- define "strands-agent.sharedLabels" -}}
{{- if .Values.labels.shared -}}
{{- toYaml .Values.labels.shared -}}
{{- else -}}
{{ include "strands-agent.labels" . }}
{{- end -}}
{{- end -}}

{{- define "strands-agent.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (ternary (include "strands-agent.fullname" .) "default" .Values.serviceAccount.create) -}}
{{- end -}}

{{- define "strands-agent.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" (ternary (printf "%s:%s" .Values.image.repository .Values.image.tag) .Values.image.repository (ne .Values.image.tag "")) .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{- define "strands-agent.podSecurity" -}}
runAsNonRoot: true
runAsUser: 2000
runAsGroup: 2000
fsGroup: 2000
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "strands-agent.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}
