# Each part by itself: the default, and what a variable changes.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  administrators = ["arn:aws:iam::123456789012:role/platform"]
}

run "defaults" {
  command = plan

  assert {
    condition = (
      aws_eks_cluster.genai.compute_config[0].enabled
      && aws_eks_cluster.genai.storage_config[0].block_storage[0].enabled
      && aws_eks_cluster.genai.kubernetes_network_config[0].elastic_load_balancing[0].enabled
    )
    error_message = "Auto Mode needs compute, storage and load balancing together."
  }

  assert {
    condition     = tolist(aws_eks_cluster.genai.compute_config[0].node_pools) == tolist(["general-purpose"])
    error_message = "Without a pool of EKS there is no NodeClass default, and `system` is the name of a pool of the pipeline."
  }

  assert {
    condition     = aws_eks_cluster.genai.access_config[0].authentication_mode == "API" && !aws_eks_cluster.genai.access_config[0].bootstrap_cluster_creator_admin_permissions
    error_message = "Only access entries may let anyone in."
  }

  assert {
    condition     = aws_eks_cluster.genai.vpc_config[0].endpoint_private_access && !aws_eks_cluster.genai.vpc_config[0].endpoint_public_access
    error_message = "Without CIDRs the API server must have a private address only."
  }

  assert {
    condition     = aws_eks_access_entry.reserved_node.type == "EC2" && endswith(aws_eks_access_policy_association.reserved_node.policy_arn, "/AmazonEKSAutoNodePolicy")
    error_message = "Nodes of the pipeline's NodeClass cannot join."
  }

  assert {
    condition     = !aws_s3_bucket.models.force_destroy && alltrue([for r in aws_ecr_repository.image : !r.force_delete])
    error_message = "Models and images must not be deleted by accident."
  }

  assert {
    condition     = aws_s3_bucket_versioning.models.versioning_configuration[0].status == "Enabled"
    error_message = "The bucket keeps no versions."
  }

  assert {
    condition = alltrue([
      aws_s3_bucket_public_access_block.models.block_public_acls,
      aws_s3_bucket_public_access_block.models.block_public_policy,
      aws_s3_bucket_public_access_block.models.ignore_public_acls,
      aws_s3_bucket_public_access_block.models.restrict_public_buckets,
    ])
    error_message = "The bucket could be public."
  }

  assert {
    condition     = jsondecode(aws_s3_bucket_policy.models.policy).Statement[0].Condition == { Bool = { "aws:SecureTransport" = "false" } }
    error_message = "The bucket takes requests without TLS."
  }

  assert {
    condition     = alltrue([for r in aws_ecr_repository.image : r.image_scanning_configuration[0].scan_on_push])
    error_message = "Images are not scanned."
  }

  assert {
    condition     = length(aws_nat_gateway.genai) == 1 && length(aws_subnet.private) == 3 && length(aws_vpc_endpoint.s3) == 1
    error_message = "The network has other parts than three zones, one NAT gateway and the endpoint of S3."
  }

  assert {
    condition     = alltrue([for s in aws_subnet.private : s.tags["kubernetes.io/role/internal-elb"] == "1" && !coalesce(s.map_public_ip_on_launch, false)])
    error_message = "The NodeClass selects private subnets by their tag."
  }

  assert {
    condition     = length(aws_ec2_capacity_reservation.gpu) == 0 && length(aws_budgets_budget.genai) == 0 && length(aws_prometheus_rule_group_namespace.genai) == 0 && length(aws_ec2_capacity_block_reservation.gpu) == 0 && length(aws_db_instance.dagster) == 0 && output.database == null
    error_message = "Something that was not asked for is made."
  }

  assert {
    condition     = toset(keys(aws_iam_role.pod)) == toset(["agent", "dagster", "engine", "exporter", "grafana", "pipeline", "prometheus"])
    error_message = "There are other roles: ${join(", ", keys(aws_iam_role.pod))}."
  }
}

run "own_network" {
  command = plan

  variables {
    subnet_ids = ["subnet-a", "subnet-b"]
    database   = {}
  }

  override_data {
    target = data.aws_subnet.given["subnet-a"]
    values = { availability_zone = "eu-west-1a", vpc_id = "vpc-given", tags = { "kubernetes.io/role/internal-elb" = "1" } }
  }

  override_data {
    target = data.aws_subnet.given["subnet-b"]
    values = { availability_zone = "eu-west-1b", tags = { "kubernetes.io/role/internal-elb" = "1" } }
  }

  assert {
    condition     = length(aws_vpc.genai) == 0 && length(aws_nat_gateway.genai) == 0 && length(aws_subnet.private) == 0
    error_message = "A network is made beside the one that was given."
  }

  assert {
    condition     = aws_eks_cluster.genai.vpc_config[0].subnet_ids == toset(["subnet-a", "subnet-b"]) && aws_db_subnet_group.dagster[0].subnet_ids == toset(["subnet-a", "subnet-b"]) && aws_security_group.database[0].vpc_id == "vpc-given"
    error_message = "Cluster and database are not in the network that was given."
  }
}

