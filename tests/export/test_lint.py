"""Each fault that the linter knows, planted in a graph that has none."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from export.contract import DELTAS, INPUTS, LOGITS, OUTPUTS
from export.lint import faults_of
from export.manifest import Bundle, Flavour

FLOAT, HALF, LONG = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.INT64


def good_graph(flavour: Flavour = "tensor", trunk: int = FLOAT) -> ModelProto:
    """The skeleton of an exported graph: its names, its types and the kinds of its operators."""
    node = helper.make_node
    half = np.float16 if trunk == HALF else np.float32
    constants = {
        "score_threshold": np.array([0.05], np.float32),
        "iou_threshold": np.array([0.5], np.float32),
        "max_detections": np.array([300]),
        "weight": np.zeros((1024, 3, 16, 16), half),  # larger than other constants may be
        "k": np.array([1000]),
        "nine": np.array([9]),
        "cap": np.array([300]),
        "two": np.array([2.0], np.float32),
    }
    nodes = [
        node("Cast", ["images"], ["pixels"], to=trunk),
        node("Transpose", ["pixels"], ["planes"], perm=[0, 3, 1, 2]),
        node("Conv", ["planes", "weight"], ["maps"], name="conv"),
        node("Flatten", ["maps"], ["rows"]),
        *(node("Relu", ["rows"], [name]) for name in (*LOGITS, *DELTAS)),
        node("Cast", ["logits_p3"], ["logits"], to=FLOAT),
        node("TopK", ["logits", "k"], ["best", "order"], name="top"),
        node("Div", ["order", "nine"], ["location"], name="location"),
        node("Cast", ["location"], ["place"], to=FLOAT),
        node("Mul", ["place", "two"], ["centre"]),
        node("Div", ["centre", "two"], ["side"], name="side"),
        node("Identity", ["side"], ["candidate_boxes"]),
        node("Sigmoid", ["best"], ["scored"], name="sigmoid"),
        node("Greater", ["scored", "score_threshold"], ["above"]),
        node("Where", ["above", "scored", "score_threshold"], ["candidate_scores"]),
        node("Mod", ["order", "nine"], ["candidate_classes"]),
        node("Identity", ["candidate_boxes"], ["boxes"]),
        node("Identity", ["candidate_scores"], ["scores"]),
        node("Mul", ["candidate_classes", "max_detections"], ["classes"]),
        node("ReduceSum", ["classes"], ["num_detections"], keepdims=0),
    ]
    if flavour == "tensor":
        nodes.append(node("Greater", ["scores", "iou_threshold"], ["converged"]))
    else:
        given = ["candidate_boxes", "candidate_scores", "cap", "iou_threshold", "score_threshold"]
        nodes.append(node("NonMaxSuppression", given, ["selected"], name="nms"))
    kinds = {"images": TensorProto.UINT8, "converged": TensorProto.BOOL}
    kinds |= dict.fromkeys(["image_sizes", "max_detections", "num_detections"], LONG)
    kinds |= dict.fromkeys(["classes", "candidate_classes"], LONG)

    def value(name: str) -> onnx.ValueInfoProto:
        shape = (
            [1] if name in constants else ["batch", "h", "w", 3] if name == "images" else ["batch"]
        )
        return helper.make_tensor_value_info(name, kinds.get(name, FLOAT), shape)

    graph = helper.make_graph(
        nodes,
        "view",
        [value(name) for name in INPUTS],
        [value(name) for name in OUTPUTS[flavour]],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])


def node_of(model: ModelProto, name: str) -> NodeProto:
    return next(node for node in model.graph.node if name in (node.name, *node.output))


def add(model: ModelProto, operator: str, *inputs: str, **options: object) -> None:
    node = helper.make_node(operator, inputs, ["planted"], name="planted", **options)
    model.graph.node.append(node)


def divide_an_index_as_a_float(model: ModelProto) -> None:
    """What the exporter makes of torch.div(index, 9, rounding_mode="floor")."""
    model.graph.node.append(helper.make_node("Cast", ["order"], ["as_float"], to=FLOAT))
    model.graph.node.append(helper.make_node("Flatten", ["as_float"], ["wide"]))
    add(model, "Div", "wide", "two")


def transpose_bytes(model: ModelProto) -> None:
    node_of(model, "pixels").input[0] = "bytes"
    model.graph.node.insert(0, helper.make_node("Transpose", ["images"], ["bytes"], name="planted"))


def score_in_half(model: ModelProto) -> None:
    node_of(model, "sigmoid").input[0] = "best_half"
    index = list(model.graph.node).index(node_of(model, "sigmoid"))
    model.graph.node.insert(index, helper.make_node("Cast", ["best"], ["best_half"], to=HALF))


def bake_batch(model: ModelProto) -> None:
    model.graph.output[1].type.tensor_type.shape.dim[0].dim_value = 2


def bake_canvas(model: ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 288


def name_another_batch(model: ModelProto) -> None:
    model.graph.output[0].type.tensor_type.shape.dim[0].dim_param = "s0"


def bake_pairs(model: ModelProto) -> None:
    pairs = np.zeros((1100, 1100), np.bool_)
    model.graph.initializer.append(numpy_helper.from_array(pairs, "pairs"))
    add(model, "Not", "pairs")


def bake_pairs_in_a_node(model: ModelProto) -> None:
    value = numpy_helper.from_array(np.zeros((1100, 1100), np.bool_))
    model.graph.node.append(helper.make_node("Constant", [], ["pairs"], value=value))
    add(model, "Not", "pairs")


def set_constant(name: str, array: np.ndarray) -> Callable[[ModelProto], None]:  # type: ignore[type-arg]
    def change(model: ModelProto) -> None:
        (entry,) = (one for one in model.graph.initializer if one.name == name)
        entry.CopyFrom(numpy_helper.from_array(array, name))

    return change


def drop_default(model: ModelProto) -> None:
    model.graph.initializer.remove(
        next(entry for entry in model.graph.initializer if entry.name == "iou_threshold")
    )


def rename(model: ModelProto) -> None:
    model.graph.output[0].name = "count"


def forget_stage(model: ModelProto) -> None:
    model.graph.node.remove(node_of(model, "deltas_p6"))


def compute_k(model: ModelProto) -> None:
    """A caller may set the limit: it is an initializer and yet no constant."""
    node_of(model, "top").input[1] = "max_detections"


def repeat(model: ModelProto) -> None:
    def value(name: str, kind: int) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, kind, [])

    body = helper.make_graph(
        [
            helper.make_node("Identity", ["again"], ["still"]),
            helper.make_node("Identity", ["before"], ["after"]),
        ],
        "body",
        [value("count", LONG), value("again", TensorProto.BOOL), value("before", FLOAT)],
        [value("still", TensorProto.BOOL), value("after", FLOAT)],
    )
    add(model, "Loop", "k", "", "two", body=body)


def add_unknown_operator(model: ModelProto) -> None:
    model.opset_import.append(helper.make_opsetid("org.example", 1))
    add(model, "Fancy", "scores", domain="org.example")


def call_function(model: ModelProto) -> None:
    model.functions.append(onnx.FunctionProto(name="planted"))


FAULTS: dict[str, tuple[Callable[[ModelProto], None], str]] = {
    "NonMaxSuppression": (
        lambda model: add(model, "NonMaxSuppression", "boxes", "scores", "cap"),
        "planted (NonMaxSuppression) has no place in the tensor flavour",
    ),
    **{
        operator: (
            lambda model, operator=operator: add(model, operator),
            f"planted ({operator}) branches or repeats",
        )  # type: ignore[misc]
        for operator in ("If", "Scan")
    },
    **{
        operator: (
            lambda model, operator=operator: add(model, operator, "scores"),
            f"planted ({operator}) returns what has no static shape",
        )  # type: ignore[misc]
        for operator in ("NonZero", "SequenceConstruct", "SplitToSequence", "Compress")
    },
    "Loop": (repeat, "planted (Loop) branches or repeats"),
    "large k": (
        set_constant("k", np.array([5000])),
        "top (TopK) has k = 5000; TensorRT's limit is 3840",
    ),
    "computed k": (
        compute_k,
        "top (TopK) has no constant k",
    ),
    "Floor": (lambda model: add(model, "Floor", "scores"), "planted (Floor) rounds"),
    "index as float": (divide_an_index_as_a_float, "planted (Div) divides whole numbers as floats"),
    "batch": (bake_batch, "the batch size of boxes is baked in"),
    "canvas": (bake_canvas, "the canvas of images is baked in"),
    "two batch sizes": (name_another_batch, "disagree on the batch size"),
    "bytes moved": (transpose_bytes, "planted (Transpose) reads images before a Cast"),
    "float64": (
        lambda model: add(model, "Cast", "scores", to=TensorProto.DOUBLE),
        "planted (Cast) makes float64",
    ),
    "float64 constant": (set_constant("nine", np.array([9.0])), "the constant nine is float64"),
    "scores in half": (
        score_in_half,
        "sigmoid (Sigmoid) computes in float16; boxes and scores are",
    ),
    "baked pairs": (bake_pairs, "pairs, read by planted (Not), is a constant of 12100"),
    "baked pairs in a node": (
        bake_pairs_in_a_node,
        "pairs, read by planted (Not), is a constant of",
    ),
    "no default": (drop_default, "iou_threshold has no default"),
    "threshold unread": (
        lambda model: model.graph.node.remove(node_of(model, "converged")),
        "no node reads iou_threshold",
    ),
    "name": (rename, "the outputs are count, boxes, scores"),
    "stage": (forget_stage, "no node makes deltas_p6"),
    "function": (call_function, "the function planted hides nodes"),
    "domain": (
        add_unknown_operator,
        "planted (Fancy) is of org.example",
    ),
    "type": (
        lambda model: setattr(model.graph.output[2].type.tensor_type, "elem_type", HALF),
        "scores is float16; it must be float",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_planted_fault_is_named(fault: str) -> None:
    plant, said = FAULTS[fault]
    model = good_graph()
    plant(model)
    assert any(said in sentence for sentence in faults_of(model, "tensor", "fp32"))


@pytest.mark.parametrize("flavour", ["cpu", "tensor"])
@pytest.mark.parametrize(("precision", "trunk"), [("fp32", FLOAT), ("fp16", HALF)])
def test_good_graph_has_none(flavour: Flavour, precision: str, trunk: int) -> None:
    assert faults_of(good_graph(flavour, trunk), flavour, precision) == []  # type: ignore[arg-type]


def test_exported_graphs_have_none(tiny_bundle: Bundle) -> None:
    for graph in tiny_bundle.manifest.graphs:
        model = onnx.load(tiny_bundle.graph_path(graph))
        assert faults_of(model, graph.flavour, graph.precision) == []


@pytest.mark.parametrize(("trunk", "precision"), [(HALF, "fp32"), (FLOAT, "fp16")])
def test_trunk_of_another_precision_is_named(trunk: int, precision: str) -> None:
    (said,) = faults_of(good_graph(trunk=trunk), "tensor", precision)  # type: ignore[arg-type]
    assert said.startswith("conv (Conv) computes in float")
    assert said.endswith(f"in a graph of {precision}")


@pytest.mark.parametrize("cap", [0, None])
def test_nms_without_a_cap_is_named(cap: int | None) -> None:
    model = good_graph("cpu")
    if cap is None:
        del node_of(model, "nms").input[2:]
    else:
        set_constant("cap", np.array([cap]))(model)
    said = faults_of(model, "cpu", "fp32")
    assert "nms (NonMaxSuppression) is given no cap: the default of 0 keeps nothing" in said


def test_large_k_is_no_fault_on_a_cpu() -> None:
    model = good_graph("cpu")
    set_constant("k", np.array([5000]))(model)
    assert faults_of(model, "cpu", "fp32") == []
