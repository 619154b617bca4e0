"""What the broker refuses, by the name that gRPC gives the refusal.

PubSubError
├── AlreadyExistsError        the name is taken
├── FailedPreconditionError   right in itself, wrong in the present state
├── InvalidArgumentError      wrong whatever the state
├── NotFoundError             no such topic, subscription or snapshot
├── OutOfRangeError           a number outside its documented bounds
└── UnimplementedError        a part of Pub/Sub that this broker does not play
"""


class PubSubError(Exception):
    """The broker refuses a request; the message is for whoever sent it."""


class AlreadyExistsError(PubSubError):
    """The name is taken."""


class FailedPreconditionError(PubSubError):
    """The request is right in itself, but not in the present state."""


class InvalidArgumentError(PubSubError):
    """The request is wrong whatever the state."""


class NotFoundError(PubSubError):
    """There is no such topic, subscription or snapshot."""


class OutOfRangeError(PubSubError):
    """A number is outside its documented bounds."""


class UnimplementedError(PubSubError):
    """This broker does not play that part of Pub/Sub."""
