# The Datadog side: monitors with the right text, and monitors on Cutout itself.

locals {
  handle = "@sns-${var.topic_name}"
  # Each block once, a literal URL, first in the message, the handle outside: it then goes out on every transition. A recovery
  # from a warning and from no data is a recovery too; ALERT to WARN is neither recovery, so warnings have a block.
  blocks = ["is_alert", "is_warning", "is_recovery"]
  messages = {
    for name, breaker in var.breakers : name => join("\n", concat(
      [
        for block in concat(local.blocks, breaker.no_data == "hold" ? [] : ["is_no_data"]) :
        "{{#${block}}}circuit-breaker-callback: ${breaker.callback_url} {{/${block}}}"
      ],
      [local.handle],
      breaker.text == "" ? [] : ["", breaker.text],
    ))
  }
}

resource "datadog_monitor" "breaker" {
  for_each = var.breakers
  name     = each.key
  type     = each.value.type
  query    = each.value.query
  message  = local.messages[each.key]
  tags     = concat([var.managed_tag], each.value.tags)
  priority = each.value.priority

  monitor_thresholds {
    critical          = each.value.critical
    critical_recovery = each.value.critical_recovery
    warning           = each.value.warning
    warning_recovery  = each.value.warning_recovery
  }

  include_tags = true
  # Not hide_all, hide_handles_and_footer or show_only_snapshot: they drop the links that name the monitor.
  notification_preset_name = "show_all"
  on_missing_data          = each.value.no_data == "hold" ? "show_no_data" : "show_and_notify_no_data"
  renotify_interval        = each.value.renotify_minutes
  renotify_statuses        = each.value.renotify_minutes == 0 ? null : ["alert", "warn"]
  require_full_window      = false
}

resource "datadog_monitor" "dead_letters" {
  count   = var.watch == null ? 0 : 1
  name    = "${var.watch.name}: notifications were given up"
  type    = "query alert"
  query   = "max(last_5m):max:aws.sqs.approximate_number_of_messages_visible{queuename:${lower(var.watch.dead_letter_queue)}} > 0"
  message = "Messages stand in the dead-letter queue. See the run book, \"dead letters\". ${var.watch.notify}"
  tags    = ["service:cutout"]
  monitor_thresholds {
    critical = 0
  }
  on_missing_data     = "resolve"
  require_full_window = false
}

resource "datadog_monitor" "reconcile_silent" {
  count   = var.watch == null ? 0 : 1
  name    = "${var.watch.name}: no scheduled run was complete"
  type    = "query alert"
  query   = "sum(last_15m):default_zero(sum:cutout.${replace(var.watch.name, "-", "_")}_reconcile_completed{*}.as_count()) < 1"
  message = "What a lost notification left wrong is not healed. See the run book, \"reconcile silent\". ${var.watch.notify}"
  tags    = ["service:cutout"]
  monitor_thresholds {
    critical = 1
  }
  on_missing_data     = "show_and_notify_no_data"
  require_full_window = false
}

resource "datadog_monitor" "unconfirmed" {
  count   = var.watch == null ? 0 : 1
  name    = "${var.watch.name}: services do not confirm callbacks"
  type    = "query alert"
  query   = "min(last_15m):max:cutout.${replace(var.watch.name, "-", "_")}_reconcile_failed{*} > 0"
  message = "Callbacks of scheduled runs are not committed. See the run book, \"reconcile undelivered\". ${var.watch.notify}"
  tags    = ["service:cutout"]
  monitor_thresholds {
    critical = 0
  }
  on_missing_data     = "show_no_data"
  require_full_window = false
}
