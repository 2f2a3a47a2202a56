# Cutout in an AWS account: topic, queue, function, scheduled run, dead letters. The same as infra/sam, for Terraform.
# A new breaker needs no change here: a monitor's text, and three lines in the service's file.

data "aws_caller_identity" "here" {}
data "aws_partition" "here" {}
data "aws_region" "here" {}

locals {
  account   = data.aws_caller_identity.here.account_id
  partition = data.aws_partition.here.partition
  region    = data.aws_region.here.id
  by_queue  = var.delivery == "queue"
  topic_arn = "arn:${local.partition}:sns:${local.region}:${local.account}:${var.topic_name}"

  kept = {
    DD_API_KEY             = var.secrets.datadog_api_key
    DD_APP_KEY             = var.secrets.datadog_app_key
    CUTOUT_SIGNING_SECRETS = var.secrets.signing
  }
  secret_arns     = { for name, kept in local.kept : "${name}_SECRET_ARN" => kept if startswith(kept, "arn:") }
  parameter_names = { for name, kept in local.kept : "${name}_SSM_NAME" => kept if startswith(kept, "/") }
  parameter_arns  = [for name in values(local.parameter_names) : "arn:${local.partition}:ssm:${local.region}:${local.account}:parameter${name}"]

  environment = merge(local.secret_arns, local.parameter_names, {
    DD_SITE                    = var.datadog_site
    CUTOUT_CALLBACK_ALLOW      = join(",", var.callback_allow)
    CUTOUT_CALLBACK_ALLOW_CIDR = join(",", var.callback_allow_cidrs)
    CUTOUT_RECONCILE_TAG       = var.reconcile_tag
    # The function keeps its own, and must see a rotated key at once.
    PARAMETERS_SECRETS_EXTENSION_CACHE_ENABLED = "false"
    PARAMETERS_SECRETS_EXTENSION_LOG_LEVEL     = "warn"
  })

  functions = {
    notification = {
      description = "A notification becomes a signed callback"
      timeout     = 20
      # The queue's mapping limits it. A reserve would take concurrency from the account.
      reserved = -1
    }
    reconcile = {
      description = "Every minute the state of all managed monitors goes to their services"
      timeout     = 55
      # Two runs at once would only read the same twice.
      reserved = 1
    }
  }
}

# --- One key for the topic, the queues and the logs. AWS's own key for SNS would not let Datadog's role publish.

data "aws_iam_policy_document" "key" {
  #checkov:skip=CKV_AWS_109: A key's policy names the key itself by `*`.
  #checkov:skip=CKV_AWS_111: A key's policy names the key itself by `*`.
  #checkov:skip=CKV_AWS_356: A key's policy names the key itself by `*`.
  statement {
    sid       = "AccountDecidesByIam"
    actions   = ["kms:*"]
    resources = ["*"]
    principals {
      type        = "AWS"
      identifiers = ["arn:${local.partition}:iam::${local.account}:root"]
    }
  }
  statement {
    sid       = "DatadogPublishes"
    actions   = ["kms:GenerateDataKey*", "kms:Decrypt"]
    resources = ["*"]
    principals {
      type        = "AWS"
      identifiers = [var.datadog_role_arn]
    }
    condition {
      test     = "StringEquals"
      variable = "kms:ViaService"
      values   = ["sns.${local.region}.amazonaws.com"]
    }
  }
  statement {
    sid       = "TopicFillsQueues"
    actions   = ["kms:GenerateDataKey*", "kms:Decrypt"]
    resources = ["*"]
    principals {
      type        = "Service"
      identifiers = ["sns.amazonaws.com"]
    }
    condition {
      test     = "ArnEquals"
      variable = "aws:SourceArn"
      # Spelled out, for the topic itself needs the key.
      values = [local.topic_arn]
    }
  }
  statement {
    sid       = "LogsAreWritten"
    actions   = ["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:DescribeKey"]
    resources = ["*"]
    principals {
      type        = "Service"
      identifiers = ["logs.${local.region}.amazonaws.com"]
    }
    condition {
      test     = "ArnLike"
      variable = "kms:EncryptionContext:aws:logs:arn"
      values   = ["arn:${local.partition}:logs:${local.region}:${local.account}:log-group:/aws/lambda/${var.name}-*"]
    }
  }
}

resource "aws_kms_key" "this" {
  description         = "${var.name}, notifications and logs"
  enable_key_rotation = true
  policy              = data.aws_iam_policy_document.key.json
  tags                = var.tags
}

# --- The topic.

