# What AWS would answer, as far as the provider checks its form.

mock_data "aws_caller_identity" {
  defaults = { account_id = "123456789012" }
}

mock_data "aws_partition" {
  defaults = { partition = "aws", dns_suffix = "amazonaws.com" }
}

mock_data "aws_region" {
  defaults = { name = "eu-west-1" }
}

mock_data "aws_availability_zones" {
  defaults = { names = ["eu-west-1a", "eu-west-1b", "eu-west-1c"] }
}

mock_resource "aws_iam_role" {
  defaults = { arn = "arn:aws:iam::123456789012:role/mocked" }
}

mock_resource "aws_prometheus_workspace" {
  defaults = {
    arn                 = "arn:aws:aps:eu-west-1:123456789012:workspace/ws-0123"
    id                  = "ws-0123"
    prometheus_endpoint = "https://aps-workspaces.eu-west-1.amazonaws.com/workspaces/ws-0123/"
  }
}

mock_resource "aws_db_instance" {
  defaults = {
    address            = "genai-dagster.abc.eu-west-1.rds.amazonaws.com"
    port               = 5432
    master_user_secret = [{ kms_key_id = "k", secret_arn = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:rds-0123", secret_status = "active" }]
  }
}
