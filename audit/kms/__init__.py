"""Towards KMS: signing, pacing, one client, and the translation between its JSON and the model."""
