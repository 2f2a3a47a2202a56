variable "name" {
  description = "The start of every name that this module gives."
  type        = string
  default     = "cutout"
  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,39}$", var.name))
    error_message = "The name must start with a-z and have at most 40 of a-z, 0-9 and -."
  }
}

variable "zip_path" {
  description = "The function's zip, as infra/package/lambda builds it, for the architecture below."
  type        = string
  validation {
    condition     = endswith(var.zip_path, ".zip")
    error_message = "zip_path must name a zip."
  }
}

variable "architecture" {
  description = "The architecture of the zip and of the extension's layer."
  type        = string
  default     = "arm64"
  validation {
    condition     = contains(["arm64", "x86_64"], var.architecture)
    error_message = "architecture must be arm64 or x86_64."
  }
}

variable "datadog_site" {
  description = "Your Datadog site, DD_SITE."
  type        = string
  default     = "datadoghq.com"
  validation {
    condition = contains([
      "datadoghq.com", "us3.datadoghq.com", "us5.datadoghq.com", "ap1.datadoghq.com", "ap2.datadoghq.com",
      "uk1.datadoghq.com", "datadoghq.eu", "ddog-gov.com", "us2.ddog-gov.com",
    ], var.datadog_site)
    error_message = "datadog_site must be a site of Datadog, such as datadoghq.eu (without app.)."
  }
}

variable "datadog_role_arn" {
  description = "The role of Datadog's AWS integration in this account. It alone may publish to the topic."
  type        = string
  validation {
    condition     = can(regex("^arn:aws[a-z-]*:iam::[0-9]{12}:role/.+$", var.datadog_role_arn))
    error_message = "datadog_role_arn must be the ARN of a role."
  }
}

variable "topic_name" {
  description = "The name behind @sns- in a monitor's message."
  type        = string
  default     = "dd-circuit-breaker"
  validation {
    condition     = can(regex("^[A-Za-z0-9_-]{1,200}$", var.topic_name))
    error_message = "topic_name must be the name of a standard topic."
  }
}

variable "secrets" {
  description = <<-EOT
    Where the three secrets are kept, each by the ARN of a secret in Secrets Manager or by the full name of a SecureString
    parameter (with its leading slash). Each holds the value alone, as plain text. kms_key_arn: the key of your own that
    encrypts them, null if AWS's key does.
  EOT
  type = object({
    datadog_api_key = string
    datadog_app_key = string
    signing         = string
    kms_key_arn     = optional(string)
  })
  validation {
    condition = alltrue([
      for kept in [var.secrets.datadog_api_key, var.secrets.datadog_app_key, var.secrets.signing] :
      can(regex("^(arn:aws[a-z-]*:secretsmanager:[^:]+:[0-9]{12}:secret:.+|/[A-Za-z0-9_./-]+)$", kept))
    ])
    error_message = "Each secret must be the ARN of a secret, or the name of a parameter that starts with a slash. Never the secret itself."
  }
}

variable "extension_layer_arn" {
  description = <<-EOT
    The layer of the AWS parameters-and-secrets extension for this region and architecture, from AWS's list (Systems
    Manager user guide, "Using Parameter Store parameters in AWS Lambda functions").
  EOT
  type        = string
  validation {
    condition     = can(regex(":layer:AWS-Parameters-and-Secrets-Lambda-Extension(-Arm64)?:[0-9]+$", var.extension_layer_arn))
    error_message = "extension_layer_arn must be a version of the layer AWS-Parameters-and-Secrets-Lambda-Extension."
  }
  validation {
    condition     = strcontains(var.extension_layer_arn, "-Arm64:") == (var.architecture == "arm64")
    error_message = "The layer must be of the function's architecture: …-Extension-Arm64 for arm64, …-Extension for x86_64."
  }
}

variable "callback_allow" {
  description = "The hosts that may be called, such as *.svc.example.com (CUTOUT_CALLBACK_ALLOW)."
  type        = list(string)
  validation {
    condition     = length(var.callback_allow) > 0
    error_message = "With no host allowed, no callback would be sent."
  }
}

variable "callback_allow_cidrs" {
  description = "The address ranges of these hosts if they are private, such as 10.0.0.0/8 (CUTOUT_CALLBACK_ALLOW_CIDR)."
  type        = list(string)
  default     = []
  validation {
    condition     = alltrue([for range in var.callback_allow_cidrs : can(cidrhost(range, 0))])
    error_message = "Each must be a range of addresses, such as 10.0.0.0/8."
  }
}

variable "vpc" {
  description = "Private subnets and security groups of the functions, if the services are in a VPC; null if not. The subnets need a way out to Datadog."
  type = object({
    subnet_ids         = list(string)
    security_group_ids = list(string)
  })
  default = null
  validation {
    condition     = var.vpc == null || try(length(var.vpc.subnet_ids) > 0 && length(var.vpc.security_group_ids) > 0, false)
    error_message = "vpc needs subnets and security groups."
  }
}

variable "delivery" {
  description = "queue: SNS to SQS to the function, five tries in about ten minutes. direct: SNS to the function, three tries in about three minutes. Then the dead-letter queue."
  type        = string
  default     = "queue"
  validation {
    condition     = contains(["queue", "direct"], var.delivery)
    error_message = "delivery must be queue or direct."
  }
}

variable "maximum_concurrency" {
  description = "How many messages of the queue are handled at a time."
  type        = number
  default     = 10
  validation {
    condition     = var.maximum_concurrency >= 2 && var.maximum_concurrency <= 1000
    error_message = "AWS takes 2 to 1000."
  }
}

variable "reconcile_tag" {
  description = "The bare tag of managed monitors (CUTOUT_RECONCILE_TAG)."
  type        = string
  default     = "cutout"
  validation {
    condition     = can(regex("^[a-z0-9_./-]+$", var.reconcile_tag))
    error_message = "reconcile_tag must be one bare tag in lower case, without colon, comma or blank."
  }
}

variable "log_retention_days" {
  description = "How long log lines are kept."
  type        = number
  default     = 90
  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1827, 3653], var.log_retention_days)
    error_message = "CloudWatch takes only certain numbers of days, such as 30, 90 or 365."
  }
}

variable "alarm_topic_arn" {
  description = "The topic that alarms go to; null for none. Not this module's topic."
  type        = string
  default     = null
}

variable "tags" {
  description = "Tags for everything that has tags."
  type        = map(string)
  default     = {}
}
