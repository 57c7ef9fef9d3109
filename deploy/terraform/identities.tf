# A role for each ServiceAccount, bound to it by EKS Pod Identity. Auto Mode brings the agent that hands out credentials.

resource "aws_iam_role" "pod" {
  for_each = local.accounts

  name        = "${var.name}-${each.key}"
  description = "ServiceAccount ${each.value.account} in the namespace ${each.value.namespace} of the cluster ${var.name}"

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "pods.eks.amazonaws.com" }
      Action    = ["sts:AssumeRole", "sts:TagSession"]
      Condition = { ArnEquals = { "aws:SourceArn" = local.cluster_arn } }
    }]
  })
}

resource "aws_iam_role_policy" "pod" {
  for_each = local.accounts

  name   = "genai"
  role   = aws_iam_role.pod[each.key].name
  policy = jsonencode({ Version = "2012-10-17", Statement = each.value.statements })
}

resource "aws_eks_pod_identity_association" "pod" {
  for_each = local.accounts

  cluster_name    = aws_eks_cluster.genai.name
  namespace       = each.value.namespace
  service_account = each.value.account
  role_arn        = aws_iam_role.pod[each.key].arn
}
