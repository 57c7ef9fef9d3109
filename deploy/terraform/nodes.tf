# Two roles of the same nodes. EKS makes the access entry of the first by itself, together with its NodeClass `default`.
# The second is for the pipeline's own NodeClass, which models with capacity reservations get (GENAI_NODE_ROLE).

locals {
  node_roles    = toset(["node", "reserved-node"])
  node_policies = toset(["AmazonEKSWorkerNodeMinimalPolicy", "AmazonEC2ContainerRegistryPullOnly"])
}

resource "aws_iam_role" "node" {
  for_each = local.node_roles

  name        = "${var.name}-${each.key}"
  description = "Nodes of the cluster ${var.name}"

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "ec2.amazonaws.com" }
      Action    = "sts:AssumeRole"
    }]
  })
}

resource "aws_iam_role_policy_attachment" "node" {
  for_each = { for pair in setproduct(local.node_roles, local.node_policies) : join("/", pair) => { role = pair[0], policy = pair[1] } }

  role       = aws_iam_role.node[each.value.role].name
  policy_arn = "arn:${local.partition}:iam::aws:policy/${each.value.policy}"
}

resource "aws_eks_access_entry" "reserved_node" {
  cluster_name  = aws_eks_cluster.genai.name
  principal_arn = aws_iam_role.node["reserved-node"].arn
  type          = "EC2"
}

resource "aws_eks_access_policy_association" "reserved_node" {
  cluster_name  = aws_eks_cluster.genai.name
  principal_arn = aws_eks_access_entry.reserved_node.principal_arn
  policy_arn    = "arn:${local.partition}:eks::aws:cluster-access-policy/AmazonEKSAutoNodePolicy"

  access_scope {
    type = "cluster"
  }
}
