"""A model as a service on HTTP: images in, label maps out, and a page to try it."""

try:
    import fastapi  # noqa: F401
except ImportError as error:
    raise ImportError(f"the service needs a package that is missing: pip install 'kseg[serve]' ({error})") from None

from kseg.serve.app import create_app
from kseg.serve.hosts import LOOPBACK
from kseg.serve.limits import Limits

__all__ = ["LOOPBACK", "Limits", "create_app"]
