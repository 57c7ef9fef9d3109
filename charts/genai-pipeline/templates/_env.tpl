{{- /* The environment of the pipeline, and of all of Dagster: secrets by reference only. */ -}}
{{- define "genai-pipeline.env" -}}
- {name: HOME, value: /tmp}
- {name: GENAI_HOME, value: /tmp/genai}
- {name: GENAI_NAMESPACE, value: {{ .Release.Namespace | quote }}}
- {name: DAGSTER_PG_PASSWORD, valueFrom: {secretKeyRef: {name: {{ .Values.postgresql.existingSecret.name | quote }}, key: {{ .Values.postgresql.existingSecret.key | quote }}}}}
{{- range $name, $value := .Values.settings }}
{{- if not (kindIs "invalid" $value) }}
- {name: {{ $name }}, value: {{ ternary (printf "%d" (int64 $value)) (toString $value) (kindIs "float64" $value) | quote }}}
{{- end }}
{{- end }}
{{- end -}}

{{- define "genai-pipeline.envFrom" -}}
{{- range .Values.existingSecrets }}
- secretRef: {name: {{ . | quote }}}
{{- end }}
{{- end -}}
