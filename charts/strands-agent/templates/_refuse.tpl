{{- /* What the schema cannot say, in words: each mistake is collected, and all are told at once. */ -}}
{{- define "strands-agent.refuse" -}}
{{- $wrong := list -}}
{{- $v := .Values -}}
{{- $url := "^https?://[^/@[:space:]]+(/[^[:space:]]*)?$" -}}
{{- if and (eq $v.model.provider "openai") (not $v.model.baseUrl) -}}
{{- $wrong = append $wrong "model.baseUrl is empty: the agent would have no model. Name an OpenAI-compatible address, as http://vllm.models.svc:8000/v1, or set model.provider to bedrock." -}}
{{- else if and (eq $v.model.provider "openai") (not (regexMatch $url $v.model.baseUrl)) -}}
{{- $wrong = append $wrong (printf "model.baseUrl is %q, which is no http(s) address. Write it like http://vllm.models.svc:8000/v1." $v.model.baseUrl) -}}
{{- end -}}
{{- range $name, $value := dict "weather.url" $v.weather.url "aws.endpointUrl" $v.aws.endpointUrl "otlp.endpoint" $v.otlp.endpoint -}}
{{- if and $value (not (regexMatch $url $value)) -}}
{{- $wrong = append $wrong (printf "%s is %q, which is no http(s) address. Write it like http://name.namespace.svc:8080." $name $value) -}}
{{- end -}}
{{- end -}}
{{- if not $v.weather.url -}}
{{- $wrong = append $wrong "weather.url is empty. Name a service with wttr.in's JSON, as https://wttr.in." -}}
{{- end -}}
{{- range $v.model.fallbacks -}}
{{- if not (regexMatch "^(bedrock|openai):[^,]+$" .) -}}
{{- $wrong = append $wrong (printf "model.fallbacks: %q is neither bedrock:<model> nor openai:<model>@https://host/v1." .) -}}
{{- end -}}
{{- end -}}
{{- if not (or (eq $v.sessions.store "memory") (regexMatch "^s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/.*)?$" $v.sessions.store)) -}}
{{- $wrong = append $wrong (printf "sessions.store is %q. Use memory, or s3://bucket/prefix, which every replica can read; the files of one pod cannot be read by another." $v.sessions.store) -}}
{{- end -}}
{{- if and (hasPrefix "s3://" $v.sessions.store) (not $v.aws.region) (not $v.aws.endpointUrl) -}}
{{- $wrong = append $wrong "aws.region is empty: say in which region the bucket of sessions.store is, or name an S3 of your own in aws.endpointUrl." -}}
{{- end -}}
{{- if and (eq $v.model.provider "bedrock") (not $v.aws.region) -}}
{{- $wrong = append $wrong "aws.region is empty: say in which region Bedrock is asked." -}}
{{- end -}}
{{- if and $v.autoscaling.enabled (lt (int $v.autoscaling.maxReplicas) (int $v.replicaCount)) -}}
{{- $wrong = append $wrong (printf "autoscaling.maxReplicas (%d) is below replicaCount (%d), which is the fewest. Raise the one or lower the other." (int $v.autoscaling.maxReplicas) (int $v.replicaCount)) -}}
{{- end -}}
{{- if lt (int $v.terminationGracePeriodSeconds) (add $v.stopDelaySeconds $v.drainSeconds 5 | int) -}}
{{- $wrong = append $wrong (printf "terminationGracePeriodSeconds (%d) is too short for stopDelaySeconds (%d) and drainSeconds (%d): requests under way would be cut off. Use at least %d." (int $v.terminationGracePeriodSeconds) (int $v.stopDelaySeconds) (int $v.drainSeconds) (add $v.stopDelaySeconds $v.drainSeconds 5 | int)) -}}
{{- end -}}
{{- if and $v.fullnameOverride (not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" $v.fullnameOverride)) -}}
{{- $wrong = append $wrong (printf "fullnameOverride is %q, which no Service may be called. Use lower case letters, digits and dashes, a letter first." $v.fullnameOverride) -}}
{{- end -}}
{{- if eq $v.image.tag "latest" -}}
{{- $wrong = append $wrong "image.tag is latest, which is another image tomorrow. Name a version, or a digest in image.digest." -}}
{{- end -}}
{{- if and $v.image.digest (not (regexMatch "^sha256:[0-9a-f]{64}$" $v.image.digest)) -}}
{{- $wrong = append $wrong (printf "image.digest is %q, which is not sha256: and 64 hexadecimal digits." $v.image.digest) -}}
{{- end -}}
{{- if regexMatch "(:[^/]*|@.*)$" $v.image.repository -}}
{{- $wrong = append $wrong (printf "image.repository is %q: its tag belongs into image.tag, its digest into image.digest." $v.image.repository) -}}
{{- end -}}
{{- range $v.extraEnv -}}
{{- if and (hasKey . "value") (regexMatch "(^|_)(TOKEN|SECRET|PASSWORD|PASSWD|API_?KEYS?|ACCESS_KEY|PRIVATE_KEY)(_ID|_KEY)?$" (upper .name)) -}}
{{- $wrong = append $wrong (printf "extraEnv: %s looks like a credential, and everybody who may read a Deployment would read it. Take it from a Secret: {name: %s, valueFrom: {secretKeyRef: {name: …, key: …}}}." .name .name) -}}
{{- end -}}
{{- end -}}
{{- range $v.mcpServers -}}
{{- if not (hasKey . "tools") -}}
{{- $wrong = append $wrong (printf "mcpServers: %s has no list of tools that the agent may use. Name them in tools." (.name | default "one")) -}}
{{- end -}}
{{- if eq (hasKey . "url") (hasKey . "command") -}}
{{- $wrong = append $wrong (printf "mcpServers: %s needs either a url or a command." (.name | default "one")) -}}
{{- end -}}
{{- if and (hasKey . "url") (not (regexMatch $url (toString .url))) -}}
{{- $wrong = append $wrong (printf "mcpServers: the url of %s is %q, which is no http(s) address." (.name | default "one") (toString .url)) -}}
{{- end -}}
{{- end -}}
{{- if $wrong -}}
{{- fail (printf "\n\nThe values cannot be used:\n- %s\n" (join "\n- " $wrong)) -}}
{{- end -}}
{{- end -}}
