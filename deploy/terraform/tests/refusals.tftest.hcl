# What a variable may not be. A run fails if one of its variables is taken.

mock_provider "aws" {
  source = "./tests/mocks"
}

run "wrong_values" {
  command = plan

  variables {
    administrators        = []
    agent_bedrock_arns    = ["arn:aws:bedrock:*::foundation-model/*"]
    bucket                = "models.example.com"
    budget                = { monthly_usd = 100, emails = [] }
    capacity_blocks       = { gpu = "cr-0123456789abcdefg" }
    capacity_reservations = { gpu = { instance_type = "g6e.2xlarge", zone = "eu-west-1a", count = 0 } }
    control_plane_logs    = ["everything"]
    database              = { instance_class = "t4g.small", storage_gb = 1 }
    judge_bedrock_arns    = ["amazon.nova-pro-v1:0"]
    kms_key_arn           = "alias/genai"
    kubernetes_version    = "1.30"
    name                  = "Genai"
    namespace             = "gen ai"
    nat_gateways          = "none"
    noncurrent_days       = 0
    public_access_cidrs   = ["0.0.0.0/0"]
    session_days          = 0
    subnet_ids            = ["subnet-a"]
    vpc_cidr              = "10.0.0.0/24"
    zones                 = ["eu-west-1a"]
  }

  expect_failures = [
    var.administrators,
    var.agent_bedrock_arns,
    var.bucket,
    var.budget,
    var.capacity_blocks,
    var.capacity_reservations,
    var.control_plane_logs,
    var.database,
    var.judge_bedrock_arns,
    var.kms_key_arn,
    var.kubernetes_version,
    var.name,
    var.namespace,
    var.nat_gateways,
    var.noncurrent_days,
    var.public_access_cidrs,
    var.session_days,
    var.subnet_ids,
    var.vpc_cidr,
    var.zones,
  ]
}

run "sessions_as_administrators_and_readers_of_no_workspace" {
  command = plan

  variables {
    administrators     = ["arn:aws:sts::123456789012:assumed-role/platform/me"]
    keda               = true
    managed_prometheus = false
    rules_file         = "variables.tf"
  }

  expect_failures = [var.administrators, var.keda, var.rules_file]
}
