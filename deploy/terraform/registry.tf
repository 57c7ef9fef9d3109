# Repositories of the pipeline's images. A tag is the version of the package, so it never changes.

locals {
  registry     = "${local.account}.dkr.ecr.${local.region}.${data.aws_partition.here.dns_suffix}"
  repositories = setunion(toset([for image in ["chat-ui", "pipeline", "strands-agent"] : "genai-pipeline/${image}"]), var.more_repositories)
}

resource "aws_ecr_repository" "image" {
  for_each = local.repositories

  name                 = each.key
  image_tag_mutability = "IMMUTABLE"
  force_delete         = var.force_destroy

  image_scanning_configuration {
    scan_on_push = true
  }
}

resource "aws_ecr_lifecycle_policy" "untagged" {
  for_each = local.repositories

  repository = aws_ecr_repository.image[each.key].name

  policy = jsonencode({
    rules = [{
      rulePriority = 1
      description  = "Pushes that were replaced or did not end"
      selection    = { tagStatus = "untagged", countType = "sinceImagePushed", countUnit = "days", countNumber = 14 }
      action       = { type = "expire" }
    }]
  })
}
