"""Audit and remediation of KMS key rotation on Huawei Cloud and clouds with the same API."""

__version__ = "0.1.0"