resource "aws_sns_topic" "this" {
  name              = var.topic_name
  kms_master_key_id = aws_kms_key.this.arn
  tracing_config    = "Active"
  tags              = var.tags
}

data "aws_iam_policy_document" "topic" {
  statement {
    sid       = "DatadogPublishes"
    actions   = ["sns:Publish"]
    resources = [aws_sns_topic.this.arn]
    principals {
      type        = "AWS"
      identifiers = [var.datadog_role_arn]
    }
  }
  statement {
    sid       = "NobodyElsePublishes"
    effect    = "Deny"
    actions   = ["sns:Publish"]
    resources = [aws_sns_topic.this.arn]
    principals {
      type        = "*"
      identifiers = ["*"]
    }
    condition {
      test     = "ArnNotEquals"
      variable = "aws:PrincipalArn"
      values   = [var.datadog_role_arn]
    }
  }
  statement {
    sid       = "TlsOnly"
    effect    = "Deny"
    actions   = ["sns:Publish"]
    resources = [aws_sns_topic.this.arn]
    principals {
      type        = "*"
      identifiers = ["*"]
    }
    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }
}

resource "aws_sns_topic_policy" "this" {
  arn    = aws_sns_topic.this.arn
  policy = data.aws_iam_policy_document.topic.json
}

# --- What could not be delivered. It is for people to look at: the scheduled run heals without it.

resource "aws_sqs_queue" "dead_letters" {
  name                              = "${var.name}-dead-letters"
  kms_master_key_id                 = aws_kms_key.this.arn
  kms_data_key_reuse_period_seconds = 300
  message_retention_seconds         = 1209600
  tags                              = var.tags
}

# --- By way of a queue.

resource "aws_sqs_queue" "notifications" {
  count                             = local.by_queue ? 1 : 0
  name                              = "${var.name}-notifications"
  kms_master_key_id                 = aws_kms_key.this.arn
  kms_data_key_reuse_period_seconds = 300
  # Six times the function's timeout, as AWS asks for.
  visibility_timeout_seconds = 6 * local.functions.notification.timeout
  # What is older says nothing that the scheduled run has not said better.
  message_retention_seconds = 3600
  redrive_policy = jsonencode({
    deadLetterTargetArn = aws_sqs_queue.dead_letters.arn
    maxReceiveCount     = 5
  })
  tags = var.tags
}

locals {
  # Names are known before the queues are, so that the plan knows how many policies there are.
  queues = merge(
    { dead_letters = aws_sqs_queue.dead_letters },
    { for queue in aws_sqs_queue.notifications : "notifications" => queue },
  )
}

data "aws_iam_policy_document" "queue" {
  for_each = local.queues
  statement {
    sid       = "TopicSends"
    actions   = ["sqs:SendMessage"]
    resources = [each.value.arn]
    principals {
      type        = "Service"
      identifiers = ["sns.amazonaws.com"]
    }
    condition {
      test     = "ArnEquals"
      variable = "aws:SourceArn"
      values   = [aws_sns_topic.this.arn]
    }
  }
  statement {
    sid       = "TlsOnly"
    effect    = "Deny"
    actions   = ["sqs:*"]
    resources = [each.value.arn]
    principals {
      type        = "*"
      identifiers = ["*"]
    }
    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }
}

resource "aws_sqs_queue_policy" "this" {
  for_each  = local.queues
  queue_url = each.value.id
  policy    = data.aws_iam_policy_document.queue[each.key].json
}

resource "aws_sns_topic_subscription" "queue" {
  count          = local.by_queue ? 1 : 0
  topic_arn      = aws_sns_topic.this.arn
  protocol       = "sqs"
  endpoint       = aws_sqs_queue.notifications[0].arn
  redrive_policy = jsonencode({ deadLetterTargetArn = aws_sqs_queue.dead_letters.arn })
  # Before the policy, the topic's first messages would go to the dead-letter queue.
  depends_on = [aws_sqs_queue_policy.this]
}

resource "aws_lambda_event_source_mapping" "queue" {
  count            = local.by_queue ? 1 : 0
  event_source_arn = aws_sqs_queue.notifications[0].arn
  function_name    = aws_lambda_function.this["notification"].arn
  # One message an invocation: none waits for another's callback, and each failure is an error that is counted.
  batch_size              = 1
  function_response_types = ["ReportBatchItemFailures"]
  scaling_config {
    maximum_concurrency = var.maximum_concurrency
  }
  tags = var.tags
}

# --- Directly.

