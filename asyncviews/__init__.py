"""Django's async views, finished."""

from asyncviews.background import (
    BackgroundQueueClosed,
    BackgroundQueueFull,
    BackgroundTask,
    BackgroundTaskMixin,
    add_background_task,
    background_task,
    current_task,
)
from asyncviews.problems import (
    ContentTooLarge,
    Forbidden,
    InvalidParameters,
    MalformedRequest,
    MethodNotAllowed,
    NotAcceptable,
    NotFound,
    Problem,
    ServiceUnavailable,
    TooManyRequests,
    Unauthorized,
    UnsupportedMediaType,
)
from asyncviews.resources import Resource, ResourceNotOpen, http_client, resource
from asyncviews.responses import Status
from asyncviews.sources import (
    Body,
    CommaSeparated,
    Cookie,
    File,
    Form,
    Header,
    Path,
    Query,
    Upload,
    UploadedFile,
)
from asyncviews.streaming import ServerSentEvent
from asyncviews.transactions import in_transaction
from asyncviews.views import AsyncView

__all__ = [
    "AsyncView",
    "BackgroundQueueClosed",
    "BackgroundQueueFull",
    "BackgroundTask",
    "BackgroundTaskMixin",
    "Body",
    "CommaSeparated",
    "ContentTooLarge",
    "Cookie",
    "File",
    "Forbidden",
    "Form",
    "Header",
    "InvalidParameters",
    "MalformedRequest",
    "MethodNotAllowed",
    "NotAcceptable",
    "NotFound",
    "Path",
    "Problem",
    "Query",
    "Resource",
    "ResourceNotOpen",
    "ServerSentEvent",
    "ServiceUnavailable",
    "Status",
    "TooManyRequests",
    "Unauthorized",
    "UnsupportedMediaType",
    "Upload",
    "UploadedFile",
    "add_background_task",
    "background_task",
    "current_task",
    "http_client",
    "in_transaction",
    "resource",
]
