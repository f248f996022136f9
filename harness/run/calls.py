"""What the worker does for each operation: build the request, call the hook, check what it returns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import JsonValue, TypeAdapter

from harness.checkpoint.checkpoint import Checkpoint
from harness.contracts import (
    CompressRequest,
    DeployRequest,
    EvaluateRequest,
    Forecast,
    ForecastRequest,
    InitialiseRequest,
    Metric,
    Package,
    StepResult,
    TrainRequest,
    ValidateRequest,
)
from harness.corpora.door import DataDoor, DoorSettings
from harness.errors import ContractBroken
from harness.options import Packaging
from harness.rules.finding import Finding
from harness.run.loading import describe, options_class, parse_options
from harness.run.protocol import CheckpointReference, WorkerResponse

if TYPE_CHECKING:
    import pluggy

    from harness.options import Options
    from harness.progress import Progress
    from harness.run.protocol import WorkerRequest

ResultT = TypeVar("ResultT")
JSON: TypeAdapter[JsonValue] = TypeAdapter(JsonValue)
Call = Callable[["pluggy.PluginManager", "WorkerRequest", "Progress"], WorkerResponse]


def _options(manager: pluggy.PluginManager, request: WorkerRequest, progress: Progress) -> WorkerResponse:
    del progress
    return WorkerResponse(value=describe(_parsed(manager, request)).model_dump(mode="json"))


def _forecast(manager: pluggy.PluginManager, request: WorkerRequest, progress: Progress) -> WorkerResponse:
    del progress
    options = _parsed(manager, request)
    result = manager.hook.forecast(
        request=ForecastRequest(
            config=request.config or {},
            options=options,
            step=options.steps[request.step_index],
            parameter_budget=request.parameter_budget,
        )
    )
    if result is None:
        return WorkerResponse()
    forecast = _expect(Forecast, result, request)
    return WorkerResponse(
        value={
            "config": _json(forecast.config, request),
            "parameter_count": forecast.parameter_count,
            "parameter_bounds": None if forecast.parameter_bounds is None else list(forecast.parameter_bounds),
            "notes": _json(forecast.notes, request),
        }
    )


def _step(manager: pluggy.PluginManager, request: WorkerRequest, progress: Progress) -> WorkerResponse:
    options = _parsed(manager, request)
    step = options.steps[request.step_index]
    settings = DoorSettings.model_validate(request.door)
    door = DataDoor(settings, closed=not step.reads_data, evaluation=request.evaluation)
    compresses = request.operation == "compress"
    kind = CompressRequest if compresses else partial(TrainRequest, is_control=request.is_control)
    asked = kind(
        base=_checkpoint(request.base),
        student=_checkpoint(request.student),
        options=options,
        step=step,
        parameter_budget=request.parameter_budget,
        data=door,
        workdir=Path(request.workdir),
        device=request.device,
        seed=request.seed,
        progress=progress,
    )
    value = _written(manager, request, asked)
    return WorkerResponse(value=value, ledger=door.ledger().model_dump(mode="json"))


def _initialise(manager: pluggy.PluginManager, request: WorkerRequest, progress: Progress) -> WorkerResponse:
    options = _parsed(manager, request)
    asked: InitialiseRequest[Any, Any] = InitialiseRequest(
        tokenizer=Path(request.tokenizer or ""),
        options=options,
        step=options.steps[request.step_index],
        workdir=Path(request.workdir),
        device=request.device,
        seed=request.seed,
        progress=progress,
    )
    return WorkerResponse(value=_written(manager, request, asked))


def _written(manager: pluggy.PluginManager, request: WorkerRequest, asked: object) -> JsonValue:
    """What the hook of a step says that it wrote."""
    hook = getattr(manager.hook, request.operation)
    if not hook.get_hookimpls():
        raise ContractBroken(
            f"plugin {request.plugin!r}: the recipe's step {request.step_index + 1} is a {request.operation} step, "
            f"and the plugin has no hook {request.operation!r}"
        )
    result = _expect(StepResult, hook(request=asked), request)
    return {"checkpoint": _inside(result.checkpoint, request), "notes": _json(result.notes, request)}


def _evaluate(manager: pluggy.PluginManager, request: WorkerRequest, progress: Progress) -> WorkerResponse:
    result = manager.hook.evaluate(request=EvaluateRequest(**_final(manager, request, progress)))
    metrics = _expect_list(Metric, [] if result is None else result, request)
    value: JsonValue = [
        {"name": item.name, "value": item.value, "unit": item.unit, "higher_is_better": item.higher_is_better}
        for item in metrics
    ]
    return WorkerResponse(value=value)


def _deploy(manager: pluggy.PluginManager, request: WorkerRequest, progress: Progress) -> WorkerResponse:
    result = manager.hook.deploy(request=DeployRequest(**_final(manager, request, progress)))
    if result is None:
        return WorkerResponse()
    if isinstance(result, Packaging):
        return WorkerResponse(value={"packaging": result.model_dump(mode="json")})
    package = _expect(Package, result, request)
    notes = _json(package.notes, request)
    return WorkerResponse(value={"path": _inside(package.path, request), "format": package.format, "notes": notes})


def _validate(manager: pluggy.PluginManager, request: WorkerRequest, progress: Progress) -> WorkerResponse:
    del progress
    asked = ValidateRequest(bundle=Path(request.bundle or ""), options=_parsed(manager, request))
    result = manager.hook.validate(request=asked)
    findings = _expect_list(Finding, [] if result is None else result, request)
    return WorkerResponse(value=[finding.model_dump(mode="json") for finding in findings])


CALLS: Mapping[str, Call] = {
    "options": _options,
    "forecast": _forecast,
    "initialise": _initialise,
    "compress": _step,
    "train": _step,
    "evaluate": _evaluate,
    "deploy": _deploy,
    "validate": _validate,
}


def _parsed(manager: pluggy.PluginManager, request: WorkerRequest) -> Options:
    return parse_options(options_class(manager, request.plugin), request.recipe)


def _final(manager: pluggy.PluginManager, request: WorkerRequest, progress: Progress) -> dict[str, Any]:
    return {
        "base": _checkpoint(request.base),
        "student": _checkpoint(request.student),
        "options": _parsed(manager, request),
        "workdir": Path(request.workdir),
        "device": request.device,
        "seed": request.seed,
        "progress": progress,
    }


def _checkpoint(reference: CheckpointReference | None) -> Checkpoint:
    if reference is None:
        raise ContractBroken("the request names no checkpoint")
    return Checkpoint(path=Path(reference.path), digest=reference.digest)


def _expect(kind: type[ResultT], result: object, request: WorkerRequest) -> ResultT:
    """Pluggy does not check what a hook returns; this does."""
    if not isinstance(result, kind):
        raise ContractBroken(
            f"plugin {request.plugin!r}: hook {request.operation!r} returned {type(result).__name__}, "
            f"expected {kind.__name__}"
        )
    return result


def _expect_list(kind: type[ResultT], result: object, request: WorkerRequest) -> list[ResultT]:
    if not isinstance(result, list):
        raise ContractBroken(
            f"plugin {request.plugin!r}: hook {request.operation!r} returned {type(result).__name__}, "
            f"expected a list of {kind.__name__}"
        )
    return [_expect(kind, item, request) for item in result]


def _json(value: object, request: WorkerRequest) -> JsonValue:
    try:
        return JSON.validate_python(dict(value) if isinstance(value, Mapping) else value)
    except ValueError as error:
        raise ContractBroken(
            f"plugin {request.plugin!r}: hook {request.operation!r} returned notes that are not plain JSON: {error}"
        ) from error


def _inside(path: object, request: WorkerRequest) -> str:
    """A folder that a hook returned, as a path relative to the step's workdir."""
    workdir = Path(request.workdir).resolve()
    folder = _expect(Path, path, request).resolve()
    if not folder.is_dir() or not folder.is_relative_to(workdir) or folder == workdir:
        raise ContractBroken(
            f"plugin {request.plugin!r}: hook {request.operation!r} returned {str(path)!r}, "
            "expected a folder inside request.workdir"
        )
    return folder.relative_to(workdir).as_posix()
