"""dvcp: carries colour through whole film and video archives, and proves that nothing but colour was added."""

__version__ = "0.1.0"
