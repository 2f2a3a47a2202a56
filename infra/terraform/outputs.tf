output "handle" {
  description = "Write this into a monitor's message."
  value       = "@sns-${aws_sns_topic.this.name}"
}

output "topic_arn" {
  description = "The topic that Datadog publishes to."
  value       = aws_sns_topic.this.arn
}

output "topic_name" {
  description = "The topic's name, for the Datadog side's SNS handle."
  value       = aws_sns_topic.this.name
}

output "queue_url" {
  description = "The notifications' queue; null with direct delivery."
  value       = one(aws_sqs_queue.notifications[*].id)
}

output "dead_letter_queue" {
  description = "The dead letters' queue: its URL, ARN and name."
  value = {
    url  = aws_sqs_queue.dead_letters.id
    arn  = aws_sqs_queue.dead_letters.arn
    name = aws_sqs_queue.dead_letters.name
  }
}

output "functions" {
  description = "The names of both functions."
  value       = { for key, function in aws_lambda_function.this : key => function.function_name }
}

output "alarms" {
  description = "The names of the alarms."
  value       = { for key, alarm in aws_cloudwatch_metric_alarm.this : key => alarm.alarm_name }
}
