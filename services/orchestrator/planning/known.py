"""What is known beside the goal when it is planned."""

from dataclasses import dataclass, field

from diptych.v1 import editor_pb2, image_pb2
from services.orchestrator.planning.model_choice import Catalog
from services.orchestrator.planning.profiles import Profile


@dataclass(frozen=True)
class Known:
    """How results are to be written, the seed, the models there are, and the brand that is asked for.

    `mark`: what the goal says of how the brand's watermark is laid, which goes before what the brand says.
    """

    output: image_pb2.OutputOptions = field(default_factory=image_pb2.OutputOptions)
    seed: int | None = None
    catalog: Catalog = field(default_factory=Catalog)
    profile: Profile | None = None
    mark: editor_pb2.Composite = field(default_factory=editor_pb2.Composite)
