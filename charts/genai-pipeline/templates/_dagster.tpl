{{- define "genai-pipeline.dagsterYaml" -}}
telemetry: {enabled: false}
nux: {enabled: false}

storage:
  postgres:
    postgres_db:
      # SQLAlchemy takes `postgresql` for psycopg 3, and the image has psycopg2.
      scheme: postgresql+psycopg2
      hostname: {{ include "genai-pipeline.databaseHost" . | quote }}
      port: {{ .Values.postgresql.port }}
      db_name: {{ .Values.postgresql.database | quote }}
      username: {{ .Values.postgresql.username | quote }}
      password: {env: DAGSTER_PG_PASSWORD}
      params: {sslmode: {{ ternary "disable" .Values.postgresql.sslmode .Values.postgresql.forTrying }}}

# The root file system is read-only.
local_artifact_storage:
  module: dagster.core.storage.root
  class: LocalArtifactStorage
  config: {base_dir: /tmp/dagster}
{{- if .Values.computeLogs.bucket }}
compute_logs:
  module: dagster_aws.s3.compute_log_manager
  class: S3ComputeLogManager
  config:
    bucket: {{ .Values.computeLogs.bucket | quote }}
    prefix: {{ .Values.computeLogs.prefix | quote }}
    local_dir: /tmp/dagster-logs
    skip_empty_files: true
    upload_interval: 30
    {{- with .Values.computeLogs.endpointUrl }}
    endpoint_url: {{ . | quote }}
    use_ssl: {{ hasPrefix "https://" . }}
    {{- end }}
{{- else }}
compute_logs:
  module: dagster.core.storage.noop_compute_log_manager
  class: NoOpComputeLogManager
{{- end }}

run_coordinator:
  module: dagster
  class: QueuedRunCoordinator
concurrency:
  runs:
    max_concurrent_runs: {{ .Values.runs.maxConcurrent }}
    tag_concurrency_limits: [{key: genai/rollout, limit: {{ .Values.settings.GENAI_MAX_ROLLOUTS | default 2 }}}]
  # Every asset of a model is in the pool `model_<group>`, so that two runs of one model do not overlap.
  pools: {granularity: run, default_limit: 1}

# A run whose pod died would stay `started` and hold its pool. It is not resumed: the next run continues from the record.
run_monitoring:
  enabled: true
  start_timeout_seconds: {{ .Values.runs.startTimeoutSeconds }}
  cancel_timeout_seconds: {{ .Values.runs.cancelTimeoutSeconds }}
  max_resume_run_attempts: 0
  poll_interval_seconds: 15
  free_slots_after_run_end_seconds: 30

retention:
  sensor: {purge_after_days: {skipped: 1, failure: 14, success: 60}}
  schedule: {purge_after_days: 60}

run_launcher:
  module: dagster_k8s
  class: K8sRunLauncher
  config:
    load_incluster_config: true
    job_namespace: {{ .Release.Namespace }}
    service_account_name: {{ .Values.serviceAccount.pipeline }}
    job_image: {{ include "genai-pipeline.image" . | quote }}
    image_pull_policy: {{ .Values.image.pullPolicy }}
    {{- with .Values.imagePullSecrets }}
    image_pull_secrets:
      {{- toYaml . | nindent 6 }}
    {{- end }}
    instance_config_map: {{ include "genai-pipeline.fullname" . }}
    dagster_home: /opt/dagster
    {{- with .Values.existingSecrets }}
    env_secrets:
      {{- toYaml . | nindent 6 }}
    {{- end }}
    run_k8s_config:
      container_config:
        env:
          {{- include "genai-pipeline.env" . | nindent 10 }}
        resources:
          {{- toYaml .Values.runs.resources | nindent 10 }}
        security_context:
          {{- include "genai-pipeline.containerSecurity" . | nindent 10 }}
        volume_mounts:
          - {name: tmp, mountPath: /tmp}
          {{- with include "genai-pipeline.modelsMount" . }}
          - {{ . }}
          {{- end }}
      pod_spec_config:
        automount_service_account_token: true
        enable_service_links: false
        security_context:
          {{- include "genai-pipeline.podSecurity" . | nindent 10 }}
        {{- with .Values.nodeSelector }}
        node_selector:
          {{- toYaml . | nindent 10 }}
        {{- end }}
        {{- with .Values.tolerations }}
        tolerations:
          {{- toYaml . | nindent 10 }}
        {{- end }}
        volumes:
          - {name: tmp, emptyDir: {sizeLimit: {{ .Values.runs.tmpSize }}}}
          {{- with include "genai-pipeline.modelsVolume" . }}
          - {{ . }}
          {{- end }}
      pod_template_spec_metadata:
        labels:
          {{- include "genai-pipeline.selector" (list . "run") | nindent 10 }}
          # Network policies let the pipeline in by this label.
          app.kubernetes.io/component: pipeline
        # A consolidation of nodes would end a staging of hours.
        annotations: {karpenter.sh/do-not-disrupt: "true"}
      job_metadata:
        labels:
          {{- include "genai-pipeline.selector" (list . "run") | nindent 10 }}
      job_spec_config: {ttl_seconds_after_finished: {{ .Values.runs.ttlSeconds }}, backoff_limit: 0}
{{- end -}}

{{- define "genai-pipeline.workspaceYaml" -}}
load_from:
  - grpc_server:
      host: {{ include "genai-pipeline.fullname" . }}-code
      port: 4000
      location_name: genai_pipeline
{{- end -}}
