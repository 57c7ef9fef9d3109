# A network of two to four zones: nodes in private subnets, NAT for what they ask of the internet, and S3 by an endpoint
# without a price, since NAT would charge for each gigabyte of weights.

data "aws_availability_zones" "here" {
  state            = "available"
  exclude_zone_ids = ["use1-az3", "usw1-az2", "cac1-az3"] # EKS takes no subnets there: its user guide, "VPC and subnet considerations"

  filter {
    name   = "opt-in-status"
    values = ["opt-in-not-required"] # no local zones
  }
}

locals {
  makes_network = length(var.subnet_ids) == 0
  chosen_zones  = length(var.zones) > 0 ? var.zones : slice(data.aws_availability_zones.here.names, 0, min(3, length(data.aws_availability_zones.here.names)))
  zones         = local.makes_network ? { for i, zone in local.chosen_zones : zone => i } : {}
  nat_zones     = var.nat_gateways == "one" ? { for zone, i in local.zones : zone => i if i == 0 } : local.zones
  node_zones    = local.makes_network ? keys(local.zones) : distinct([for subnet in data.aws_subnet.given : subnet.availability_zone])
  vpc_id        = local.makes_network ? aws_vpc.genai[0].id : data.aws_subnet.given[var.subnet_ids[0]].vpc_id
  subnet_ids    = local.makes_network ? [for zone in keys(local.zones) : aws_subnet.private[zone].id] : var.subnet_ids
}

resource "aws_vpc" "genai" {
  count = local.makes_network ? 1 : 0

  cidr_block           = var.vpc_cidr
  enable_dns_support   = true
  enable_dns_hostnames = true # the private address of the API server
  tags                 = { Name = var.name }
}

# Without rules: what is put into it by mistake reaches nothing.
resource "aws_default_security_group" "closed" {
  count = local.makes_network ? 1 : 0

  vpc_id = aws_vpc.genai[0].id
}

resource "aws_subnet" "private" {
  for_each = local.zones

  vpc_id            = aws_vpc.genai[0].id
  availability_zone = each.key
  cidr_block        = cidrsubnet(var.vpc_cidr, 3, each.value)

  tags = {
    Name                              = "${var.name}-private-${each.key}"
    "kubernetes.io/role/internal-elb" = "1" # the pipeline's NodeClass selects subnets by it
  }
}

resource "aws_subnet" "public" {
  for_each = local.zones

  vpc_id            = aws_vpc.genai[0].id
  availability_zone = each.key
  cidr_block        = cidrsubnet(var.vpc_cidr, 8, 240 + each.value)

  tags = {
    Name                     = "${var.name}-public-${each.key}"
    "kubernetes.io/role/elb" = "1"
  }
}

resource "aws_internet_gateway" "genai" {
  count = local.makes_network ? 1 : 0

  vpc_id = aws_vpc.genai[0].id
  tags   = { Name = var.name }
}

resource "aws_eip" "nat" {
  for_each = local.nat_zones

  domain = "vpc"
  tags   = { Name = "${var.name}-nat-${each.key}" }
}

resource "aws_nat_gateway" "genai" {
  for_each = local.nat_zones

  allocation_id = aws_eip.nat[each.key].id
  subnet_id     = aws_subnet.public[each.key].id
  tags          = { Name = "${var.name}-${each.key}" }

  depends_on = [aws_internet_gateway.genai]
}

resource "aws_route_table" "public" {
  count = local.makes_network ? 1 : 0

  vpc_id = aws_vpc.genai[0].id
  tags   = { Name = "${var.name}-public" }

  route {
    cidr_block = "0.0.0.0/0"
    gateway_id = aws_internet_gateway.genai[0].id
  }
}

resource "aws_route_table" "private" {
  for_each = local.zones

  vpc_id = aws_vpc.genai[0].id
  tags   = { Name = "${var.name}-private-${each.key}" }

  route {
    cidr_block     = "0.0.0.0/0"
    nat_gateway_id = aws_nat_gateway.genai[contains(keys(local.nat_zones), each.key) ? each.key : keys(local.nat_zones)[0]].id
  }
}

resource "aws_route_table_association" "public" {
  for_each = local.zones

  subnet_id      = aws_subnet.public[each.key].id
  route_table_id = aws_route_table.public[0].id
}

resource "aws_route_table_association" "private" {
  for_each = local.zones

  subnet_id      = aws_subnet.private[each.key].id
  route_table_id = aws_route_table.private[each.key].id
}

resource "aws_vpc_endpoint" "s3" {
  count = local.makes_network ? 1 : 0

  vpc_id            = aws_vpc.genai[0].id
  service_name      = "com.amazonaws.${local.region}.s3"
  vpc_endpoint_type = "Gateway"
  route_table_ids   = [for table in aws_route_table.private : table.id]
  tags              = { Name = "${var.name}-s3" }
}

data "aws_subnet" "given" {
  for_each = toset(var.subnet_ids)

  id = each.key

  lifecycle {
    postcondition {
      condition     = lookup(coalesce(self.tags, {}), "kubernetes.io/role/internal-elb", "") == "1"
      error_message = "Subnet ${each.key} lacks the tag kubernetes.io/role/internal-elb=1. The pipeline's NodeClass and internal load balancers select subnets by it."
    }
  }
}
