"""Semaphores, and the read/write locks that are made of them."""

from riskscale.semaphore.calls import SemaphoreInfo, Share
from riskscale.semaphore.rw import ReadWriteLock
from riskscale.semaphore.semaphore import Semaphore

__all__ = ["ReadWriteLock", "Semaphore", "SemaphoreInfo", "Share"]
