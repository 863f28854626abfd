# The table, and the role's policy of a worker that reads one stream by polling.

variable "stream_arn" {
  description = "The stream that the group reads"
  type        = string
}

variable "table" {
  description = "The table of positions: one for any number of groups"
  type        = string
  default     = "rokini"
}

resource "aws_dynamodb_table" "rokini" {
  name         = var.table
  billing_mode = "PAY_PER_REQUEST"
  hash_key     = "group"
  range_key    = "row"

  attribute {
    name = "group"
    type = "S"
  }

  attribute {
    name = "row"
    type = "S"
  }

  point_in_time_recovery {
    enabled = true
  }
}

data "aws_iam_policy_document" "worker" {
  statement {
    sid = "ReadTheStream"
    actions = [
      "kinesis:DescribeStreamSummary",
      "kinesis:GetRecords",
      "kinesis:GetShardIterator",
      "kinesis:ListShards",
    ]
    resources = [var.stream_arn]
  }

  statement {
    sid = "ShareTheShards"
    actions = [
      "dynamodb:DeleteItem",
      "dynamodb:DescribeTable",
      "dynamodb:GetItem",
      "dynamodb:PutItem",
      "dynamodb:Query",
      "dynamodb:UpdateItem",
    ]
    resources = [aws_dynamodb_table.rokini.arn]
  }
}

resource "aws_iam_policy" "worker" {
  name   = "rokini-worker"
  policy = data.aws_iam_policy_document.worker.json
}
