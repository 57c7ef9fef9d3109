# Everything, in a network of its own. `terraform output -json | genai env --from-terraform` prints the settings.

terraform {
  required_version = ">= 1.9"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.100"
    }
  }

  # backend "s3" {} keeps the state where your colleagues find it.
}

provider "aws" {
  region = var.region

  default_tags {
    tags = { project = "genai-pipeline" }
  }
}

module "genai" {
  source = "../.."

  name                  = var.name
  administrators        = var.administrators
  public_access_cidrs   = var.public_access_cidrs
  rules_file            = var.rules_file
  capacity_reservations = var.capacity_reservations
  capacity_blocks       = var.capacity_blocks
  database              = var.database
  budget                = var.budget
}
