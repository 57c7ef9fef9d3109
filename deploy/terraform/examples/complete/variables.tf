variable "region" {
  description = "AWS region, which has to offer your GPUs."
  type        = string
  default     = "eu-west-1"
}

variable "name" {
  description = "Name of the cluster, and the beginning of the names of everything else."
  type        = string
  default     = "genai"
}

variable "administrators" {
  description = "ARNs of the IAM roles and users that administer the cluster."
  type        = set(string)
}

variable "public_access_cidrs" {
  description = "Source addresses that may reach the API server from the internet, like 198.51.100.0/24."
  type        = list(string)
  default     = []
}

variable "rules_file" {
  description = "File that `genai render --rules --out amp` wrote: amp/rules.yaml."
  type        = string
  default     = null
}

variable "capacity_reservations" {
  description = "GPU capacity to reserve, by a name of yours. It is paid from the moment it exists."
  type = map(object({
    instance_type = string
    zone          = string
    count         = number
    ends_at       = optional(string)
  }))
  default = {}
}

variable "capacity_blocks" {
  description = "Capacity Blocks to buy: name -> the offering's id. Each is paid at once and cannot be given back."
  type        = map(string)
  default     = {}
}

variable "database" {
  description = "PostgreSQL for Dagster; null for one of your own."
  type = object({
    instance_class = optional(string)
    storage_gb     = optional(number)
    multi_az       = optional(bool)
    version        = optional(string)
  })
  default = {}
}

variable "budget" {
  description = "Amount in US dollars for a month of the whole account, and who gets the mails."
  type = object({
    monthly_usd = number
    emails      = list(string)
  })
  default = null
}
