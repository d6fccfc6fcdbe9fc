"""Small image classifiers as transformers configurations.

Every builder takes (image size, channels, classes) and gives a randomly initialised model of the
Hugging Face class of that name; seed torch before. Sizes are chosen to train in seconds on one thread,
initial weights larger than the libraries' defaults, which are made for far wider networks.
"""

from collections.abc import Callable, Mapping
from typing import Any

import transformers as hf
from transformers import PreTrainedModel

Builder = Callable[[int, int, int], PreTrainedModel]


def _model(name: str, classes: int, **settings: Any) -> PreTrainedModel:
    config = getattr(hf, f"{name}Config")(**settings)
    config.num_labels = classes
    model: PreTrainedModel = getattr(hf, f"{name}ForImageClassification")(config)
    return model


def _resnet(size: int, channels: int, classes: int) -> PreTrainedModel:
    return _model(
        "ResNet",
        classes,
        num_channels=channels,
        embedding_size=24,
        hidden_sizes=[24, 48, 96],
        depths=[1, 1, 1],
        layer_type="basic",
    )


def _bottleneck_resnet(size: int, channels: int, classes: int) -> PreTrainedModel:
    return _model(
        "ResNet",
        classes,
        num_channels=channels,
        embedding_size=16,
        hidden_sizes=[32, 64],
        depths=[2, 2],
        layer_type="bottleneck",
    )


def _transformer(name: str, layers: int = 4, width: int = 64) -> Builder:
    def build(size: int, channels: int, classes: int) -> PreTrainedModel:
        return _model(
            name,
            classes,
            num_channels=channels,
            image_size=size,
            patch_size=size // 4,
            hidden_size=width,
            num_hidden_layers=layers,
            num_attention_heads=4,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
            initializer_range=0.1,
            # Dinov2 counts its hidden layer in multiples of the width
            **({"mlp_ratio": 2} if name == "Dinov2" else {"intermediate_size": 2 * width}),
        )

    return build


def _convnext(size: int, channels: int, classes: int) -> PreTrainedModel:
    return _model(
        "ConvNext",
        classes,
        num_channels=channels,
        image_size=size,
        patch_size=4,
        num_stages=2,
        hidden_sizes=[32, 64],
        depths=[2, 2],
        layer_scale_init_value=1.0,  # the default is made for hundreds of epochs
        initializer_range=0.05,
    )


def _convnext_v2(size: int, channels: int, classes: int) -> PreTrainedModel:
    return _model(
        "ConvNextV2",
        classes,
        num_channels=channels,
        image_size=size,
        patch_size=4,
        num_stages=3,
        hidden_sizes=[24, 48, 64],
        depths=[1, 1, 1],
        initializer_range=0.05,
    )


def _swin(size: int, channels: int, classes: int) -> PreTrainedModel:
    return _model(
        "Swin",
        classes,
        num_channels=channels,
        image_size=size,
        patch_size=size // 8,
        embed_dim=32,
        depths=[2, 2],
        num_heads=[2, 4],
        window_size=4,
        mlp_ratio=2.0,
        drop_path_rate=0.0,
        initializer_range=0.08,
    )


def _regnet(size: int, channels: int, classes: int) -> PreTrainedModel:
    return _model(
        "RegNet",
        classes,
        num_channels=channels,
        embedding_size=16,
        hidden_sizes=[24, 48, 64],
        depths=[1, 1, 1],
        groups_width=8,
        layer_type="x",
    )


def _mobilenet_v1(size: int, channels: int, classes: int) -> PreTrainedModel:
    return _model(
        "MobileNetV1",
        classes,
        num_channels=channels,
        image_size=size,
        depth_multiplier=0.125,
        tf_padding=False,
        classifier_dropout_prob=0.0,
        initializer_range=0.1,
    )


def _mobilenet_v2(size: int, channels: int, classes: int) -> PreTrainedModel:
    return _model(
        "MobileNetV2",
        classes,
        num_channels=channels,
        image_size=size,
        depth_multiplier=0.25,
        expand_ratio=3.0,
        finegrained_output=False,
        tf_padding=False,
        classifier_dropout_prob=0.0,
        initializer_range=0.1,
    )


def _efficientnet(size: int, channels: int, classes: int) -> PreTrainedModel:
    """Inverted residuals with depthwise convolutions, as in MobileNetV2, few enough for 16×16 pixels."""
    return _model(
        "EfficientNet",
        classes,
        num_channels=channels,
        image_size=size,
        width_coefficient=1.0,
        depth_coefficient=1.0,
        in_channels=[32, 24, 32],
        out_channels=[24, 32, 48],
        kernel_sizes=[3, 3, 3],
        strides=[1, 2, 1],
        num_block_repeats=[1, 2, 1],
        expand_ratios=[3, 3, 3],
        hidden_dim=1280,  # the class knows no other width of its last convolution
        dropout_rate=0.0,
        drop_connect_rate=0.0,
        batch_norm_eps=1e-5,
        initializer_range=0.1,
    )


ARCHITECTURES: Mapping[str, Builder] = {
    "resnet": _resnet,
    "vit": _transformer("ViT"),
    "convnext": _convnext,
    "resnet-bottleneck": _bottleneck_resnet,
    "deit": _transformer("DeiT", layers=3, width=48),
    "dinov2": _transformer("Dinov2", layers=3, width=48),
    "convnextv2": _convnext_v2,
    "swin": _swin,
    "regnet": _regnet,
    "mobilenet-v1": _mobilenet_v1,
    "mobilenet-v2": _mobilenet_v2,
    "efficientnet": _efficientnet,
}
