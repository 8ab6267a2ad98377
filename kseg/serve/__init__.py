"""A model as a service on HTTP: images in, label maps out, and a page to try it."""

try:
    import fastapi  # noqa: F401
    import uvicorn  # noqa: F401
except ImportError as error:
    raise ImportError(f"the service needs a package that is missing: pip install 'kseg[serve]' ({error})") from None

from kseg.serve.service import Limits, create_app

__all__ = ["Limits", "create_app"]
