# The variables of the AWS module: what is right is taken, and each mistake is refused by its own variable.

variables {
  zip_path            = "cutout-lambda-arm64.zip"
  datadog_role_arn    = "arn:aws:iam::123456789012:role/DatadogIntegrationRole"
  extension_layer_arn = "arn:aws:lambda:eu-west-1:015030872274:layer:AWS-Parameters-and-Secrets-Lambda-Extension-Arm64:18"
  callback_allow      = ["*.svc.example.com"]
  secrets = {
    datadog_api_key = "/cutout/dd-api-key"
    datadog_app_key = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:cutout/dd-app-key-AbCdEf"
    signing         = "/cutout/signing"
  }
}

run "what_must_be_set_is_enough" {
  command = plan
  assert {
    condition     = var.delivery == "queue" && var.architecture == "arm64" && var.topic_name == "dd-circuit-breaker"
    error_message = "the defaults"
  }
}

run "a_vpc_is_taken" {
  command = plan
  variables {
    vpc                  = { subnet_ids = ["subnet-1"], security_group_ids = ["sg-1"] }
    callback_allow_cidrs = ["10.0.0.0/8", "fd00::/8"]
  }
}

run "a_secret_itself_is_refused" {
  command = plan
  variables {
    secrets = { datadog_api_key = "canary-secret", datadog_app_key = "/a", signing = "/b" }
  }
  expect_failures = [var.secrets]
}

run "a_layer_of_the_other_architecture_is_refused" {
  command = plan
  variables {
    architecture = "x86_64"
  }
  expect_failures = [var.extension_layer_arn]
}

run "an_empty_allow_list_is_refused" {
  command = plan
  variables {
    callback_allow = []
  }
  expect_failures = [var.callback_allow]
}

run "what_is_no_range_is_refused" {
  command = plan
  variables {
    callback_allow_cidrs = ["10.0.0.0/33"]
  }
  expect_failures = [var.callback_allow_cidrs]
}

run "a_vpc_without_security_groups_is_refused" {
  command = plan
  variables {
    vpc = { subnet_ids = ["subnet-1"], security_group_ids = [] }
  }
  expect_failures = [var.vpc]
}

run "the_address_of_a_site_is_no_site" {
  command = plan
  variables {
    datadog_site = "app.datadoghq.com"
  }
  expect_failures = [var.datadog_site]
}

run "other_slips_are_refused" {
  command = plan
  variables {
    delivery            = "sqs"
    datadog_role_arn    = "DatadogIntegrationRole"
    topic_name          = "dd.fifo"
    maximum_concurrency = 1
    reconcile_tag       = "team:x"
    log_retention_days  = 31
    name                = "Cutout"
    zip_path            = "bootstrap"
  }
  expect_failures = [
    var.delivery, var.datadog_role_arn, var.topic_name, var.maximum_concurrency, var.reconcile_tag, var.log_retention_days,
    var.name, var.zip_path,
  ]
}
