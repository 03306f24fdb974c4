"""A run's prompter as a folder of its own, with a model card; pushed to the hub only when asked."""

from alignpro.export.hub import check_hub, push
from alignpro.export.write import export

__all__ = ["check_hub", "export", "push"]
