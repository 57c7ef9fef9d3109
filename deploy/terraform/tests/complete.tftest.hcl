# The example, as it is shipped. Python reads the state of the run `complete` (tests/integration/aws).

mock_provider "aws" {
  source = "./tests/mocks"
}

run "complete" {
  module {
    source = "./examples/complete"
  }

  variables {
    administrators        = ["arn:aws:iam::123456789012:role/platform"]
    public_access_cidrs   = ["198.51.100.0/24"]
    capacity_reservations = { gpu = { instance_type = "g6e.2xlarge", zone = "eu-west-1a", count = 2 } }
    budget                = { monthly_usd = 2000, emails = ["platform@example.com"] }
  }

  assert {
    condition     = output.GENAI_PROFILE == "eks" && output.AWS_REGION == "eu-west-1" && output.GENAI_NAMESPACE == "genai"
    error_message = "Profile, region or namespace is wrong."
  }

  assert {
    condition     = output.GENAI_BUCKET == "genai-models-123456789012-eu-west-1"
    error_message = "The bucket is called ${output.GENAI_BUCKET}."
  }

  assert {
    condition     = output.GENAI_PROMETHEUS_URL == "https://aps-workspaces.eu-west-1.amazonaws.com/workspaces/ws-0123"
    error_message = "The address of the workspace is ${output.GENAI_PROMETHEUS_URL}."
  }

  assert {
    condition     = output.GENAI_EKS_CLUSTER == "genai" && output.GENAI_NODE_ROLE == "genai-reserved-node"
    error_message = "Cluster or node role is wrong."
  }

  assert {
    condition     = output.GENAI_IMAGE_REGISTRY == "123456789012.dkr.ecr.eu-west-1.amazonaws.com"
    error_message = "The registry is ${output.GENAI_IMAGE_REGISTRY}."
  }
}
