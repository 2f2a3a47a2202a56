variable "breakers" {
  description = <<-EOT
    The metric monitors that move breakers, by name. query: the monitor's, grouped by the breaker's key
    (`… by {bank_code}`). callback_url: the owning service's, written out. tags: besides the tag of managed monitors.
    no_data: what the breaker's file says of it; `hold` needs no notification.
  EOT
  type = map(object({
    type              = optional(string, "query alert")
    query             = string
    critical          = number
    critical_recovery = optional(number)
    warning           = optional(number)
    warning_recovery  = optional(number)
    callback_url      = string
    text              = optional(string, "")
    tags              = optional(list(string), [])
    priority          = optional(number)
    no_data           = optional(string, "hold")
    renotify_minutes  = optional(number, 0)
  }))
  validation {
    condition     = alltrue([for breaker in values(var.breakers) : can(regex("^https://[^{}\\s]+$", breaker.callback_url))])
    error_message = "callback_url must be a literal https URL: no template variable, no blank. Datadog renders variables empty in some messages."
  }
  validation {
    condition     = alltrue([for breaker in values(var.breakers) : contains(["hold", "open", "close"], breaker.no_data)])
    error_message = "no_data must be hold, open or close, as in the breaker's file."
  }
}

variable "topic_name" {
  description = "The topic that Cutout listens to: the output topic_name of the AWS module."
  type        = string
}

variable "managed_tag" {
  description = "The bare tag of managed monitors: the AWS module's reconcile_tag."
  type        = string
  default     = "cutout"
}

variable "watch" {
  description = <<-EOT
    Monitors on Cutout itself, by the metrics that Datadog's AWS integration collects (SQS, Lambda, and the custom namespace
    `Cutout`); null for none. name: the AWS module's name. notify: handles of the people to tell, such as @pagerduty-ops.
  EOT
  type = object({
    name              = optional(string, "cutout")
    dead_letter_queue = string
    notify            = string
  })
  default = null
}
