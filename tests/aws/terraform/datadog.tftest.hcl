# The texts of the Datadog module's monitors.

variables {
  topic_name = "dd-circuit-breaker"
  breakers = {
    plain = {
      query        = "avg(last_5m):sum:a.b{*} by {bank_code} > 1"
      critical     = 1
      callback_url = "https://a.svc.example.com/dd_circuit_breaker/callback"
    }
    no-data = {
      query        = "avg(last_5m):sum:a.b{*} by {bank_code} > 1"
      critical     = 1
      callback_url = "https://a.svc.example.com/dd_circuit_breaker/callback"
      text         = "Look at the dashboard."
      no_data      = "open"
    }
  }
}

run "a_message_has_a_block_a_transition_and_the_handle_outside" {
  command = plan
  assert {
    condition = local.messages["plain"] == join("\n", [
      "{{#is_alert}}circuit-breaker-callback: https://a.svc.example.com/dd_circuit_breaker/callback {{/is_alert}}",
      "{{#is_warning}}circuit-breaker-callback: https://a.svc.example.com/dd_circuit_breaker/callback {{/is_warning}}",
      "{{#is_recovery}}circuit-breaker-callback: https://a.svc.example.com/dd_circuit_breaker/callback {{/is_recovery}}",
      "@sns-dd-circuit-breaker",
    ])
    error_message = "the text is ${local.messages["plain"]}"
  }
  assert {
    condition     = strcontains(local.messages["no-data"], "{{#is_no_data}}circuit-breaker-callback: https://a.svc.example.com/dd_circuit_breaker/callback {{/is_no_data}}")
    error_message = "no data is told where it moves the breaker"
  }
  assert {
    condition     = endswith(local.messages["no-data"], "\n@sns-dd-circuit-breaker\n\nLook at the dashboard.")
    error_message = "the author's own text is last"
  }
}

run "a_url_with_template_variables_is_refused" {
  command = plan
  variables {
    breakers = { a = { query = "q", critical = 1, callback_url = "https://a.example.com/{{bank_code.name}}" } }
  }
  expect_failures = [var.breakers]
}

run "plain_http_is_refused" {
  command = plan
  variables {
    breakers = { a = { query = "q", critical = 1, callback_url = "http://a.example.com/" } }
  }
  expect_failures = [var.breakers]
}
