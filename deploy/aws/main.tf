# The bucket, and the policy of whoever writes to it; both from the JSON documents beside this file.

terraform {
  required_version = ">= 1.5"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.0, < 7.0"
    }
  }
}

variable "bucket" {
  description = "The bucket to make: store.bucket."
  type        = string
}

variable "prefix" {
  description = "What every key begins with: store.prefix."
  type        = string
  default     = ""
}

variable "kms_key_arn" {
  description = "The KMS key that encrypts by default (an ARN, not an alias); null: the bucket's own AES-256."
  type        = string
  default     = null
}

variable "tags" {
  description = "Whether store.tags is set, which needs a further right."
  type        = bool
  default     = false
}

variable "object_lock" {
  description = "Whether no version can be deleted or overwritten for the time that object-lock.json says."
  type        = bool
  default     = false
}

variable "page_address" {
  description = "The page's own address, as http://127.0.0.1:9466, where page.audio is \"presigned\"; null: none."
  type        = string
  default     = null
}

locals {
  # Each policy takes from these what it names.
  names      = { bucket = var.bucket, prefix = var.prefix, kms_key_arn = coalesce(var.kms_key_arn, "none") }
  encryption = jsondecode(file("${path.module}/encryption.json")).Rules[0]
  lifecycle  = jsondecode(templatefile("${path.module}/lifecycle.json", { prefix = var.prefix })).Rules
  retention  = jsondecode(file("${path.module}/object-lock.json")).Rule.DefaultRetention
  closed     = jsondecode(file("${path.module}/public-access-block.json"))
  cors       = jsondecode(file("${path.module}/cors.json")).CORSRules[0]
  policies = concat(
    ["iam-policy.json"],
    var.kms_key_arn == null ? [] : ["iam-policy-kms.json"],
    var.tags ? ["iam-policy-tags.json"] : [],
  )
}

resource "aws_s3_bucket" "stems" {
  bucket              = var.bucket
  object_lock_enabled = var.object_lock

  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_s3_bucket_versioning" "stems" {
  bucket = aws_s3_bucket.stems.id

  versioning_configuration {
    status = jsondecode(file("${path.module}/versioning.json")).Status
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "stems" {
  bucket = aws_s3_bucket.stems.id

  rule {
    bucket_key_enabled = local.encryption.BucketKeyEnabled

    apply_server_side_encryption_by_default {
      sse_algorithm = (
        var.kms_key_arn == null ? local.encryption.ApplyServerSideEncryptionByDefault.SSEAlgorithm : "aws:kms"
      )
      kms_master_key_id = var.kms_key_arn
    }
  }
}

resource "aws_s3_bucket_public_access_block" "stems" {
  bucket                  = aws_s3_bucket.stems.id
  block_public_acls       = local.closed.BlockPublicAcls
  ignore_public_acls      = local.closed.IgnorePublicAcls
  block_public_policy     = local.closed.BlockPublicPolicy
  restrict_public_buckets = local.closed.RestrictPublicBuckets
}

resource "aws_s3_bucket_policy" "stems" {
  bucket     = aws_s3_bucket.stems.id
  policy     = templatefile("${path.module}/bucket-policy.json", local.names)
  depends_on = [aws_s3_bucket_public_access_block.stems]
}

resource "aws_s3_bucket_lifecycle_configuration" "stems" {
  bucket = aws_s3_bucket.stems.id

  dynamic "rule" {
    for_each = local.lifecycle

    content {
      id     = rule.value.ID
      status = rule.value.Status

      filter {
        prefix = rule.value.Filter.Prefix
      }

      dynamic "abort_incomplete_multipart_upload" {
        for_each = try([rule.value.AbortIncompleteMultipartUpload], [])

        content {
          days_after_initiation = abort_incomplete_multipart_upload.value.DaysAfterInitiation
        }
      }

      dynamic "expiration" {
        for_each = try([rule.value.Expiration], [])

        content {
          days                         = try(expiration.value.Days, null)
          expired_object_delete_marker = try(expiration.value.ExpiredObjectDeleteMarker, null)
        }
      }

      dynamic "noncurrent_version_expiration" {
        for_each = try([rule.value.NoncurrentVersionExpiration], [])

        content {
          noncurrent_days = noncurrent_version_expiration.value.NoncurrentDays
        }
      }
    }
  }
}

resource "aws_s3_bucket_object_lock_configuration" "stems" {
  count      = var.object_lock ? 1 : 0
  bucket     = aws_s3_bucket.stems.id
  depends_on = [aws_s3_bucket_versioning.stems]

  rule {
    default_retention {
      mode = local.retention.Mode
      days = local.retention.Days
    }
  }
}

resource "aws_s3_bucket_cors_configuration" "stems" {
  count  = var.page_address == null ? 0 : 1
  bucket = aws_s3_bucket.stems.id

  cors_rule {
    allowed_origins = [var.page_address]
    allowed_methods = local.cors.AllowedMethods
    allowed_headers = local.cors.AllowedHeaders
    expose_headers  = local.cors.ExposeHeaders
    max_age_seconds = local.cors.MaxAgeSeconds
  }
}

resource "aws_iam_policy" "writer" {
  for_each    = toset(local.policies)
  name        = "${var.bucket}-${trimsuffix(each.key, ".json")}"
  description = "What stem-archiver needs of the bucket ${var.bucket}."
  policy      = templatefile("${path.module}/${each.key}", local.names)
}

output "policy_arns" {
  description = "To be attached to the role or user that the service runs as."
  value       = [for policy in aws_iam_policy.writer : policy.arn]
}
