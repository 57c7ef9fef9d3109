variable "name" {
  description = "Name of the cluster, and the beginning of the names of everything else."
  type        = string
  default     = "genai"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,23}$", var.name))
    error_message = "The name must have 2 to 24 small letters, digits and hyphens, and begin with a letter: roles get it as a prefix."
  }
}

variable "namespace" {
  description = "Kubernetes namespace of the pipeline (GENAI_NAMESPACE). Roles are bound to accounts in it."
  type        = string
  default     = "genai"

  validation {
    condition     = can(regex("^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$", var.namespace))
    error_message = "The namespace must be a name of Kubernetes: up to 63 small letters, digits and hyphens."
  }
}

variable "administrators" {
  description = "ARNs of the IAM roles and users that administer the cluster. The creator gets no access by itself."
  type        = set(string)

  validation {
    condition     = length(var.administrators) > 0
    error_message = "Name at least one administrator. Without one the cluster has no user."
  }

  validation {
    condition     = alltrue([for arn in var.administrators : can(regex("^arn:aws[a-z-]*:iam::[0-9]{12}:(role|user)/", arn))])
    error_message = "An administrator must be the ARN of an IAM role or user, like arn:aws:iam::123456789012:role/platform. Sessions (arn:aws:sts:…) do not last."
  }
}

variable "public_access_cidrs" {
  description = "Source addresses that may reach the API server from the internet. Without any it has a private address only."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for cidr in var.public_access_cidrs : can(cidrhost(cidr, 0)) && !endswith(cidr, "/0")])
    error_message = "Each entry must be a CIDR block like 198.51.100.0/24. The whole internet (/0) is not allowed."
  }
}

variable "kubernetes_version" {
  description = "Version of Kubernetes, 1.31 or newer."
  type        = string
  default     = "1.34"

  validation {
    condition     = can(regex("^1\\.(3[1-9]|[4-9][0-9])$", var.kubernetes_version))
    error_message = "The version must be 1.31 or newer, like 1.34."
  }
}

variable "control_plane_logs" {
  description = "Logs of the control plane that CloudWatch keeps for `log_days`."
  type        = set(string)
  default     = ["audit", "authenticator"]

  validation {
    condition     = length(setsubtract(var.control_plane_logs, ["api", "audit", "authenticator", "controllerManager", "scheduler"])) == 0
    error_message = "Allowed are api, audit, authenticator, controllerManager and scheduler."
  }
}

variable "log_days" {
  description = "Days that CloudWatch keeps the logs of the control plane, and S3 the output of Dagster's steps (`dagster-logs/`)."
  type        = number
  default     = 90
}

variable "subnet_ids" {
  description = "Private subnets of a network of yours, in two zones or more. Without any, a network is made."
  type        = list(string)
  default     = []

  validation {
    condition     = length(var.subnet_ids) != 1
    error_message = "EKS needs subnets in two zones or more."
  }
}

variable "vpc_cidr" {
  description = "Addresses of the network that is made. Each pod takes one."
  type        = string
  default     = "10.0.0.0/16"

  validation {
    condition     = can(cidrhost(var.vpc_cidr, 0)) && can(regex("/1[6-8]$", var.vpc_cidr))
    error_message = "The block must have a mask of /16 to /18, like 10.0.0.0/16."
  }
}

variable "zones" {
  description = "Availability zones of the network that is made, like eu-west-1a. The default is the first three. Choose those that have your GPUs."
  type        = list(string)
  default     = []

  validation {
    condition     = contains([0, 2, 3, 4], length(var.zones)) && length(distinct(var.zones)) == length(var.zones)
    error_message = "Name two to four different zones, or none for the first three."
  }
}

variable "nat_gateways" {
  description = "one: a single NAT gateway, whose zone is then needed by all. zone: one for each zone."
  type        = string
  default     = "one"

  validation {
    condition     = contains(["one", "zone"], var.nat_gateways)
    error_message = "Allowed are one and zone."
  }
}

variable "bucket" {
  description = "Name of the bucket (GENAI_BUCKET). The default is <name>-models-<account>-<region>."
  type        = string
  default     = null

  validation {
    condition     = var.bucket == null || can(regex("^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$", var.bucket))
    error_message = "The name must have 3 to 63 small letters, digits and hyphens. A dot breaks TLS."
  }
}

variable "force_destroy" {
  description = "Whether `terraform destroy` also deletes what is in the bucket and in the repositories: models, records, conversations, images."
  type        = bool
  default     = false
}

variable "kms_key_arn" {
  description = "KMS key that encrypts the bucket. Its own policy has to let this account's IAM decide. Without one S3's own keys are used."
  type        = string
  default     = null

  validation {
    condition     = var.kms_key_arn == null || can(regex("^arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/", var.kms_key_arn))
    error_message = "The key must be given by its ARN, like arn:aws:kms:eu-west-1:123456789012:key/…. An alias cannot stand in a policy."
  }
}

variable "noncurrent_days" {
  description = "Days that S3 keeps what was overwritten or deleted. `genai prune` frees space only after them."
  type        = number
  default     = 7

  validation {
    condition     = var.noncurrent_days >= 1
    error_message = "S3 counts whole days, from 1."
  }
}

