"""What is refused or flagged because it is not safe to show: input and result of every edit, by a classifier."""

from dataclasses import dataclass
from typing import Literal

from diptych.errors import PermissionDenied
from diptych.images import Pixels
from services.editor.context import EditContext
from services.editor.seeing.safety import CLASSIFIER, UNSAFE, safety_scores

Policy = Literal["off", "flag", "block"]


@dataclass(frozen=True)
class Safeguard:
    """The policy of this server.

    `threshold`: the least sum of unsafe classes, 0 to 1, that counts. `ready`: whether the classifier is here.
    """

    policy: Policy = "off"
    threshold: float = 0.7
    ready: bool = False

    async def check(self, pixels: Pixels, what: str, context: EditContext) -> None:
        """Scores a picture, `what` being "input" or "output", and records it as `safety_<what>`.

        Over the threshold the record says `flagged`; under the policy "block" it is PermissionDenied instead, reason
        UNSAFE_CONTENT. Where the classifier is missing, the record says so.
        """
        if self.policy == "off":
            return
        if not self.ready:
            context.note(**{f"safety_{what}": f"unchecked, {CLASSIFIER} is not pulled"})
            return
        scores = await safety_scores(pixels, context)
        unsafe = scores.pop(UNSAFE)
        worst = max(scores, key=lambda name: scores[name])
        told = f"{unsafe:.3f} unsafe, mostly {worst}"
        if unsafe < self.threshold:
            context.note(**{f"safety_{what}": told})
            return
        if self.policy == "block":
            raise PermissionDenied(
                f"the {what} is refused as unsafe to show: scored {told}, and this server lets through less than "
                f"{self.threshold:g}",
                reason="UNSAFE_CONTENT",
                metadata={"picture": what, "score": f"{unsafe:.3f}", "threshold": f"{self.threshold:g}"},
            )
        context.note(**{f"safety_{what}": f"flagged: {told}"})
