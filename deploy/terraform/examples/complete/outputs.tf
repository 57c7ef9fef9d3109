# Exactly the pipeline's settings, and nothing secret.

output "GENAI_PROFILE" {
  value = module.genai.settings.GENAI_PROFILE
}

output "GENAI_NAMESPACE" {
  value = module.genai.settings.GENAI_NAMESPACE
}

output "GENAI_BUCKET" {
  value = module.genai.settings.GENAI_BUCKET
}

output "AWS_REGION" {
  value = module.genai.settings.AWS_REGION
}

output "GENAI_EKS_CLUSTER" {
  value = module.genai.settings.GENAI_EKS_CLUSTER
}

output "GENAI_NODE_ROLE" {
  value = module.genai.settings.GENAI_NODE_ROLE
}

output "GENAI_IMAGE_REGISTRY" {
  value = module.genai.settings.GENAI_IMAGE_REGISTRY
}

output "GENAI_PROMETHEUS_URL" {
  value = module.genai.settings.GENAI_PROMETHEUS_URL
}
