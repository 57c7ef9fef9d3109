{{- /* The environment of the agent, which genai_pipeline/agent/settings.py reads. Secrets by reference only. */ -}}
{{- define "strands-agent.env" -}}
- {name: POD_IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
- {name: HOME, value: /tmp}
- {name: AGENT_HOST, value: {{ .Values.bindAddress | quote }}}
- {name: AGENT_PORT, value: "8080"}
- {name: AGENT_DRAIN_DEADLINE_S, value: {{ .Values.drainSeconds | quote }}}
{{- with .Values.releaseId }}
- {name: RELEASE_ID, value: {{ . | quote }}}
{{- end }}
- {name: MODEL_PROVIDER, value: {{ .Values.model.provider | quote }}}
{{- if eq .Values.model.provider "openai" }}
- {name: MODEL_BASE_URL, value: {{ .Values.model.baseUrl | quote }}}
{{- end }}
{{- with .Values.model.id }}
- {name: MODEL_ID, value: {{ . | quote }}}
{{- end }}
{{- with .Values.model.existingSecret }}
{{- if .name }}
- {name: MODEL_API_KEY, valueFrom: {secretKeyRef: {name: {{ .name | quote }}, key: {{ .key | quote }}}}}
{{- end }}
{{- end }}
{{- with .Values.model.fallbacks }}
- {name: MODEL_FALLBACKS, value: {{ join "," . | quote }}}
{{- end }}
{{- with .Values.model.fallbacksExistingSecret }}
{{- if .name }}
- {name: MODEL_FALLBACK_API_KEYS, valueFrom: {secretKeyRef: {name: {{ .name | quote }}, key: {{ .key | quote }}}}}
{{- end }}
{{- end }}
- {name: WEATHER_URL, value: {{ .Values.weather.url | quote }}}
- {name: AGENT_SESSIONS, value: {{ .Values.sessions.store | quote }}}
{{- include "strands-agent.number" (list "AGENT_SESSION_TTL_S" .Values.sessions.ttlSeconds) }}
{{- include "strands-agent.number" (list "AGENT_SESSION_MAX_BYTES" .Values.sessions.maxBytes) }}
{{- with .Values.aws.region }}
- {name: AWS_REGION, value: {{ . | quote }}}
{{- end }}
{{- with .Values.aws.endpointUrl }}
- {name: AWS_ENDPOINT_URL_S3, value: {{ . | quote }}}
- {name: AWS_EC2_METADATA_DISABLED, value: "true"}
{{- end }}
{{- with .Values.auth.existingSecret }}
{{- if .name }}
- {name: AGENT_API_KEYS, valueFrom: {secretKeyRef: {name: {{ .name | quote }}, key: {{ .key | quote }}}}}
{{- end }}
{{- end }}
{{- include "strands-agent.number" (list "AGENT_MAX_CONCURRENT" .Values.limits.maxConcurrent) }}
{{- include "strands-agent.number" (list "AGENT_DEADLINE_S" .Values.limits.deadlineSeconds) }}
{{- include "strands-agent.number" (list "AGENT_MAX_TOOL_CYCLES" .Values.limits.maxToolCycles) }}
{{- include "strands-agent.number" (list "AGENT_MAX_REQUEST_TOKENS" .Values.limits.maxRequestTokens) }}
{{- include "strands-agent.number" (list "AGENT_MAX_PROMPT_CHARS" .Values.limits.maxPromptChars) }}
{{- include "strands-agent.number" (list "MODEL_MAX_TOKENS" .Values.limits.maxAnswerTokens) }}
{{- with .Values.mcpServers }}
{{- /* The kubelet reads $$ as $. */}}
- {name: AGENT_MCP_SERVERS, value: {{ toJson . | replace "$" "$$" | quote }}}
{{- end }}
{{- with .Values.otlp.endpoint }}
- {name: OTEL_EXPORTER_OTLP_ENDPOINT, value: {{ . | quote }}}
{{- end }}
{{- if .Values.otlp.exportPrompts }}
- {name: AGENT_TRACE_PROMPTS, value: "true"}
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- /* Helm reads numbers as floats: without int64 a million would be 1e+06. */ -}}
{{- define "strands-agent.number" -}}
{{- $value := index . 1 -}}
{{- if not (kindIs "invalid" $value) }}
- {name: {{ index . 0 }}, value: {{ ternary (toString $value) (toString (int64 $value)) (ne (float64 $value) (float64 (int64 $value))) | quote }}}
{{- end -}}
{{- end -}}
