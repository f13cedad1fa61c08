"""OrchestratorService: converts, plans on the worker, hands over to the executor. Thin on purpose."""

import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from typing import Any, NoReturn

from diptych.errors import Unsupported
from diptych.serving.admission import Admission
from diptych.serving.context import current_request
from diptych.serving.worker import Worker
from diptych.v1 import image_pb2
from diptych.v1 import orchestrator_pb2 as v1
from diptych.v1.orchestrator_pb2_grpc import OrchestratorServiceServicer
from services.orchestrator import convert
from services.orchestrator.executor import Executor
from services.orchestrator.intent import Intent
from services.orchestrator.planner import plan_goal

# What a goal says, given whether pictures are attached.
Understand = Callable[[str, bool], Intent]


class OrchestratorServicer(OrchestratorServiceServicer):
    """Plans goals and runs plans. Jobs and artifacts are in the contract and not served yet."""

    def __init__(
        self,
        understand: Understand,
        executor: Executor,
        *,
        worker: Worker,
        planning: Admission,
        running: Admission,
        max_image_bytes: int,
        goal_seconds: float,
    ) -> None:
        self._understand = understand
        self._executor = executor
        self._worker = worker
        self._planning = planning
        self._running = running
        self._max_image_bytes = max_image_bytes
        self._goal_seconds = goal_seconds

    async def PlanGoal(self, request: v1.PlanGoalRequest, context: Any) -> v1.PlanGoalResponse:
        """What would be done. Calls nobody."""
        asked = convert.goal_to_plan(request, self._max_image_bytes)
        response = v1.PlanGoalResponse(plan=await self._plan(asked))
        response.planning.FromNanoseconds(round(current_request().clock.total_seconds() * 1e9))
        return response

    async def RunGoal(self, request: v1.RunGoalRequest, context: Any) -> AsyncIterator[v1.RunGoalResponse]:
        """Plans, then runs the plan; a plan of route CLARIFY has no steps, so nobody is called."""
        asked = convert.goal_to_run(request, self._max_image_bytes)
        plan = await self._plan(asked)
        async with aclosing(self._run(plan, asked.images, "goal.images", asked.preview_interval)) as events:
            async for event in events:
                yield v1.RunGoalResponse(event=event)

    async def RunPlan(self, request: v1.RunPlanRequest, context: Any) -> AsyncIterator[v1.RunPlanResponse]:
        """Runs exactly the plan given."""
        asked = convert.plan_to_run(request, self._max_image_bytes)
        async with aclosing(self._run(asked.plan, asked.images, "images", asked.preview_interval)) as events:
            async for event in events:
                yield v1.RunPlanResponse(event=event)

    async def CreateJob(self, request: v1.CreateJobRequest, context: Any) -> v1.CreateJobResponse:
        """Unsupported."""
        _no_jobs()

    async def GetJob(self, request: v1.GetJobRequest, context: Any) -> v1.GetJobResponse:
        """Unsupported."""
        _no_jobs()

    async def ListJobs(self, request: v1.ListJobsRequest, context: Any) -> v1.ListJobsResponse:
        """Unsupported."""
        _no_jobs()

    async def WatchJob(self, request: v1.WatchJobRequest, context: Any) -> AsyncIterator[v1.WatchJobResponse]:
        """Unsupported."""
        _no_jobs()
        yield v1.WatchJobResponse()

    async def CancelJob(self, request: v1.CancelJobRequest, context: Any) -> v1.CancelJobResponse:
        """Unsupported."""
        _no_jobs()

    async def DeleteJob(self, request: v1.DeleteJobRequest, context: Any) -> v1.DeleteJobResponse:
        """Unsupported."""
        _no_jobs()

    async def DownloadArtifact(
        self, request: v1.DownloadArtifactRequest, context: Any
    ) -> AsyncIterator[v1.DownloadArtifactResponse]:
        """Unsupported."""
        _no_artifacts()
        yield v1.DownloadArtifactResponse()

    async def UploadArtifact(
        self, request_iterator: AsyncIterator[v1.UploadArtifactRequest], context: Any
    ) -> v1.UploadArtifactResponse:
        """Unsupported."""
        _no_artifacts()

    async def _plan(self, asked: convert.AskedGoal) -> v1.Plan:
        async with self._planning.permit(current_request().deadline):
            intent = await self._worker.run(self._understand, asked.text, asked.num_images > 0)
        return plan_goal(asked.text, intent, asked.num_images, asked.output)

    async def _run(
        self, plan: v1.Plan, images: Sequence[image_pb2.Image], images_field: str, preview_interval: int
    ) -> AsyncGenerator[v1.GoalEvent, None]:
        request = current_request()
        deadline = request.deadline or time.monotonic() + self._goal_seconds
        async with self._running.permit(deadline):
            run = self._executor.run(
                plan,
                images,
                images_field=images_field,
                preview_interval=preview_interval,
                deadline=deadline,
                started=request.clock.started,
            )
            async with aclosing(run) as events:
                async for event in events:
                    yield event


def _no_jobs() -> NoReturn:
    raise Unsupported("jobs are not served yet; run the goal with RunGoal and stay", reason="JOBS_NOT_SERVED")


def _no_artifacts() -> NoReturn:
    why = "artifacts are not served yet; send pictures within the request"
    raise Unsupported(why, reason="ARTIFACTS_NOT_SERVED")
