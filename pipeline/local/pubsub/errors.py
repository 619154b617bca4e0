"""Errors of the broker, named after gRPC's status codes.

PubSubError
├── AlreadyExistsError        the name is taken
├── FailedPreconditionError   valid, but not in the present state
├── InvalidArgumentError      invalid in any state
├── NotFoundError             no such topic, subscription or snapshot
├── OutOfRangeError           a number outside its documented bounds
└── UnimplementedError        a part of Pub/Sub that this broker does not implement
"""


class PubSubError(Exception):
    """The broker refused a request; the message goes to the client."""


class AlreadyExistsError(PubSubError):
    """The name is taken."""


class FailedPreconditionError(PubSubError):
    """The request is valid, but not in the present state."""


class InvalidArgumentError(PubSubError):
    """The request is invalid in any state."""


class NotFoundError(PubSubError):
    """The topic, subscription or snapshot does not exist."""


class OutOfRangeError(PubSubError):
    """A number is outside its documented bounds."""


class UnimplementedError(PubSubError):
    """This broker does not implement that part of Pub/Sub."""
