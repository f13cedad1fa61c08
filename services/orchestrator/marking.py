"""How a result must be labelled, derived from what the services themselves recorded."""

from collections.abc import Iterable

from diptych.v1 import image_pb2


def marking_verdict(records: Iterable[image_pb2.StepRecord], *, shows_input: bool) -> image_pb2.MarkingVerdict:
    """The label, and the steps in which a generative model took part.

    `shows_input`: whether pixels of a picture that the caller gave can be in the results.
    """
    generative = [
        record.step_id
        for record in records
        if any(model.kind == image_pb2.MODEL_KIND_GENERATIVE for model in record.models)
    ]
    if not generative:
        return image_pb2.MarkingVerdict(marking=image_pb2.MARKING_STANDARD_EDIT)
    marking = image_pb2.MARKING_PARTLY_GENERATED if shows_input else image_pb2.MARKING_GENERATED
    return image_pb2.MarkingVerdict(marking=marking, step_ids=dict.fromkeys(generative))
