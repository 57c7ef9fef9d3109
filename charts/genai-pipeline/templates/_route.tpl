{{- /* How the route answers an error, in the form that clients of OpenAI's API read. Arguments: message, type, code. */ -}}
{{- define "genai-pipeline.routeError" -}}
{{- $error := dict "message" (index . 0) "type" (index . 1) "param" nil "code" (index . 2) -}}
content-type application/json string '{{ dict "error" $error | toJson }}'
{{- end -}}

{{- /* Sources: HAProxy Configuration Manual 3.2, sections 4.2 (http-request, http-error), 5.3 (resolvers), 7.3.1 (map_str). */ -}}
{{- define "genai-pipeline.haproxyConfig" -}}
{{- $v := .Values.route -}}
{{- $paths := list -}}
{{- range $v.models -}}{{- $paths = append $paths (printf "/%s/v1/" .) -}}{{- end -}}
global
  log stdout format raw local0 info
  maxconn {{ $v.maxConnections }}
  nbthread 2
  # A signal to end (SIGUSR1, the image's own) closes the port and lets answers end.
  hard-stop-after {{ $v.timeoutSeconds }}s

resolvers cluster
  parse-resolv-conf
  accepted_payload_size 8192
  hold valid 10s

defaults
  mode http
  log global
  log-format "caller=%[var(txn.caller)] model=%b %HM %HPO status=%ST bytes=%B first_byte_ms=%Tr total_ms=%Ta end=%ts"
  option dontlognull
  option forwardfor
  # Each request has a connection of its own to the stable address, so that it goes where the traffic is now.
  option http-server-close
  # A client that goes away ends its generation.
  option abortonclose
  timeout connect 5s
  timeout client 60s
  timeout http-request 30s
  timeout http-keep-alive 60s
  timeout server {{ $v.timeoutSeconds }}s
  http-error status 502 {{ include "genai-pipeline.routeError" (list "The model ended the request without an answer. Ask again." "server_error" "no_answer") }}
  http-error status 503 {{ include "genai-pipeline.routeError" (list "No release of the model answers at the moment. Ask again later." "server_error" "no_release") }}
  http-error status 504 {{ include "genai-pipeline.routeError" (list (printf "The model sent nothing for %v s." $v.timeoutSeconds) "server_error" "timed_out") }}

frontend figures
  bind {{ .Values.bindAddress }}:8081
  option dontlog-normal
  http-request use-service prometheus-exporter if { path /metrics }
  http-request return status 404

frontend models
  bind {{ .Values.bindAddress }}:8080
  monitor-uri /healthz
  http-request set-var(txn.key) req.hdr(X-Api-Key)
  http-request set-var(txn.key) req.hdr(Authorization),regsub(^[Bb]earer[[:space:]]+,) if { req.hdr(Authorization) -m found }
  http-request set-var(txn.caller) var(txn.key),map_str(/etc/route/keys)
  http-request return status 401 hdr WWW-Authenticate Bearer {{ include "genai-pipeline.routeError" (list "The API key is missing or unknown. Send one that the operator of this address gave you: Authorization: Bearer KEY." "invalid_request_error" "invalid_api_key") }} unless { var(txn.caller) -m found }
  http-request del-header Authorization
  http-request del-header X-Api-Key
  {{- range $v.models }}
  use_backend {{ . }} if { path_beg /{{ . }}/v1/ }
  {{- end }}
  default_backend unknown

backend unknown
  http-request return status 404 {{ include "genai-pipeline.routeError" (list (printf "There is no model at this path. Ask below one of: %s." (join ", " $paths)) "invalid_request_error" "model_not_found") }}
{{- range $v.models }}

backend {{ . }}
  http-request replace-path /{{ . }}(/.*) \1
  server stable {{ . }}.{{ $.Release.Namespace }}.svc.{{ $v.clusterDomain }}:8000 resolvers cluster init-addr libc,none
{{- end }}
{{- end -}}
