"""From many images to a folder of results, on this machine or on a Ray cluster."""

from kseg.prediction.cluster import connected, environment, load_ray, plan
from kseg.prediction.distributed import Run, collect
from kseg.prediction.failures import Failures, is_disk_full
from kseg.prediction.job import Item, Job, model_files
from kseg.prediction.place import Place
from kseg.prediction.pool import Pool
from kseg.prediction.progress import JOB, Progress
from kseg.prediction.results import PROGRESS, TABLE, Results
from kseg.prediction.worker import Worker

__all__ = [
    "JOB", "PROGRESS", "TABLE", "Failures", "Item", "Job", "Place", "Pool", "Progress", "Results", "Run", "Worker",
    "collect", "connected", "environment", "is_disk_full", "load_ray", "model_files", "plan",
]  # fmt: skip
