"""RecordCoder compared with the pickle that Beam would use."""

import pickle

from apache_beam.coders import FastPrimitivesCoder

from schemas.change_event import AccountChange, SourceMessage
from tests.benchmarks.ratios import report, side_by_side
from tests.fixtures.changes import change, payload
from transforms.coders import RecordCoder


def run() -> None:
    """Measure encoding and decoding of a change with a message of 2 KB."""
    value = change(source=SourceMessage(payload=payload({"Description": "x" * 2_000}), message_id="1"))
    coder, beams = RecordCoder(AccountChange), FastPrimitivesCoder()
    ours, theirs, pickled = coder.encode(value), beams.encode(value), pickle.dumps(value)
    encoding = {
        "RecordCoder.encode": lambda: coder.encode(value),
        "Beam's FastPrimitivesCoder.encode": lambda: beams.encode(value),
        "pickle.dumps": lambda: pickle.dumps(value),
    }
    decoding = {
        "RecordCoder.decode": lambda: coder.decode(ours),
        "Beam's FastPrimitivesCoder.decode": lambda: beams.decode(theirs),
        "pickle.loads": lambda: pickle.loads(pickled),  # noqa: S301 - our own bytes
    }
    both = {
        "RecordCoder": lambda: coder.decode(coder.encode(value)),
        "Beam's FastPrimitivesCoder": lambda: beams.decode(beams.encode(value)),
        "pickle": lambda: pickle.loads(pickle.dumps(value)),  # noqa: S301 - our own bytes
    }
    report("coder: encode an AccountChange", side_by_side(encoding, repeat=2_000))
    report("coder: decode an AccountChange", side_by_side(decoding, repeat=2_000))
    report("coder: there and back", side_by_side(both, repeat=2_000))
