"""An inference request of the Open Inference Protocol, in JSON or with binary tensors behind it."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from numpy.typing import NDArray

from loadtest.protocols.oip_tensors import TensorSpec


class Filled(NamedTuple):
    """An input and what is sent as it: a tensor, or one file as BYTES [1]."""

    spec: TensorSpec
    values: NDArray[Any] | bytes

    @property
    def shape(self) -> list[int]:
        """As it is sent."""
        return [1] if isinstance(self.values, bytes) else list(self.values.shape)

    def binary(self) -> bytes:
        """As the binary data extension has it: an element of BYTES follows its length."""
        if isinstance(self.values, bytes):
            return struct.pack("<I", len(self.values)) + self.values
        return self.values.tobytes()

    def listed(self) -> list[Any]:
        """As JSON has it; a file in base64, which is what KServe and our servers take."""
        if isinstance(self.values, bytes):
            return [base64.b64encode(self.values).decode()]
        return list(self.values.ravel().tolist())


def infer_body(
    inputs: Sequence[Filled], parameters: Mapping[str, Any], binary: bool
) -> tuple[bytes, int]:
    """A body, and the length of its JSON; binary tensors are asked for where they are sent."""
    entries, behind = [], []
    for filled in inputs:
        spec = filled.spec
        entry = {"name": spec.name, "datatype": spec.datatype, "shape": filled.shape}
        if binary:
            behind.append(filled.binary())
            entries.append({**entry, "parameters": {"binary_data_size": len(behind[-1])}})
        else:
            entries.append({**entry, "data": filled.listed()})
    if binary:
        parameters = {**parameters, "binary_data_output": True}
    document = {"inputs": entries, **({"parameters": dict(parameters)} if parameters else {})}
    head = json.dumps(document, separators=(",", ":")).encode()
    return b"".join([head, *behind]), len(head)
