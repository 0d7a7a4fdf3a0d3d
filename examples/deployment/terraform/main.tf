# An extension as a layer, a function with it, and no permission that neither needs.

terraform {
  required_version = ">= 1.5"
  required_providers {
    archive = {
      source  = "hashicorp/archive"
      version = ">= 2.4"
    }
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.80"
    }
  }
}

variable "organization_id" {
  description = "The AWS organization whose other accounts may use the layer; empty for none"
  type        = string
  default     = ""
}

resource "aws_lambda_layer_version" "extension" {
  layer_name               = "my-extension"
  filename                 = "my-extension.zip"
  source_code_hash         = filebase64sha256("my-extension.zip")
  compatible_runtimes      = ["python3.13"]
  compatible_architectures = ["x86_64"]
  skip_destroy             = true # functions of others may use the version before
}

resource "aws_lambda_layer_version_permission" "organization" {
  count           = var.organization_id == "" ? 0 : 1
  layer_name      = aws_lambda_layer_version.extension.layer_name
  version_number  = aws_lambda_layer_version.extension.version
  statement_id    = "organization"
  action          = "lambda:GetLayerVersion"
  principal       = "*"
  organization_id = var.organization_id
}

resource "aws_cloudwatch_log_group" "function" {
  name              = "/aws/lambda/my-extension-function"
  retention_in_days = 14
}

data "aws_iam_policy_document" "assume" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["lambda.amazonaws.com"]
    }
  }
}

data "aws_iam_policy_document" "logs" {
  statement {
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["${aws_cloudwatch_log_group.function.arn}:*"]
  }
}

resource "aws_iam_role" "function" {
  name_prefix        = "my-extension-"
  assume_role_policy = data.aws_iam_policy_document.assume.json
}

resource "aws_iam_role_policy" "logs" {
  role   = aws_iam_role.function.id
  policy = data.aws_iam_policy_document.logs.json
}

data "archive_file" "function" {
  type        = "zip"
  source_dir  = "function"
  output_path = "function.zip"
}

resource "aws_lambda_function" "function" {
  function_name    = "my-extension-function"
  filename         = data.archive_file.function.output_path
  source_code_hash = data.archive_file.function.output_base64sha256
  handler          = "app.handler"
  runtime          = "python3.13"
  architectures    = ["x86_64"]
  timeout          = 10
  role             = aws_iam_role.function.arn
  layers           = [aws_lambda_layer_version.extension.arn]

  logging_config {
    log_format = "Text"
    log_group  = aws_cloudwatch_log_group.function.name
  }
}

output "layer_arn" {
  description = "The layer's ARN with its version, for functions of other stacks and accounts"
  value       = aws_lambda_layer_version.extension.arn
}
