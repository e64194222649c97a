"""The API under /api/v1, and what machines read besides: /metrics, /healthz."""
