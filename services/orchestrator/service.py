"""OrchestratorService: converts, plans on the worker, hands over to the executor. Thin on purpose."""

import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any, NoReturn

from diptych.errors import Unsupported
from diptych.serving.admission import Admission
from diptych.serving.context import current_request
from diptych.v1 import image_pb2
from diptych.v1 import orchestrator_pb2 as v1
from diptych.v1.orchestrator_pb2_grpc import OrchestratorServiceServicer
from services.orchestrator import convert
from services.orchestrator.goals import Goals, Memory, Planned
from services.orchestrator.running.executor import Executor
from services.orchestrator.running.peers import Given
from services.orchestrator.running.run import Job


class OrchestratorServicer(OrchestratorServiceServicer):
    """Plans goals and runs plans. Jobs and artifacts are in the contract and not served yet."""

    def __init__(
        self,
        goals: Goals,
        memory: Memory,
        executor: Executor,
        *,
        running: Admission,
        profiles: convert.Profiles,
        max_image_bytes: int,
        goal_seconds: float,
    ) -> None:
        self._goals = goals
        self._memory = memory
        self._executor = executor
        self._running = running
        self._profiles = profiles
        self._max_image_bytes = max_image_bytes
        self._goal_seconds = goal_seconds

    async def PlanGoal(self, request: v1.PlanGoalRequest, context: Any) -> v1.PlanGoalResponse:
        """What would be done. Runs nothing."""
        asked = convert.goal_to_plan(request, self._max_image_bytes, self._profiles)
        response = v1.PlanGoalResponse(plan=(await self._goals.plan(asked, runs=False)).plan)
        response.planning.FromNanoseconds(round(current_request().clock.total_seconds() * 1e9))
        return response

    async def RunGoal(self, request: v1.RunGoalRequest, context: Any) -> AsyncIterator[v1.RunGoalResponse]:
        """Plans, then runs the plan; a plan of route CLARIFY has no steps, so nobody is called."""
        asked = convert.goal_to_run(request, self._max_image_bytes, self._profiles)
        planned = await self._goals.plan(asked, runs=True)
        run = self._run(planned, asked.images, "goal.images", asked.preview_interval, asked.text, asked.conversation)
        async with aclosing(run) as events:
            async for event in events:
                yield v1.RunGoalResponse(event=event)

    async def RunPlan(self, request: v1.RunPlanRequest, context: Any) -> AsyncIterator[v1.RunPlanResponse]:
        """Runs exactly the plan given."""
        asked = convert.plan_to_run(request, self._max_image_bytes)
        await self._memory.recall(asked.conversation)
        planned = Planned(asked.plan, await self._memory.stored([asked.plan]))
        run = self._run(planned, asked.images, "images", asked.preview_interval, "", asked.conversation)
        async with aclosing(run) as events:
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

    async def _run(
        self,
        planned: Planned,
        images: Sequence[image_pb2.Image],
        images_field: str,
        preview_interval: int,
        goal: str,
        conversation: str,
    ) -> AsyncGenerator[v1.GoalEvent, None]:
        request = current_request()
        deadline = request.deadline or time.monotonic() + self._goal_seconds
        given = [Given(image, f"{images_field}[{index}].image") for index, image in enumerate(images)]
        job = Job(planned.plan, given, planned.stored, preview_interval, deadline)
        async with self._running.permit(deadline):
            try:
                async with aclosing(self._executor.run(job, started=request.clock.started)) as events:
                    async for event in events:
                        if conversation and event.HasField("completed"):
                            await self._memory.keep(conversation, goal, planned, images, event.completed)
                        yield event
            finally:
                await self._memory.save_times()


def _no_jobs() -> NoReturn:
    raise Unsupported("jobs are not served yet; run the goal with RunGoal and stay", reason="JOBS_NOT_SERVED")


def _no_artifacts() -> NoReturn:
    why = "artifacts are not served yet; send pictures within the request"
    raise Unsupported(why, reason="ARTIFACTS_NOT_SERVED")
