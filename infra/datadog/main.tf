# The monitor of monitor.json, for teams that keep their monitors in Terraform. One text for both ways.

terraform {
  required_version = ">= 1.5"
  required_providers {
    datadog = {
      source  = "DataDog/datadog"
      version = ">= 3.40"
    }
  }
}

locals {
  monitor = jsondecode(file("${path.module}/monitor.json"))
}

resource "datadog_monitor" "bank_charge" {
  name     = local.monitor.name
  type     = local.monitor.type
  query    = local.monitor.query
  message  = local.monitor.message
  tags     = local.monitor.tags
  priority = local.monitor.priority

  monitor_thresholds {
    critical          = local.monitor.options.thresholds.critical
    critical_recovery = local.monitor.options.thresholds.critical_recovery
    warning           = local.monitor.options.thresholds.warning
    warning_recovery  = local.monitor.options.thresholds.warning_recovery
  }

  include_tags        = local.monitor.options.include_tags
  require_full_window = local.monitor.options.require_full_window
  new_group_delay     = local.monitor.options.new_group_delay
  on_missing_data     = local.monitor.options.on_missing_data
  renotify_interval   = local.monitor.options.renotify_interval
}

output "monitor_id" {
  description = "Goes into `monitors = { ids = [...] }` of the breakers' file."
  value       = datadog_monitor.bank_charge.id
}
