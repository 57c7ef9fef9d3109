{{- /* Check what the schema cannot express. All mistakes are collected and shown at once. */ -}}
{{- define "strands-agent.refuse" -}}
{{- $wrong := list -}}
{{- $v := .Values -}}
{{- $url := "^https?://(\\[[0-9a-fA-F:.]+\\]|[^]/@:[:space:]]+)(:[0-9]{1,5})?(/[^[:space:]]*)?$" -}}
{{- if and (eq $v.model.provider "openai") (not $v.model.baseUrl) -}}
{{- $wrong = append $wrong "model.baseUrl is empty: the agent would have no model. Set an OpenAI-compatible address, for example http://vllm.models.svc:8000/v1, or set model.provider to bedrock." -}}
{{- else if and (eq $v.model.provider "openai") (not (regexMatch $url $v.model.baseUrl)) -}}
{{- $wrong = append $wrong (printf "model.baseUrl is %q, which is not an http(s) address. Write it like http://vllm.models.svc:8000/v1." $v.model.baseUrl) -}}
{{- end -}}
{{- range $name, $value := dict "weather.url" $v.weather.url "aws.endpointUrl" $v.aws.endpointUrl "otlp.endpoint" $v.otlp.endpoint -}}
{{- if and $value (not (regexMatch $url $value)) -}}
{{- $wrong = append $wrong (printf "%s is %q, which is not an http(s) address. Write it like http://name.namespace.svc:8080." $name $value) -}}
{{- end -}}
{{- end -}}
{{- if not $v.weather.url -}}
{{- $wrong = append $wrong "weather.url is empty. Set a service with wttr.in's JSON, for example https://wttr.in." -}}
{{- end -}}
{{- $own := printf "@%s" $v.model.baseUrl -}}
{{- $asked := list (ternary (printf "openai:%s%s" $v.model.id $own) (printf "bedrock:%s" $v.model.id) (eq $v.model.provider "openai")) -}}
{{- range $v.model.fallbacks -}}
{{- $whole := ternary (printf "%s%s" . $own) . (and (hasPrefix "openai:" .) (not (regexMatch "@https?://" .))) -}}
{{- if not (regexMatch "^(bedrock:[^,@]+|openai:[^,]+)$" .) -}}
{{- $wrong = append $wrong (printf "model.fallbacks: %q must be bedrock:<model> or openai:<model>@https://host/v1." .) -}}
{{- else if and (eq $v.model.provider "bedrock") (ne $whole .) -}}
{{- $wrong = append $wrong (printf "model.fallbacks: %q has no address, and the first model is at Bedrock, which has none either. Write it like openai:<model>@https://host/v1." .) -}}
{{- else if has $whole $asked -}}
{{- $wrong = append $wrong (printf "model.fallbacks: %q would be asked twice. Name each model once." .) -}}
{{- end -}}
{{- $asked = append $asked $whole -}}
{{- end -}}
{{- if and ($v.model.fallbacksExistingSecret).name (not $v.model.fallbacks) -}}
{{- $wrong = append $wrong "model.fallbacksExistingSecret has keys, but model.fallbacks is empty. Add the models, or remove the Secret." -}}
{{- end -}}
{{- range $name, $value := dict "model.existingSecret.name" ($v.model.existingSecret).name "model.fallbacksExistingSecret.name" ($v.model.fallbacksExistingSecret).name "auth.existingSecret.name" ($v.auth.existingSecret).name "aws.existingSecret" $v.aws.existingSecret -}}
{{- if and $value (not (regexMatch "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$" $value)) -}}
{{- $wrong = append $wrong (printf "%s is %q, which is not a valid name of a Secret. Use lower case letters, digits and dashes." $name $value) -}}
{{- end -}}
{{- end -}}
{{- if not (or (eq $v.sessions.store "memory") (regexMatch "^s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9!_.*'()/-]*)?$" $v.sessions.store)) -}}
{{- $wrong = append $wrong (printf "sessions.store is %q. Use memory, or s3://bucket/prefix, which every replica can read. A pod cannot read another pod's files." $v.sessions.store) -}}
{{- end -}}
{{- if and (hasPrefix "s3://" $v.sessions.store) (not $v.aws.region) (not $v.aws.endpointUrl) -}}
{{- $wrong = append $wrong "aws.region is empty. Set the region of the bucket in sessions.store, or the address of another S3 in aws.endpointUrl." -}}
{{- end -}}
{{- if and (eq $v.model.provider "bedrock") (not $v.aws.region) -}}
{{- $wrong = append $wrong "aws.region is empty. Set the region of Bedrock." -}}
{{- end -}}
{{- if and $v.autoscaling.enabled (lt (int $v.autoscaling.maxReplicas) (int $v.replicaCount)) -}}
{{- $wrong = append $wrong (printf "autoscaling.maxReplicas (%d) is below replicaCount (%d), which is the smallest number. Raise maxReplicas or lower replicaCount." (int $v.autoscaling.maxReplicas) (int $v.replicaCount)) -}}
{{- end -}}
{{- if lt (int $v.terminationGracePeriodSeconds) (add $v.stopDelaySeconds $v.drainSeconds 5 | int) -}}
{{- $wrong = append $wrong (printf "terminationGracePeriodSeconds (%d) is too short for stopDelaySeconds (%d) and drainSeconds (%d): requests under way would be cut off. Use at least %d." (int $v.terminationGracePeriodSeconds) (int $v.stopDelaySeconds) (int $v.drainSeconds) (add $v.stopDelaySeconds $v.drainSeconds 5 | int)) -}}
{{- end -}}
{{- $name := include "strands-agent.fullname" . -}}
{{- if not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" $name) -}}
{{- $wrong = append $wrong (printf "%s is %q, which is not a valid name of a Service. Use lower case letters, digits and dashes, a letter first." (ternary "fullnameOverride" "fullnameOverride is empty, and the name after the release" (ne $v.fullnameOverride "")) $name) -}}
{{- end -}}
{{- if eq $v.image.tag "latest" -}}
{{- $wrong = append $wrong "image.tag is latest, which may be another image tomorrow. Use a version, or a digest in image.digest." -}}
{{- end -}}
{{- if and $v.image.digest (not (regexMatch "^sha256:[0-9a-f]{64}$" $v.image.digest)) -}}
{{- $wrong = append $wrong (printf "image.digest is %q, which must be sha256: and 64 hexadecimal digits." $v.image.digest) -}}
{{- end -}}
{{- if regexMatch "(:[^/]*|@.*)$" $v.image.repository -}}
{{- $wrong = append $wrong (printf "image.repository is %q: move its tag to image.tag and its digest to image.digest." $v.image.repository) -}}
{{- end -}}
{{- if or (regexMatch "[[:space:]A-Z]" $v.image.repository) (not (regexMatch "^([A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?$" ($v.image.tag | default ""))) -}}
{{- $wrong = append $wrong (printf "image is %q, which is not a valid name of an image. Use lower case letters and no spaces." (include "strands-agent.image" .)) -}}
{{- end -}}
{{- $quantities := dict "autoscaling.targetCPU" $v.autoscaling.targetCPU -}}
{{- range $kind := list "requests" "limits" -}}
{{- range $what, $value := index ($v.resources | default dict) $kind -}}
{{- $_ := set $quantities (printf "resources.%s.%s" $kind $what) $value -}}
{{- end -}}
{{- end -}}
{{- range $name, $value := $quantities -}}
{{- if not (regexMatch "^([0-9]+(\\.[0-9]*)?|\\.[0-9]+)([eE][+-]?[0-9]+|[numkMGTPE]|[KMGTPE]i)?$" (toString $value)) -}}
{{- $wrong = append $wrong (printf "%s is %q, which is not a quantity. Write it like 500m or 2 (cores), 512Mi or 2Gi (memory)." $name (toString $value)) -}}
{{- end -}}
{{- end -}}
{{- if not (regexMatch "^[0-9]+%?$" (toString $v.podDisruptionBudget.maxUnavailable)) -}}
{{- $wrong = append $wrong (printf "podDisruptionBudget.maxUnavailable is %q. Write a count, for example 1, or a percentage, for example 25%%." (toString $v.podDisruptionBudget.maxUnavailable)) -}}
{{- end -}}
{{- $env := include "strands-agent.env" . -}}
{{- range $v.extraEnv -}}
{{- if not (regexMatch "^[-._a-zA-Z][-._a-zA-Z0-9]*$" .name) -}}
{{- $wrong = append $wrong (printf "extraEnv: %q is not a valid name of a variable." .name) -}}
{{- else if contains (printf "{name: %s, " .name) $env -}}
{{- $wrong = append $wrong (printf "extraEnv: the chart sets %s itself. Change the value of the chart that sets it (README.md)." .name) -}}
{{- end -}}
{{- if and (hasKey . "value") (regexMatch "(^|_)(TOKEN|SECRET|PASSWORD|PASSWD|API_?KEYS?|ACCESS_KEY|PRIVATE_KEY)(_ID|_KEY)?$" (upper .name)) -}}
{{- $wrong = append $wrong (printf "extraEnv: %s looks like a credential, and everyone who may read a Deployment could read it. Take it from a Secret: {name: %s, valueFrom: {secretKeyRef: {name: …, key: …}}}." .name .name) -}}
{{- end -}}
{{- end -}}
{{- $taken := list "get_current_time" "get_weather" -}}
{{- $servers := list -}}
{{- range $v.mcpServers -}}
{{- if or (has .name $servers) (not (regexMatch "^[A-Za-z0-9_-]{1,64}$" .name)) -}}
{{- $wrong = append $wrong (printf "mcpServers: the name %q is malformed or used twice. Use letters, digits, dashes and underscores." .name) -}}
{{- end -}}
{{- $servers = append $servers .name -}}
{{- if not .tools -}}
{{- $wrong = append $wrong (printf "mcpServers: %s has no list of tools that the agent may use. Add it in tools." .name) -}}
{{- end -}}
{{- range $tool := .tools -}}
{{- if or (has $tool $taken) (not (regexMatch "^[A-Za-z0-9_-]{1,64}$" $tool)) -}}
{{- $wrong = append $wrong (printf "mcpServers: the tool name %q is malformed, or the agent has it already. Name each tool once." $tool) -}}
{{- end -}}
{{- $taken = append $taken $tool -}}
{{- end -}}
{{- range $header, $value := merge dict (.headers | default dict) (.env | default dict) -}}
{{- if and (regexMatch "(?i)(authorization|cookie|key|token|secret|passw)" $header) (not (contains "${" $value)) -}}
{{- $wrong = append $wrong (printf "mcpServers: %s looks like a credential, and everyone who may read a Deployment could read it. Write ${NAME}, and take NAME from a Secret in extraEnv." $header) -}}
{{- end -}}
{{- end -}}
{{- if eq (hasKey . "url") (hasKey . "command") -}}
{{- $wrong = append $wrong (printf "mcpServers: %s needs either a url or a command." .name) -}}
{{- end -}}
{{- if and (hasKey . "url") (not (regexMatch $url (toString .url))) -}}
{{- $wrong = append $wrong (printf "mcpServers: the url of %s is %q, which is not an http(s) address." .name (toString .url)) -}}
{{- end -}}
{{- end -}}
{{- if $wrong -}}
{{- fail (printf "\n\nThe values cannot be used:\n- %s\n" (join "\n- " $wrong)) -}}
{{- end -}}
{{- end -}}
