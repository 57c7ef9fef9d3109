{{- /* Check what the schema cannot express. All mistakes are collected and shown at once. */ -}}
{{- define "genai-pipeline.refuse" -}}
{{- $wrong := list -}}
{{- $v := .Values -}}
{{- range $name, $value := $v.settings -}}
{{- $text := toString $value -}}
{{- if or (eq $name "GENAI_NAMESPACE") (eq $name "GENAI_HOME") (eq $name "HOME") (eq $name "DAGSTER_HOME") (eq $name "DAGSTER_PG_PASSWORD") -}}
{{- $wrong = append $wrong (printf "settings: the chart sets %s itself. Remove it; the namespace is that of the release (helm --namespace)." $name) -}}
{{- else if or (and (regexMatch "(^|_)(TOKEN|SECRET|PASSWORD|PASSWD|API_?KEYS?|ACCESS_KEY|PRIVATE_KEY|WEBHOOK)(_ID|_KEY|_URL)?$" (upper $name)) (not (regexMatch "^GENAI_[A-Z_]+_SECRET$" $name))) (regexMatch "(hf_[A-Za-z0-9]{20,}|sk-[A-Za-z0-9_-]{20,}|AKIA[A-Z0-9]{16}|-----BEGIN [A-Z ]*PRIVATE KEY-----|://[^/@[:space:]]*:[^/@[:space:]]+@)" $text) -}}
{{- $wrong = append $wrong (printf "settings: %s looks like a credential, and everyone who may read a Deployment could read it. Put it into a Secret with the key %s, and name the Secret in existingSecrets." $name $name) -}}
{{- else if or (kindIs "map" $value) (kindIs "slice" $value) -}}
{{- $wrong = append $wrong (printf "settings: %s must be a text or a number, as an environment variable is." $name) -}}
{{- end -}}
{{- end -}}
{{- if eq (toString $v.settings.GENAI_PROFILE) "local" -}}
{{- $wrong = append $wrong "settings: GENAI_PROFILE is local, which runs models on one machine. Use kubernetes, or eks." -}}
{{- end -}}
{{- $limit := toString ($v.settings.GENAI_MAX_ROLLOUTS | default 2) -}}
{{- if not (regexMatch "^[1-9][0-9]*$" $limit) -}}
{{- $wrong = append $wrong (printf "settings: GENAI_MAX_ROLLOUTS is %q. Write a whole number from 1." $limit) -}}
{{- end -}}
{{- if not $v.postgresql.existingSecret.name -}}
{{- $wrong = append $wrong (printf "postgresql.existingSecret.name is empty: the chart makes no Secret. Make one with the password, `kubectl create secret generic dagster-postgresql -n %s --from-literal=%s=…`, and name it here." .Release.Namespace $v.postgresql.existingSecret.key) -}}
{{- end -}}
{{- if and (not $v.postgresql.host) (not $v.postgresql.forTrying) -}}
{{- $wrong = append $wrong "postgresql.host is empty: Dagster would have no database. Name a PostgreSQL, or set postgresql.forTrying to true for one that forgets everything with its pod." -}}
{{- else if and $v.postgresql.host $v.postgresql.forTrying -}}
{{- $wrong = append $wrong (printf "postgresql.forTrying starts a database, and postgresql.host names %q. Remove one of them." $v.postgresql.host) -}}
{{- end -}}
{{- if regexMatch "[/@:[:space:]]" $v.postgresql.host -}}
{{- $wrong = append $wrong (printf "postgresql.host is %q. Write the name of the host alone; port, database and username have values of their own." (regexReplaceAll "//[^@/]*@" $v.postgresql.host "//…@")) -}}
{{- end -}}
{{- $names := dict "postgresql.existingSecret.name" $v.postgresql.existingSecret.name "ingress.tlsSecret" $v.ingress.tlsSecret "route.keys.existingSecret" $v.route.keys.existingSecret "route.ingress.tlsSecret" $v.route.ingress.tlsSecret "serviceAccount.pipeline" $v.serviceAccount.pipeline "serviceAccount.name" $v.serviceAccount.name -}}
{{- range $v.existingSecrets -}}{{- $_ := set $names (printf "existingSecrets: %s" .) . -}}{{- end -}}
{{- range $name, $value := $names -}}
{{- if and $value (not (regexMatch "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$" $value)) -}}
{{- $wrong = append $wrong (printf "%s is %q, which is not a valid name. Use lower case letters, digits and dashes." $name $value) -}}
{{- end -}}
{{- end -}}
{{- if eq (include "genai-pipeline.account" .) $v.serviceAccount.pipeline -}}
{{- $wrong = append $wrong (printf "webserver and daemon would have the account %s, which is the pipeline's own and not this chart's. Set serviceAccount.name to another name, for example genai-dagster." $v.serviceAccount.pipeline) -}}
{{- end -}}
{{- if and $v.ingress.enabled (not $v.ingress.host) -}}
{{- $wrong = append $wrong "ingress.host is empty. Name the host, and put a login in front of it: Dagster has none." -}}
{{- end -}}
{{- if $v.route.enabled -}}
{{- if not $v.route.models -}}
{{- $wrong = append $wrong "route.models is empty. Name the models that callers may ask, as their files do." -}}
{{- end -}}
{{- if not $v.route.keys.existingSecret -}}
{{- $wrong = append $wrong (printf "route.keys.existingSecret is empty: without keys every caller could ask the models. Make a Secret, `kubectl create secret generic model-keys -n %s --from-file=%s=FILE` with lines of a key, a space and the caller's name, and name it here." .Release.Namespace $v.route.keys.key) -}}
{{- end -}}
{{- if and (or $v.route.ingress.enabled $v.route.gateway.parentRefs) (not $v.route.host) -}}
{{- $wrong = append $wrong "route.host is empty. Name the host under which callers ask the models." -}}
{{- end -}}
{{- if and $v.route.ingress.enabled (not $v.route.ingress.tlsSecret) (not (regexMatch "certificate-arn|cert-manager.io/" (keys $v.route.ingress.annotations | join " "))) -}}
{{- $wrong = append $wrong "route.ingress has no certificate: API keys would cross the network as plain text. Name a Secret in route.ingress.tlsSecret, or the certificate in route.ingress.annotations, for example alb.ingress.kubernetes.io/certificate-arn." -}}
{{- end -}}
{{- else if or $v.route.ingress.enabled $v.route.gateway.parentRefs -}}
{{- $wrong = append $wrong "route.ingress or route.gateway is set, and route.enabled is false. Set it to true." -}}
{{- end -}}
{{- if and $v.computeLogs.endpointUrl (not (regexMatch "^https?://[^/@[:space:]]+$" $v.computeLogs.endpointUrl)) -}}
{{- $wrong = append $wrong (printf "computeLogs.endpointUrl is %q, which is not an address of S3. Write it like http://minio.storage.svc:9000." (regexReplaceAll "//[^@/]*@" $v.computeLogs.endpointUrl "//…@")) -}}
{{- end -}}
{{- $name := include "genai-pipeline.fullname" . -}}
{{- if or (not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" $name)) (gt (len $name) 52) -}}
{{- $wrong = append $wrong (printf "the name of the objects is %q. Set fullnameOverride to at most 52 lower case letters, digits and dashes, a letter first." $name) -}}
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
{{- $quantities := dict "runs.tmpSize" $v.runs.tmpSize -}}
{{- range $part, $resources := dict "codeServer" $v.codeServer.resources "daemon" $v.daemon.resources "webserver" $v.webserver.resources "runs" $v.runs.resources "route" $v.route.resources -}}
{{- range $kind := list "requests" "limits" -}}
{{- range $what, $value := index ($resources | default dict) $kind -}}
{{- $_ := set $quantities (printf "%s.resources.%s.%s" $part $kind $what) $value -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- range $name, $value := $quantities -}}
{{- if not (regexMatch "^([0-9]+(\\.[0-9]*)?|\\.[0-9]+)([eE][+-]?[0-9]+|[numkMGTPE]|[KMGTPE]i)?$" (toString $value)) -}}
{{- $wrong = append $wrong (printf "%s is %q, which is not a quantity. Write it like 500m or 2 (cores), 512Mi or 2Gi (memory)." $name (toString $value)) -}}
{{- end -}}
{{- end -}}
{{- if $wrong -}}
{{- fail (printf "\n\nThe values cannot be used:\n- %s\n" (join "\n- " $wrong)) -}}
{{- end -}}
{{- end -}}
