"""Gives inputs and outputs of exported files fixed names; MindSpore makes up its own."""

from __future__ import annotations

from pathlib import Path


def name_mindir(path: Path) -> None:
    """Gives the inputs their names in ``construct``; MindSpore adds the graph's name as a prefix."""
    from mindspore.train.mind_ir_pb2 import ModelProto

    model = ModelProto()
    model.ParseFromString(path.read_bytes())
    names = {value.name: value.name.rsplit(":", 1)[-1] for value in model.graph.input}
    for node in (node for graph in (model.graph, *model.functions) for node in graph.node):
        node.input[:] = [names.get(name, name) for name in node.input]
    for value in model.graph.input:
        value.name = names[value.name]
    path.write_bytes(model.SerializeToString())


def name_onnx(path: Path, first_input: str | None, output_name: str, any_batch: bool) -> None:
    """Names inputs and output. With ``any_batch`` it opens the batch size, which MindSpore fixes without need."""
    import onnx

    model = onnx.load(path)
    (output,) = model.graph.output
    names = {output.name: output_name}
    if first_input:
        names[model.graph.input[0].name] = first_input
    for node in model.graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    for value in (*model.graph.input, output):
        value.name = names.get(value.name, value.name)
        if any_batch:
            value.type.tensor_type.shape.dim[0].dim_param = "batch"
    onnx.save(model, path)
