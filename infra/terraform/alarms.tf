# Alarms. What each means and what to do: docs/run-book.md.

resource "aws_cloudwatch_log_metric_filter" "reconcile" {
  for_each = {
    failed    = { pattern = "{ $.message = \"reconciled\" }", value = "$.failed" }
    completed = { pattern = "{ $.message = \"reconciled\" && $.unsent = 0 }", value = "1" }
  }
  name           = "${var.name}-reconcile-${each.key}"
  log_group_name = aws_cloudwatch_log_group.this["reconcile"].name
  pattern        = each.value.pattern
  metric_transformation {
    namespace = "Cutout"
    name      = "${var.name}-reconcile-${each.key}"
    value     = each.value.value
  }
}

locals {
  dead_letters = { QueueName = aws_sqs_queue.dead_letters.name }
  alarms = {
    dead-letters = {
      text      = "Notifications could not be delivered and were given up."
      namespace = "AWS/SQS", metric = "ApproximateNumberOfMessagesVisible", dimensions = local.dead_letters
      statistic = "Maximum", minutes = 1, of_minutes = 1, above = 0, below = null, missing = "notBreaching"
    }
    queue-age = {
      text      = "A notification has been waiting for more than five minutes."
      namespace = "AWS/SQS", metric = "ApproximateAgeOfOldestMessage", dimensions = { QueueName = "${var.name}-notifications" }
      statistic = "Maximum", minutes = 2, of_minutes = 2, above = 300, below = null, missing = "notBreaching"
    }
    notification-errors = {
      text      = "Notifications fail."
      namespace = "AWS/Lambda", metric = "Errors", dimensions = { FunctionName = "${var.name}-notification" }
      statistic = "Sum", minutes = 3, of_minutes = 5, above = 0, below = null, missing = "notBreaching"
    }
    notification-throttles = {
      text      = "The account has no concurrency left for notifications."
      namespace = "AWS/Lambda", metric = "Throttles", dimensions = { FunctionName = "${var.name}-notification" }
      statistic = "Sum", minutes = 3, of_minutes = 5, above = 0, below = null, missing = "notBreaching"
    }
    reconcile-silent = {
      text      = "No scheduled run was complete for five minutes."
      namespace = "Cutout", metric = "${var.name}-reconcile-completed", dimensions = null
      statistic = "Sum", minutes = 5, of_minutes = 5, above = null, below = 1, missing = "breaching"
    }
    reconcile-undelivered = {
      text      = "Services have not confirmed what scheduled runs sent for five minutes."
      namespace = "Cutout", metric = "${var.name}-reconcile-failed", dimensions = null
      statistic = "Maximum", minutes = 5, of_minutes = 5, above = 0, below = null, missing = "notBreaching"
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "this" {
  for_each            = { for key, alarm in local.alarms : key => alarm if local.by_queue || key != "queue-age" }
  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = "${each.value.text} See the run book, \"${replace(each.key, "-", " ")}\"."
  namespace           = each.value.namespace
  metric_name         = each.value.metric
  dimensions          = each.value.dimensions
  statistic           = each.value.statistic
  period              = 60
  evaluation_periods  = each.value.of_minutes
  datapoints_to_alarm = each.value.minutes
  threshold           = each.value.above == null ? each.value.below : each.value.above
  comparison_operator = each.value.above == null ? "LessThanThreshold" : "GreaterThanThreshold"
  treat_missing_data  = each.value.missing
  alarm_actions       = var.alarm_topic_arn == null ? [] : [var.alarm_topic_arn]
  ok_actions          = var.alarm_topic_arn == null ? [] : [var.alarm_topic_arn]
  tags                = var.tags
}
