# Every permission that can be asked for. Python compares them with the docs (tests/integration/aws/test_terraform.py).

mock_provider "aws" {
  source = "./tests/mocks"
}

run "everything" {
  variables {
    administrators     = ["arn:aws:iam::123456789012:role/platform"]
    keda               = true
    source_buckets     = ["weights-of-others"]
    judge_bedrock_arns = ["arn:aws:bedrock:*::foundation-model/amazon.nova-pro-v1:0"]
    agent_bedrock_arns = [
      "arn:aws:bedrock:*::foundation-model/amazon.nova-pro-v1:0",
      "arn:aws:bedrock:*:123456789012:inference-profile/us.amazon.nova-pro-v1:0",
    ]
    kms_key_arn           = "arn:aws:kms:eu-west-1:123456789012:key/0123"
    capacity_blocks       = { training = "cb-0123456789abcdefg" }
    capacity_reservations = { gpu = { instance_type = "g6e.2xlarge", zone = "eu-west-1a", count = 2, ends_at = "2027-03-01T00:00:00Z" } }
    database              = {}
  }

  assert {
    condition     = toset([for a in aws_eks_pod_identity_association.pod : "${a.namespace}/${a.service_account}"]) == toset(["genai/dagster-genai-pipeline-dagster", "genai/genai-agent", "genai/genai-engine", "genai/genai-exporter", "genai/genai-pipeline", "keda/keda-operator", "monitoring/grafana", "monitoring/prometheus"])
    error_message = "Other accounts get credentials than those of the docs."
  }

  assert {
    condition     = alltrue([for s in flatten([for p in aws_iam_role_policy.pod : jsondecode(p.policy).Statement]) : alltrue([for a in s.Action : !strcontains(a, "*")])])
    error_message = "A policy allows actions by a wildcard."
  }

  # Who writes has to make data keys. S3 uses the key, and the account itself may not.
  assert {
    condition = { for key, p in aws_iam_role_policy.pod : key => flatten([for s in jsondecode(p.policy).Statement : s.Action if s.Sid == "UseKey"]) } == {
      agent      = ["kms:Decrypt", "kms:GenerateDataKey"]
      dagster    = ["kms:Decrypt"]
      engine     = ["kms:Decrypt"]
      exporter   = ["kms:Decrypt"]
      grafana    = []
      keda       = []
      pipeline   = ["kms:Decrypt", "kms:GenerateDataKey"]
      prometheus = []
    }
    error_message = "An account may use the key in another way."
  }
}
