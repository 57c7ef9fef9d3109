# What each ServiceAccount may do in AWS, as docs/eks.md and docs/observability.md list it. Tests compare both
# with the calls that the code makes.

locals {
  reads_bucket = { Sid = "ListBucket", Effect = "Allow", Action = ["s3:ListBucket"], Resource = [local.bucket_arn] }

  # Keys are used through S3 only.
  uses_key = { for use in ["read", "write"] : use => var.kms_key_arn == null ? [] : [{
    Sid       = "UseKey"
    Effect    = "Allow"
    Action    = use == "read" ? ["kms:Decrypt"] : ["kms:Decrypt", "kms:GenerateDataKey"]
    Resource  = [var.kms_key_arn]
    Condition = { StringEquals = { "kms:ViaService" = "s3.${local.region}.amazonaws.com" } }
  }] }

  queries = { Sid = "QueryMetrics", Effect = "Allow", Action = ["aps:QueryMetrics"], Resource = [local.workspace_arn] }

  wanted_accounts = {
    pipeline = {
      namespace = var.namespace
      account   = "genai-pipeline"
      wanted    = true
      statements = concat(
        [
          local.reads_bucket,
          {
            Sid      = "ReadAndWriteBucket"
            Effect   = "Allow"
            Action   = ["s3:AbortMultipartUpload", "s3:DeleteObject", "s3:GetObject", "s3:ListMultipartUploadParts", "s3:PutObject"]
            Resource = ["${local.bucket_arn}/*"]
          },
          { Sid = "ListUploads", Effect = "Allow", Action = ["s3:ListBucketMultipartUploads"], Resource = [local.bucket_arn] },
          {
            Sid    = "ReadCapacityAndPrices" # none of these knows resources
            Effect = "Allow"
            Action = [
              "ec2:DescribeCapacityReservations",
              "ec2:DescribeInstances",
              "ec2:DescribeInstanceTypes",
              "pricing:GetProducts",
              "servicequotas:GetServiceQuota",
            ]
            Resource = ["*"]
          },
        ],
        var.managed_prometheus ? [local.queries] : [],
        local.uses_key["write"],
        length(var.source_buckets) == 0 ? [] : [
          { Sid = "ListSources", Effect = "Allow", Action = ["s3:ListBucket"], Resource = [for b in var.source_buckets : "arn:${local.partition}:s3:::${b}"] },
          { Sid = "ReadSources", Effect = "Allow", Action = ["s3:GetObject"], Resource = [for b in var.source_buckets : "arn:${local.partition}:s3:::${b}/*"] },
        ],
        length(var.judge_bedrock_arns) == 0 ? [] : [
          { Sid = "AskJudge", Effect = "Allow", Action = ["bedrock:InvokeModel"], Resource = var.judge_bedrock_arns },
        ],
      )
    }

    engine = {
      namespace = var.namespace
      account   = "genai-engine"
      wanted    = true
      statements = concat(
        [
          local.reads_bucket,
          { Sid = "ReadModels", Effect = "Allow", Action = ["s3:GetObject"], Resource = ["${local.bucket_arn}/models/*"] },
        ],
        local.uses_key["read"],
      )
    }

    agent = {
      namespace = var.namespace
      account   = "genai-agent"
      wanted    = true
      statements = concat(
        [
          {
            Sid      = "Conversations"
            Effect   = "Allow"
            Action   = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"]
            Resource = ["${local.bucket_arn}/sessions/*"]
          },
          merge(local.reads_bucket, { Sid = "ListConversations", Condition = { StringLike = { "s3:prefix" = "sessions/*" } } }),
        ],
        local.uses_key["write"],
        length(var.agent_bedrock_arns) == 0 ? [] : [{
          Sid      = "AskBedrock"
          Effect   = "Allow"
          Action   = ["bedrock:InvokeModelWithResponseStream"]
          Resource = var.agent_bedrock_arns
        }],
      )
    }

    dagster = {
      namespace = var.namespace
      account   = var.dagster_account
      wanted    = true
      statements = concat(
        [
          merge(local.reads_bucket, { Sid = "ListLogs", Condition = { StringLike = { "s3:prefix" = "dagster-logs/*" } } }),
          { Sid = "ReadLogs", Effect = "Allow", Action = ["s3:GetObject"], Resource = ["${local.bucket_arn}/dagster-logs/*"] },
        ],
        local.uses_key["read"],
      )
    }

    exporter = {
      namespace = var.namespace
      account   = "genai-exporter"
      wanted    = true
      statements = concat(
        [
          merge(local.reads_bucket, { Sid = "ListReleases", Condition = { StringLike = { "s3:prefix" = "releases/*" } } }),
          { Sid = "ReadReleases", Effect = "Allow", Action = ["s3:GetObject"], Resource = ["${local.bucket_arn}/releases/*"] },
        ],
        local.uses_key["read"],
      )
    }

    prometheus = {
      namespace  = "monitoring"
      account    = "prometheus"
      wanted     = var.managed_prometheus
      statements = [{ Sid = "WriteMetrics", Effect = "Allow", Action = ["aps:RemoteWrite"], Resource = [local.workspace_arn] }]
    }

    grafana = {
      namespace = "monitoring"
      account   = "grafana"
      wanted    = var.managed_prometheus
      statements = [
        merge(local.queries, { Action = ["aps:GetLabels", "aps:GetMetricMetadata", "aps:GetSeries", "aps:QueryMetrics"] }),
      ]
    }

    keda = {
      namespace  = "keda"
      account    = "keda-operator"
      wanted     = var.keda
      statements = [local.queries]
    }
  }

  accounts = { for key, account in local.wanted_accounts : key => account if account.wanted }
}
