# GPU capacity that is kept for this cluster. Only a model file that names a reservation uses it: `open` ones would be
# taken by any instance of the type.

resource "aws_ec2_capacity_reservation" "gpu" {
  for_each = var.capacity_reservations

  instance_type           = each.value.instance_type
  instance_platform       = "Linux/UNIX"
  availability_zone       = each.value.zone
  instance_count          = each.value.count
  instance_match_criteria = "targeted"
  end_date_type           = each.value.ends_at == null ? "unlimited" : "limited"
  end_date                = each.value.ends_at
  tags                    = { Name = "${var.name}-${each.key}" }

  lifecycle {
    precondition {
      condition     = contains(local.node_zones, each.value.zone)
      error_message = "Reservation ${each.key}: nodes have no subnet in ${each.value.zone}, so it would be paid and never used. They have: ${join(", ", local.node_zones)}."
    }
  }

  # A type that is sold out is refused after a while, and not after many minutes.
  timeouts {
    create = "3m"
  }
}

# A Capacity Block is paid at once, for all of its time, and cannot be given back. So each is named by the offering that
# you chose, and nothing buys a second one: a changed offering is left alone, and `destroy` only forgets the block.
resource "aws_ec2_capacity_block_reservation" "gpu" {
  for_each = var.capacity_blocks

  capacity_block_offering_id = each.value
  instance_platform          = "Linux/UNIX"
  tags                       = { Name = "${var.name}-${each.key}" }

  lifecycle {
    ignore_changes = [capacity_block_offering_id]

    precondition {
      condition     = !contains(keys(var.capacity_reservations), each.key)
      error_message = "${each.key} is the name of a block and of a reservation. Each needs a name of its own."
    }
  }

  timeouts {
    create = "3m"
  }
}
