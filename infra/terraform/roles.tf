# What the functions may do. `*` stands only where AWS has no resource to name.

data "aws_iam_policy_document" "assume" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["lambda.amazonaws.com"]
    }
  }
}

locals {
  network_actions = [
    "ec2:CreateNetworkInterface", "ec2:DescribeNetworkInterfaces", "ec2:DescribeSubnets", "ec2:DeleteNetworkInterface",
    "ec2:AssignPrivateIpAddresses", "ec2:UnassignPrivateIpAddresses",
  ]
}

# What both do.
data "aws_iam_policy_document" "functions" {
  #checkov:skip=CKV_AWS_111: X-Ray has no resources; AWS documents the network actions with `*`, and they are denied to the functions' own code.
  #checkov:skip=CKV_AWS_356: The same.
  dynamic "statement" {
    for_each = length(local.secret_arns) > 0 ? [1] : []
    content {
      sid       = "ReadSecrets"
      actions   = ["secretsmanager:GetSecretValue"]
      resources = values(local.secret_arns)
    }
  }
  dynamic "statement" {
    for_each = length(local.parameter_arns) > 0 ? [1] : []
    content {
      sid       = "ReadParameters"
      actions   = ["ssm:GetParameter"]
      resources = local.parameter_arns
    }
  }
  dynamic "statement" {
    for_each = var.secrets.kms_key_arn == null ? [] : [var.secrets.kms_key_arn]
    content {
      sid       = "DecryptSecrets"
      actions   = ["kms:Decrypt"]
      resources = [statement.value]
      condition {
        test     = "StringEquals"
        variable = "kms:ViaService"
        values   = ["secretsmanager.${local.region}.amazonaws.com", "ssm.${local.region}.amazonaws.com"]
      }
    }
  }
  statement {
    sid       = "Trace"
    actions   = ["xray:PutTraceSegments", "xray:PutTelemetryRecords"]
    resources = ["*"]
  }
  dynamic "statement" {
    for_each = var.vpc == null ? [] : [1]
    content {
      sid       = "NetworkInterfaces"
      actions   = local.network_actions
      resources = ["*"]
    }
  }
  dynamic "statement" {
    for_each = var.vpc == null ? [] : [1]
    content {
      # Lambda's service makes the interfaces; the code in the function has no business with them.
      sid       = "NotByTheFunctionsCode"
      effect    = "Deny"
      actions   = local.network_actions
      resources = ["*"]
      condition {
        test     = "ArnLike"
        variable = "lambda:SourceFunctionArn"
        values   = ["arn:${local.partition}:lambda:${local.region}:${local.account}:function:${var.name}-*"]
      }
    }
  }
}

data "aws_iam_policy_document" "role" {
  for_each                = local.functions
  source_policy_documents = [data.aws_iam_policy_document.functions.json]
  statement {
    sid       = "WriteLogs"
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["${aws_cloudwatch_log_group.this[each.key].arn}:*"]
  }
  dynamic "statement" {
    for_each = each.key == "notification" && local.by_queue ? aws_sqs_queue.notifications : []
    content {
      sid       = "ReadQueue"
      actions   = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"]
      resources = [statement.value.arn]
    }
  }
  dynamic "statement" {
    for_each = each.key == "notification" && !local.by_queue ? [1] : []
    content {
      sid       = "KeepFailures"
      actions   = ["sqs:SendMessage"]
      resources = [aws_sqs_queue.dead_letters.arn]
    }
  }
  dynamic "statement" {
    for_each = each.key == "notification" ? [1] : []
    content {
      sid       = "UseKey"
      actions   = local.by_queue ? ["kms:Decrypt"] : ["kms:Decrypt", "kms:GenerateDataKey"]
      resources = [aws_kms_key.this.arn]
      condition {
        test     = "StringEquals"
        variable = "kms:ViaService"
        values   = ["sqs.${local.region}.amazonaws.com"]
      }
    }
  }
}

resource "aws_iam_role" "this" {
  for_each           = local.functions
  name_prefix        = "${var.name}-${each.key}-"
  assume_role_policy = data.aws_iam_policy_document.assume.json
  tags               = var.tags
}

resource "aws_iam_role_policy" "this" {
  for_each = local.functions
  name     = each.key
  role     = aws_iam_role.this[each.key].id
  policy   = data.aws_iam_policy_document.role[each.key].json
}
