# PostgreSQL for Dagster, only if asked for. RDS makes the password of its administrator and keeps it in Secrets Manager,
# so that neither the state nor a plan has it. Secrets Manager changes it each week: Dagster gets a user of its own.

resource "aws_db_instance" "dagster" {
  count = var.database == null ? 0 : 1

  identifier     = "${var.name}-dagster"
  engine         = "postgres"
  engine_version = var.database.version # a major version: RDS chooses the minor one, and keeps it current
  instance_class = var.database.instance_class
  multi_az       = var.database.multi_az

  allocated_storage     = var.database.storage_gb
  max_allocated_storage = var.database.storage_gb * 5
  storage_type          = "gp3"
  storage_encrypted     = true

  db_name                     = "dagster"
  username                    = "administrator"
  manage_master_user_password = true

  db_subnet_group_name   = aws_db_subnet_group.dagster[0].name
  vpc_security_group_ids = [aws_security_group.database[0].id]
  publicly_accessible    = false

  auto_minor_version_upgrade = true
  backup_retention_period    = 7
  copy_tags_to_snapshot      = true

  deletion_protection       = !var.force_destroy
  skip_final_snapshot       = var.force_destroy
  final_snapshot_identifier = "${var.name}-dagster-last"
}

resource "aws_db_subnet_group" "dagster" {
  count = var.database == null ? 0 : 1

  name       = "${var.name}-dagster"
  subnet_ids = local.subnet_ids
}

# Only from the cluster: EKS gives its own group to the nodes of Auto Mode.
resource "aws_security_group" "database" {
  count = var.database == null ? 0 : 1

  name        = "${var.name}-database"
  description = "PostgreSQL of Dagster, from the cluster ${var.name}"
  vpc_id      = local.vpc_id
}

resource "aws_vpc_security_group_ingress_rule" "database" {
  count = var.database == null ? 0 : 1

  security_group_id            = aws_security_group.database[0].id
  referenced_security_group_id = aws_eks_cluster.genai.vpc_config[0].cluster_security_group_id
  description                  = "Pods of the cluster"
  ip_protocol                  = "tcp"
  from_port                    = 5432
  to_port                      = 5432
}
