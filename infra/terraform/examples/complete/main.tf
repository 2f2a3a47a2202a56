# Everything: the AWS side, and two breakers' monitors. Fill in what stands in locals.

terraform {
  required_version = ">= 1.9"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.80"
    }
    datadog = {
      source  = "DataDog/datadog"
      version = ">= 3.50"
    }
  }
}

provider "aws" {
  region = "eu-west-1"
}

# Keys by DD_API_KEY and DD_APP_KEY.
provider "datadog" {
  api_url = "https://api.datadoghq.eu/"
}

locals {
  account  = "123456789012"
  callback = "https://payments.svc.example.com/dd_circuit_breaker/callback"
}

module "cutout" {
  source = "../.."

  zip_path            = "${path.module}/../../../package/out/cutout-lambda-arm64.zip"
  datadog_site        = "datadoghq.eu"
  datadog_role_arn    = "arn:aws:iam::${local.account}:role/DatadogIntegrationRole"
  extension_layer_arn = "arn:aws:lambda:eu-west-1:015030872274:layer:AWS-Parameters-and-Secrets-Lambda-Extension-Arm64:18"

  # Made before and by other hands, so that no secret stands in Terraform's state.
  secrets = {
    datadog_api_key = "/cutout/dd-api-key"
    datadog_app_key = "/cutout/dd-app-key"
    signing         = "/cutout/signing"
  }

  callback_allow       = ["*.svc.example.com"]
  callback_allow_cidrs = ["10.0.0.0/8"]
  vpc = {
    subnet_ids         = ["subnet-0a1b2c3d4e5f60718", "subnet-1a1b2c3d4e5f60718"]
    security_group_ids = ["sg-0a1b2c3d4e5f60718"]
  }

  alarm_topic_arn = "arn:aws:sns:eu-west-1:${local.account}:operations"
}

module "monitors" {
  source = "../../datadog"

  topic_name = module.cutout.topic_name
  breakers = {
    "Bank API error rate" = {
      query        = "avg(last_5m):sum:vendor.request.errors{env:prod} by {bank_code}.as_rate() / sum:vendor.request.hits{env:prod} by {bank_code}.as_rate() > 0.5"
      critical     = 0.5
      warning      = 0.2
      callback_url = local.callback
      tags         = ["cutout:bank-charge", "team:payments"]
    }
    "Card network timeouts" = {
      query             = "avg(last_5m):p95:card.request.duration{env:prod} by {network} > 5"
      critical          = 5
      critical_recovery = 2
      callback_url      = local.callback
      text              = "The card network answers late. Dashboard: https://app.datadoghq.eu/dashboard/abc-def-ghi"
      tags              = ["cutout:card-charge"]
      no_data           = "open"
    }
  }
  watch = {
    dead_letter_queue = module.cutout.dead_letter_queue.name
    notify            = "@pagerduty-payments"
  }
}

output "handle" {
  value = module.cutout.handle
}

output "monitor_ids" {
  value = module.monitors.monitor_ids
}
