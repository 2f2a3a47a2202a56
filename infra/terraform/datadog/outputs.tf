output "handle" {
  description = "The handle of the topic. Datadog knows it once its AWS integration's role may list topics (sns:ListTopics) and publish."
  value       = local.handle
}

output "monitor_ids" {
  description = "The monitors by name: put these numbers into the breakers' file (monitors = { ids = [...] })."
  value       = { for name, monitor in datadog_monitor.breaker : name => monitor.id }
}

output "messages" {
  description = "The monitors' texts."
  value       = local.messages
}