variable "session_days" {
  description = "Days after which S3 deletes a conversation that was not continued. Longer than the agent's AGENT_SESSION_TTL_S."
  type        = number
  default     = 7

  validation {
    condition     = var.session_days >= 1
    error_message = "S3 counts whole days, from 1."
  }
}

variable "source_buckets" {
  description = "Other buckets that models come from (`source.s3` of a model file). The pipeline may read them."
  type        = set(string)
  default     = []
}

variable "agent_bedrock_arns" {
  description = "Models and inference profiles of Bedrock that agents may ask, as ARNs. Only for MODEL_PROVIDER=bedrock and for fallbacks."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for arn in var.agent_bedrock_arns : can(regex("^arn:aws[a-z-]*:bedrock:.+(foundation-model|inference-profile)/[^*]+$", arn))])
    error_message = "Each entry must be the ARN of one foundation model or inference profile, without a wildcard in its name."
  }
}

variable "judge_bedrock_arns" {
  description = "Models and inference profiles of Bedrock that judge free text (`gates.agent.judge` with `provider: bedrock`), as ARNs."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for arn in var.judge_bedrock_arns : can(regex("^arn:aws[a-z-]*:bedrock:.+(foundation-model|inference-profile)/[^*]+$", arn))])
    error_message = "Each entry must be the ARN of one foundation model or inference profile, without a wildcard in its name."
  }
}

variable "more_repositories" {
  description = "More ECR repositories, as for a mirror of vLLM's image or an image for Ray."
  type        = set(string)
  default     = []
}

variable "managed_prometheus" {
  description = "Whether to make a workspace of Amazon Managed Prometheus, with roles for the Prometheus that writes and the Grafana that reads."
  type        = bool
  default     = true
}

variable "rules_file" {
  description = "File with the rules of your models: `genai render --rules --out amp` writes amp/rules.yaml."
  type        = string
  default     = null

  validation {
    condition     = var.rules_file == null || var.managed_prometheus
    error_message = "Rules need the workspace: managed_prometheus = true."
  }

  validation {
    condition     = var.rules_file == null || can(yamldecode(file(var.rules_file)).groups)
    error_message = "The file must have the groups that `genai render --rules` writes."
  }
}

variable "keda" {
  description = "Whether KEDA scales replicas by the workspace (`replicas.max` above `min`). Its account is keda-operator in the namespace keda."
  type        = bool
  default     = false

  validation {
    condition     = !var.keda || var.managed_prometheus
    error_message = "The role of KEDA reads the workspace: managed_prometheus = true."
  }
}

variable "capacity_reservations" {
  description = "GPU capacity to reserve, by a name of yours. It is paid from the moment it exists, used or not."
  type = map(object({
    instance_type = string
    zone          = string
    count         = number
    ends_at       = optional(string) # like 2027-03-01T00:00:00Z; without it, until you destroy it
  }))
  default = {}

  validation {
    condition     = alltrue([for r in var.capacity_reservations : r.count >= 1 && can(regex("^[a-z0-9-]+\\.[a-z0-9]+$", r.instance_type))])
    error_message = "Each reservation needs an instance type like g6e.2xlarge, and a count of at least 1."
  }
}

variable "capacity_blocks" {
  description = "Capacity Blocks to buy: name -> the offering's id, from `aws ec2 describe-capacity-block-offerings`. Each is paid at once and cannot be given back."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for offering in var.capacity_blocks : can(regex("^cb-[0-9a-z]+$", offering))])
    error_message = "Each value must be the id of an offering, like cb-0123456789abcdefg. An id that begins with cr- is a block that you have: name it in the model file."
  }
}

variable "database" {
  description = "PostgreSQL for Dagster: an instance of RDS. `{}` takes the defaults; without it, nothing is made."
  type = object({
    instance_class = optional(string, "db.t4g.small")
    storage_gb     = optional(number, 20)
    multi_az       = optional(bool, false) # twice the price; without it a failed zone stops rollouts, and no model
    version        = optional(string, "17")
  })
  default = null

  validation {
    condition     = try(startswith(var.database.instance_class, "db."), true)
    error_message = "The class must be one of RDS, like db.t4g.small."
  }

  validation {
    condition     = try(var.database.storage_gb >= 20, true)
    error_message = "RDS keeps at least 20 GB."
  }
}

variable "dagster_account" {
  description = "ServiceAccount of Dagster's webserver and daemon, which reads the output of steps from the bucket. The default is that of `helm install dagster charts/genai-pipeline`."
  type        = string
  default     = "dagster-genai-pipeline-dagster"
}

variable "budget" {
  description = "Mails when the whole account has spent 80 % of so many US dollars in a month, and when all of them are forecast."
  type = object({
    monthly_usd = number
    emails      = list(string)
  })
  default = null

  validation {
    condition     = var.budget == null || try(length(var.budget.emails) > 0 && var.budget.monthly_usd > 0, false)
    error_message = "A budget needs an amount, and at least one address."
  }
}
