# Amazon Managed Prometheus, which keeps what the Prometheus of the cluster writes, and evaluates the same rules.

locals {
  workspace_arn = var.managed_prometheus ? aws_prometheus_workspace.genai[0].arn : ""
  workspace_url = var.managed_prometheus ? trimsuffix(aws_prometheus_workspace.genai[0].prometheus_endpoint, "/") : null
}

resource "aws_prometheus_workspace" "genai" {
  count = var.managed_prometheus ? 1 : 0

  alias = var.name
}

resource "aws_prometheus_rule_group_namespace" "genai" {
  count = var.rules_file == null ? 0 : 1

  name         = "genai"
  workspace_id = aws_prometheus_workspace.genai[0].id
  data         = file(var.rules_file)
}
