{{- /* The narrowest rule of egress that lets a pod reach an address: genai_pipeline/k8s/network.py says the same. */ -}}
{{- define "strands-agent.egressTo" -}}
{{- $url := urlParse . -}}
{{- $named := regexFind ":[0-9]+$" $url.host -}}
{{- $host := trimSuffix $named $url.host -}}
{{- $port := ternary "443" "80" (eq $url.scheme "https") -}}
{{- if $named -}}{{- $port = trimPrefix ":" $named -}}{{- end -}}
{{- if regexMatch "^[^.]+\\.[^.]+\\.svc(\\.cluster\\.local)?$" $host -}}
- to: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: {{ index (splitList "." $host) 1 | quote }}}}}]
{{- else if regexMatch "^[0-9]+(\\.[0-9]+){3}$" $host -}}
- to: [{ipBlock: {cidr: {{ printf "%s/32" $host | quote }}}}]
{{- else if not (contains "." $host) -}}
- to: [{podSelector: {}}]
{{- else -}}
- to: {{ include "strands-agent.outside" . }}
{{- end }}
  ports: [{protocol: TCP, port: {{ $port }}}]
{{- end -}}

{{- /* Everywhere but the link-local addresses, where a node's own credentials are to be had. */ -}}
{{- define "strands-agent.outside" -}}
[{ipBlock: {cidr: 0.0.0.0/0, except: [169.254.0.0/16]}}, {ipBlock: {cidr: "::/0", except: ["fe80::/10", "fd00:ec2::/32"]}}]
{{- end -}}

{{- define "strands-agent.modelPort" -}}
{{- $url := urlParse .Values.model.baseUrl -}}
{{- trimPrefix ":" (regexFind ":[0-9]+$" $url.host) | default (ternary "443" "80" (eq $url.scheme "https")) -}}
{{- end -}}

{{- define "strands-agent.usesBedrock" -}}
{{- if or (eq .Values.model.provider "bedrock") (regexMatch "(^|,)bedrock:" (join "," .Values.model.fallbacks)) -}}yes{{- end -}}
{{- end -}}

{{- define "strands-agent.egress" -}}
- ports: [{protocol: UDP, port: 53}, {protocol: TCP, port: 53}]
{{- if eq .Values.model.provider "openai" }}
{{- if .Values.networkPolicy.modelPods }}
- to: {{ toJson .Values.networkPolicy.modelPods }}
  ports: [{protocol: TCP, port: {{ include "strands-agent.modelPort" . }}}]
{{- else }}
{{ include "strands-agent.egressTo" .Values.model.baseUrl }}
{{- end }}
{{- end }}
{{- range .Values.model.fallbacks }}
{{- if regexMatch "@https?://" . }}
{{ include "strands-agent.egressTo" (regexReplaceAll "^.*@(https?://)" . "${1}") }}
{{- end }}
{{- end }}
{{ include "strands-agent.egressTo" .Values.weather.url }}
{{- if hasPrefix "s3://" .Values.sessions.store }}
{{ include "strands-agent.egressTo" (.Values.aws.endpointUrl | default "https://s3.amazonaws.com") }}
{{- end }}
{{- if include "strands-agent.usesBedrock" . }}
- to: {{ include "strands-agent.outside" . }}
  ports: [{protocol: TCP, port: 443}]
{{- end }}
{{- with .Values.otlp.endpoint }}
{{ include "strands-agent.egressTo" . }}
{{- end }}
{{- range .Values.mcpServers }}
{{- if .url }}
{{ include "strands-agent.egressTo" .url }}
{{- end }}
{{- end }}
{{- if or (hasPrefix "s3://" .Values.sessions.store) (include "strands-agent.usesBedrock" .) }}
# The EKS Pod Identity agent, which every node has at these addresses.
- to: [{ipBlock: {cidr: 169.254.170.23/32}}, {ipBlock: {cidr: "fd00:ec2::23/128"}}]
  ports: [{protocol: TCP, port: 80}]
{{- end }}
{{- with .Values.networkPolicy.extraEgress }}
{{ toYaml . }}
{{- end }}
{{- end -}}
