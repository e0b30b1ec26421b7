"""Published features over HTTP; needs the extra `serve`."""

from fs_spark.errors import SetupError
from fs_spark.serving.limits import Limits

try:
    from fs_spark.serving.app import create_app
    from fs_spark.serving.server import Serving, serve
except ModuleNotFoundError as fault:
    if (fault.name or "").split(".")[0] not in ("fastapi", "orjson", "prometheus_client", "starlette", "uvicorn"):
        raise
    raise SetupError(f"serving needs {fault.name}.\nHint: pip install 'fs_spark[serve]'") from fault

__all__ = ["Limits", "Serving", "create_app", "serve"]
