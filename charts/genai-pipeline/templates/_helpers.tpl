{{- define "genai-pipeline.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "genai-pipeline.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" (ternary (printf "%s:%s" .Values.image.repository .Values.image.tag) .Values.image.repository (ne .Values.image.tag "")) .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{- define "genai-pipeline.podSecurity" -}}
runAsNonRoot: true
runAsUser: 2000
runAsGroup: 2000
fsGroup: 2000
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "genai-pipeline.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{- /* Argument: a list of the root and the part: webserver, daemon, code-server, run, migration, database. */ -}}
{{- define "genai-pipeline.selector" -}}
app.kubernetes.io/name: {{ (index . 0).Chart.Name }}
app.kubernetes.io/instance: {{ (index . 0).Release.Name | quote }}
genai-pipeline/part: {{ index . 1 }}
{{- end -}}

{{- define "genai-pipeline.labels" -}}
{{ include "genai-pipeline.selector" . }}
helm.sh/chart: {{ printf "%s-%s" (index . 0).Chart.Name (index . 0).Chart.Version | replace "+" "_" | quote }}
app.kubernetes.io/version: {{ (index . 0).Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ (index . 0).Release.Service }}
{{- end -}}

{{- define "genai-pipeline.account" -}}
{{- .Values.serviceAccount.name | default (printf "%s-dagster" (include "genai-pipeline.fullname" .)) -}}
{{- end -}}

{{- define "genai-pipeline.databaseHost" -}}
{{- ternary (printf "%s-database" (include "genai-pipeline.fullname" .)) .Values.postgresql.host .Values.postgresql.forTrying -}}
{{- end -}}

{{- /* Pods start again after a change of what they have read. */ -}}
{{- define "genai-pipeline.annotations" -}}
checksum/config: {{ printf "%s%s%s" (include "genai-pipeline.dagsterYaml" .) (include "genai-pipeline.workspaceYaml" .) (.Values.modelFiles | toJson) | sha256sum }}
{{- with .Values.podAnnotations }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- /* What all pods but the runs' have in their spec. */ -}}
{{- define "genai-pipeline.podSpec" -}}
enableServiceLinks: false
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  {{- include "genai-pipeline.podSecurity" . | nindent 2 }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
volumes:
  - {name: tmp, emptyDir: {sizeLimit: 1Gi}}
  - name: dagster
    projected:
      sources:
        - configMap: {name: {{ include "genai-pipeline.fullname" . }}}
  {{- with include "genai-pipeline.modelsVolume" . }}
  - {{ . }}
  {{- end }}
{{- end -}}

{{- /* The model files of the values, where the image has its own. */ -}}
{{- define "genai-pipeline.modelsVolume" -}}
{{- if .Values.modelFiles -}}
{name: models, projected: {sources: [{configMap: {name: {{ include "genai-pipeline.fullname" . }}-models}}]}}
{{- end -}}
{{- end -}}

{{- define "genai-pipeline.modelsMount" -}}
{{- if .Values.modelFiles -}}
{name: models, mountPath: /opt/genai/models, readOnly: true}
{{- end -}}
{{- end -}}

{{- /* What their containers have. */ -}}
{{- define "genai-pipeline.container" -}}
image: {{ include "genai-pipeline.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
terminationMessagePolicy: FallbackToLogsOnError
securityContext:
  {{- include "genai-pipeline.containerSecurity" . | nindent 2 }}
volumeMounts:
  - {name: tmp, mountPath: /tmp}
  - {name: dagster, mountPath: /opt/dagster, readOnly: true}
  {{- with include "genai-pipeline.modelsMount" . }}
  - {{ . }}
  {{- end }}
env:
  - {name: DAGSTER_HOME, value: /opt/dagster}
  {{- include "genai-pipeline.env" . | nindent 2 }}
{{- end -}}
