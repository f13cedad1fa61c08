"""How a result must be labelled, derived from what the services themselves recorded."""

from collections.abc import Iterable
from typing import TypeAlias

from diptych.v1 import image_pb2

Marking: TypeAlias = image_pb2.Marking.ValueType


def marking_verdict(records: Iterable[image_pb2.StepRecord], shown: Iterable[Marking]) -> image_pb2.MarkingVerdict:
    """The label, and the steps in which a generative model took part.

    `shown`: how the pictures are labelled whose pixels can be in the results: STANDARD_EDIT for one that the caller
    gave, for one that was made before what was said of it then.
    """
    origins = set(shown)
    generative = [
        record.step_id
        for record in records
        if any(model.kind == image_pb2.MODEL_KIND_GENERATIVE for model in record.models)
    ]
    if generative:
        origins.add(image_pb2.MARKING_GENERATED)
    marking = image_pb2.MARKING_PARTLY_GENERATED
    if origins <= {image_pb2.MARKING_GENERATED} and origins:
        marking = image_pb2.MARKING_GENERATED
    elif origins <= {image_pb2.MARKING_STANDARD_EDIT}:
        marking = image_pb2.MARKING_STANDARD_EDIT
    return image_pb2.MarkingVerdict(marking=marking, step_ids=dict.fromkeys(generative))