resource "aws_lambda_permission" "topic" {
  count         = local.by_queue ? 0 : 1
  statement_id  = "TopicInvokes"
  action        = "lambda:InvokeFunction"
  function_name = aws_lambda_function.this["notification"].function_name
  principal     = "sns.amazonaws.com"
  source_arn    = aws_sns_topic.this.arn
}

resource "aws_sns_topic_subscription" "function" {
  count          = local.by_queue ? 0 : 1
  topic_arn      = aws_sns_topic.this.arn
  protocol       = "lambda"
  endpoint       = aws_lambda_function.this["notification"].arn
  redrive_policy = jsonencode({ deadLetterTargetArn = aws_sqs_queue.dead_letters.arn })
  depends_on     = [aws_lambda_permission.topic, aws_sqs_queue_policy.this]
}

resource "aws_lambda_function_event_invoke_config" "notification" {
  count                        = local.by_queue ? 0 : 1
  function_name                = aws_lambda_function.this["notification"].function_name
  maximum_retry_attempts       = 2
  maximum_event_age_in_seconds = 3600
  destination_config {
    on_failure {
      destination = aws_sqs_queue.dead_letters.arn
    }
  }
}

# --- The function, twice from one zip: for notifications, and for the scheduled run.

resource "aws_lambda_function" "this" {
  #checkov:skip=CKV_AWS_115: The queue's mapping limits notifications; the scheduled run has one reserved.
  #checkov:skip=CKV_AWS_116: The queue has a dead-letter queue, direct invokes have it as failure destination, and a run that failed is worth nothing a minute later.
  #checkov:skip=CKV_AWS_117: A VPC is the user's choice: services that are reached over the internet need none.
  #checkov:skip=CKV_AWS_173: The variables hold names of secrets and no secret.
  #checkov:skip=CKV_AWS_272: The zip comes with checksums; code signing needs a profile of the account's own.
  for_each                       = local.functions
  function_name                  = "${var.name}-${each.key}"
  description                    = each.value.description
  role                           = aws_iam_role.this[each.key].arn
  filename                       = var.zip_path
  source_code_hash               = filebase64sha256(var.zip_path)
  handler                        = "bootstrap"
  runtime                        = "provided.al2023"
  architectures                  = [var.architecture]
  memory_size                    = 256
  timeout                        = each.value.timeout
  reserved_concurrent_executions = each.value.reserved
  layers                         = [var.extension_layer_arn]
  environment {
    # An empty variable counts as not set.
    variables = local.environment
  }
  logging_config {
    log_format = "Text" # The function writes JSON lines itself.
    log_group  = aws_cloudwatch_log_group.this[each.key].name
  }
  tracing_config {
    mode = "Active"
  }
  dynamic "vpc_config" {
    for_each = var.vpc == null ? [] : [var.vpc]
    content {
      subnet_ids         = vpc_config.value.subnet_ids
      security_group_ids = vpc_config.value.security_group_ids
    }
  }
  tags = var.tags
  # Lambda looks at the role when it makes the function's mapping and network interfaces.
  depends_on = [aws_iam_role_policy.this]
}

resource "aws_cloudwatch_log_group" "this" {
  #checkov:skip=CKV_AWS_338: How long logs are kept is the user's choice; they hold no record that must last a year.
  for_each          = local.functions
  name              = "/aws/lambda/${var.name}-${each.key}"
  retention_in_days = var.log_retention_days
  kms_key_id        = aws_kms_key.this.arn
  tags              = var.tags
}

# --- The schedule.

resource "aws_cloudwatch_event_rule" "reconcile" {
  name                = "${var.name}-reconcile"
  description         = "Cutout's scheduled run"
  schedule_expression = "rate(1 minute)"
  tags                = var.tags
}

resource "aws_cloudwatch_event_target" "reconcile" {
  rule  = aws_cloudwatch_event_rule.reconcile.name
  arn   = aws_lambda_function.this["reconcile"].arn
  input = jsonencode({ cutout = "reconcile" })
  retry_policy {
    maximum_retry_attempts       = 0
    maximum_event_age_in_seconds = 60
  }
}

resource "aws_lambda_permission" "schedule" {
  statement_id  = "ScheduleInvokes"
  action        = "lambda:InvokeFunction"
  function_name = aws_lambda_function.this["reconcile"].function_name
  principal     = "events.amazonaws.com"
  source_arn    = aws_cloudwatch_event_rule.reconcile.arn
}

resource "aws_lambda_function_event_invoke_config" "reconcile" {
  function_name = aws_lambda_function.this["reconcile"].function_name
  # The next run does the same again, and better.
  maximum_retry_attempts       = 0
  maximum_event_age_in_seconds = 60
}
