"""The section `tracking` of the config: which trackers get each night, besides the TensorBoard files."""

from typing import Annotated

from pydantic import Field

from recsys.config.section import Section

Name = Annotated[str, Field(min_length=1)]


class MlflowConfig(Section):
    """MLflow; needs `pip install 'recsys[mlflow]'`."""

    uri: Name
    """Its tracking server, such as `http://mlflow:5000`, or another tracking URI."""
    experiment: Name = "recsys"
    """Experiment that gets a run for each night; it is made where it is missing."""


class WandbConfig(Section):
    """Weights & Biases; needs `pip install 'recsys[wandb]'`, and an API key in the environment unless it is offline."""

    project: Name = "recsys"
    """Project that gets a run for each night."""
    entity: Name | None = None
    """User or team that owns the project. null: the default one of the API key."""
    offline: bool = False
    """Write files that `wandb sync` sends later, and ask nothing of the network."""
    folder: Name = "."
    """Folder in which W&B keeps its files, in `wandb/`."""


class TrackingConfig(Section):
    """Trackers that get each night."""

    mlflow: MlflowConfig | None = None
    """MLflow. null: off."""
    wandb: WandbConfig | None = None
    """Weights & Biases. null: off."""
