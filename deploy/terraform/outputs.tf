output "settings" {
  description = "The pipeline's settings, by the names of its environment variables. None of them is secret."
  value = {
    GENAI_PROFILE        = "eks"
    GENAI_NAMESPACE      = var.namespace
    GENAI_BUCKET         = aws_s3_bucket.models.bucket
    AWS_REGION           = local.region
    GENAI_EKS_CLUSTER    = aws_eks_cluster.genai.name
    GENAI_NODE_ROLE      = aws_iam_role.node["reserved-node"].name
    GENAI_IMAGE_REGISTRY = local.registry
    GENAI_PROMETHEUS_URL = local.workspace_url
  }
}

output "kubeconfig_command" {
  description = "Writes the cluster into your kubeconfig."
  value       = "aws eks update-kubeconfig --region ${local.region} --name ${aws_eks_cluster.genai.name}"
}

output "repository_urls" {
  description = "Repository name -> its address, to push images to."
  value       = { for name, repository in aws_ecr_repository.image : name => repository.repository_url }
}

output "role_arns" {
  description = "Role of each ServiceAccount: pipeline, engine, agent, exporter, dagster, prometheus, grafana, keda."
  value       = { for key, role in aws_iam_role.pod : key => role.arn }
}

output "remote_write_url" {
  description = "Where the Prometheus of the cluster writes: remoteWrite in deploy/observability/kube-prometheus-stack.yaml."
  value       = local.workspace_url == null ? null : "${local.workspace_url}/api/v1/remote_write"
}

output "reservation_terms" {
  description = "Name -> the term for serving.gpu.reservation-terms of a model file."
  value       = { for name, r in merge(aws_ec2_capacity_reservation.gpu, aws_ec2_capacity_block_reservation.gpu) : name => { id = r.id } }
}

output "subnet_ids" {
  description = "Private subnets of the nodes."
  value       = local.subnet_ids
}

output "database" {
  description = "Dagster's PostgreSQL: host, port, name, and the secret in Secrets Manager that has its administrator's password. Null without `database`."
  value = var.database == null ? null : {
    host   = aws_db_instance.dagster[0].address
    port   = aws_db_instance.dagster[0].port
    name   = aws_db_instance.dagster[0].db_name
    secret = aws_db_instance.dagster[0].master_user_secret[0].secret_arn
  }
}