run "own_network_without_tags" {
  command = plan

  variables {
    subnet_ids = ["subnet-a", "subnet-b"]
  }

  override_data {
    target = data.aws_subnet.given
    values = { availability_zone = "eu-west-1a", tags = {} }
  }

  expect_failures = [data.aws_subnet.given]
}

run "own_network_of_one_zone" {
  command = plan

  variables {
    subnet_ids = ["subnet-a", "subnet-b"]
  }

  override_data {
    target = data.aws_subnet.given
    values = { availability_zone = "eu-west-1a", tags = { "kubernetes.io/role/internal-elb" = "1" } }
  }

  expect_failures = [aws_eks_cluster.genai]
}

run "without_workspace" {
  command = plan

  variables {
    managed_prometheus = false
  }

  assert {
    condition     = toset(keys(aws_iam_role.pod)) == toset(["agent", "dagster", "engine", "exporter", "pipeline"]) && output.settings.GENAI_PROMETHEUS_URL == null
    error_message = "Something of Amazon Managed Prometheus is left."
  }

  assert {
    condition     = !strcontains(aws_iam_role_policy.pod["pipeline"].policy, "aps:")
    error_message = "The pipeline may query a workspace that does not exist."
  }
}

run "what_is_asked_for" {
  command = plan

  variables {
    public_access_cidrs   = ["198.51.100.0/24"]
    zones                 = ["eu-west-1c", "eu-west-1a"]
    nat_gateways          = "zone"
    capacity_blocks       = { training = "cb-0123456789abcdefg" }
    capacity_reservations = { gpu = { instance_type = "g6e.2xlarge", zone = "eu-west-1a", count = 2, ends_at = "2027-03-01T00:00:00Z" } }
    database              = { instance_class = "db.m8g.large", multi_az = true }
    budget                = { monthly_usd = 2000, emails = ["platform@example.com"] }
  }

  assert {
    condition     = aws_eks_cluster.genai.vpc_config[0].endpoint_public_access && aws_eks_cluster.genai.vpc_config[0].public_access_cidrs == toset(["198.51.100.0/24"])
    error_message = "The addresses are not those that were given."
  }

  assert {
    condition     = toset(keys(aws_nat_gateway.genai)) == toset(["eu-west-1a", "eu-west-1c"])
    error_message = "A zone has no NAT gateway of its own."
  }

  assert {
    condition     = aws_ec2_capacity_reservation.gpu["gpu"].instance_match_criteria == "targeted" && aws_ec2_capacity_reservation.gpu["gpu"].end_date_type == "limited"
    error_message = "Other instances would take the reservation, or it does not end."
  }

  assert {
    condition     = aws_ec2_capacity_block_reservation.gpu["training"].capacity_block_offering_id == "cb-0123456789abcdefg"
    error_message = "Another offering is bought than the one that was chosen."
  }

  assert {
    condition     = length(aws_budgets_budget.genai[0].notification) == 2
    error_message = "The budget warns of something else than spending and forecast."
  }

  assert {
    condition     = aws_db_instance.dagster[0].manage_master_user_password && aws_db_instance.dagster[0].password == null
    error_message = "A password would be in the state."
  }

  assert {
    condition     = aws_db_instance.dagster[0].storage_encrypted && !aws_db_instance.dagster[0].publicly_accessible && aws_db_instance.dagster[0].deletion_protection && !aws_db_instance.dagster[0].skip_final_snapshot
    error_message = "The database is open, or can be lost by accident."
  }

  assert {
    condition     = aws_db_instance.dagster[0].multi_az && aws_db_instance.dagster[0].instance_class == "db.m8g.large"
    error_message = "The database is not as it was asked for."
  }
}

run "a_reservation_where_no_node_can_be_and_a_block_of_its_name" {
  command = plan

  variables {
    capacity_blocks       = { gpu = "cb-0123456789abcdefg" }
    capacity_reservations = { gpu = { instance_type = "g6e.2xlarge", zone = "eu-west-1d", count = 1 } }
  }

  expect_failures = [aws_ec2_capacity_reservation.gpu, aws_ec2_capacity_block_reservation.gpu]
}
