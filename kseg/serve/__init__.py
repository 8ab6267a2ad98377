"""Models as a service on HTTP: images in, label maps out, and a page to try them."""

try:
    import fastapi  # noqa: F401
except ImportError as error:
    raise ImportError(f"the service needs a package that is missing: pip install 'kseg[serve]' ({error})") from None

from kseg.serve.app import create_app
from kseg.serve.examples import Example, cell_examples, street_examples
from kseg.serve.hosts import LOOPBACK
from kseg.serve.limits import Limits
from kseg.serve.models import NamedModel

__all__ = ["LOOPBACK", "Example", "Limits", "NamedModel", "cell_examples", "create_app", "street_examples"]
