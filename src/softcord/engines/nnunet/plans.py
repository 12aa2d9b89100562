"""The plans of an nnU-Net v2 model, in both formats that nnU-Net has had, checked and refused by name."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from softcord.errors import ModelError

Triple = tuple[int, int, int]

NORMALISATIONS = (
    "ZScoreNormalization",
    "CTNormalization",
    "NoNormalization",
    "RescaleTo01Normalization",
    "RGBTo01Normalization",
)
_MOST_STAGES = 30  # no volume could be halved as often
SPLINES = (0, 1, 3)  # orders
NETWORKS = ("PlainConvUNet", "ResidualEncoderUNet")
# arguments of an architecture that are understood; a value that is not None of any other is refused
_KNOWN = frozenset(
    "n_stages features_per_stage conv_op kernel_sizes strides n_conv_per_stage n_blocks_per_stage "
    "n_conv_per_stage_decoder conv_bias norm_op norm_op_kwargs dropout_op dropout_op_kwargs nonlin "
    "nonlin_kwargs stem_channels deep_supervision block".split()
)


@dataclass(frozen=True, slots=True)
class Topology:
    """The network.

    Attributes
    ----------
    network : {"PlainConvUNet", "ResidualEncoderUNet"}
    features : tuple of int
        Channels of each stage, the finest first.
    kernels, strides : tuple of (3,) tuple of int
        Of each stage's convolutions; the stride is that of its first one.
    encoder : tuple of int
        Convolutions (plain) or blocks (residual) of each stage of the encoder.
    decoder : tuple of int
        Convolutions of each stage of the decoder, the coarsest first.
    bias : bool
        Whether its convolutions have a bias.
    eps : float
        Of the instance norms.
    affine : bool
        Whether the instance norms have weights.
    slope : float
        Of the leaky ReLU, below 0.
    stem : int, optional
        Channels of the residual encoder's stem, if they are not those of the first stage.
    """

    network: Literal["PlainConvUNet", "ResidualEncoderUNet"]
    features: tuple[int, ...]
    kernels: tuple[Triple, ...]
    strides: tuple[Triple, ...]
    encoder: tuple[int, ...]
    decoder: tuple[int, ...]
    bias: bool = True
    eps: float = 1e-5
    affine: bool = True
    slope: float = 0.01
    stem: int | None = None

    @property
    def divisor(self) -> Triple:
        """What the shape of a patch must be a multiple of, so that the two halves of the network fit."""
        i, j, k = (_product(stride[axis] for stride in self.strides) for axis in range(3))
        return i, j, k


@dataclass(frozen=True, slots=True)
class Normalisation:
    """How the grey levels of one channel are scaled.

    Attributes
    ----------
    scheme : str
        One of `NORMALISATIONS`.
    inside_only : bool
        z-score of the non-zero voxels alone.
    mean, std, low, high : float
        Of the training images' foreground, for CTNormalization; low and high are its 0.5th and 99.5th
        percentile.
    """

    scheme: str
    inside_only: bool
    mean: float
    std: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Resampling:
    """How an array is brought to another grid.

    Attributes
    ----------
    order : int
        Of the spline.
    separate : bool, optional
        Whether the axis of the largest spacing is resampled apart, by nearest neighbours. None: if the
        spacing before, or else after, is anisotropic by more than `threshold`.
    threshold : float
    clip : bool
        Whether values stay in the range of the input (nnU-Net's default; its torch variant has no need).
    identity : bool
        Not resampled at all.
    """

    order: int
    separate: bool | None = None
    threshold: float = 3.0
    clip: bool = True
    identity: bool = False


@dataclass(frozen=True, slots=True)
class Plans:
    """One configuration of an nnU-Net model. Axes are those of nnU-Net's arrays after its transposition.

    Attributes
    ----------
    dataset, name, configuration : str
    topology : Topology
    spacing : (3,) tuple of float, mm
        Of the grid that the network sees.
    patch : (3,) tuple of int
        Shape of a tile.
    transpose_forward, transpose_backward : (3,) tuple of int
        From the reader's axes to the network's, and back.
    normalisations : tuple of Normalisation
        One for each channel.
    data, probabilities : Resampling
    reader : str
        nnU-Net's class that read the training images, such as "SimpleITKIO".
    """

    dataset: str
    name: str
    configuration: str
    topology: Topology
    spacing: tuple[float, float, float]
    patch: Triple
    transpose_forward: Triple
    transpose_backward: Triple
    normalisations: tuple[Normalisation, ...]
    data: Resampling
    probabilities: Resampling
    reader: str


def read_plans(plans: Mapping[str, Any], configuration: str = "3d_fullres") -> Plans:
    """Read the content of a ``plans.json``.

    Parameters
    ----------
    plans : mapping
        As JSON gives it, in the format of nnU-Net 2.3.1 and later or in the one before.
    configuration : str
        Which of its configurations.

    Returns
    -------
    plans : Plans

    Raises
    ------
    ModelError
        Something is missing, contradicts itself or is not supported; the message names it.
    """
    try:
        return _read(plans, configuration)
    except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError, RecursionError) as error:
        raise ModelError(
            f"The plans of this nnU-Net model are incomplete or damaged ({type(error).__name__}: {error}). "
            "Install the model again."
        ) from error


def _read(plans: Mapping[str, Any], configuration: str) -> Plans:
    content = _resolve(plans["configurations"], configuration)
    if content.get("previous_stage"):
        raise _refusal(f"configuration {configuration}", "the second stage of a cascade")
    patch = [int(n) for n in content["patch_size"]]
    if len(patch) != 3:
        raise _refusal(f"configuration {configuration}", f"a {len(patch)}-D network")
    preprocessor = content.get("preprocessor_name", "DefaultPreprocessor")
    if preprocessor != "DefaultPreprocessor":
        raise _refusal("preprocessor_name", str(preprocessor))
    manager = plans.get("label_manager", "LabelManager")
    if manager != "LabelManager":
        raise _refusal("label_manager", str(manager))
    forward, backward = _permutation(plans, "transpose_forward"), _permutation(plans, "transpose_backward")
    if any(backward[axis] != i for i, axis in enumerate(forward)):
        raise ValueError(f"transpose_backward {backward} does not undo transpose_forward {forward}")
    read = Plans(
        dataset=str(plans.get("dataset_name", "")),
        name=str(plans.get("plans_name", "")),
        configuration=configuration,
        topology=_topology(content),
        spacing=_three([float(s) for s in content["spacing"]]),
        patch=_three(patch),
        transpose_forward=forward,
        transpose_backward=backward,
        normalisations=_normalisations(plans, content),
        data=_resampling(content, "data", order=3),
        probabilities=_resampling(content, "probabilities", order=1),
        reader=str(plans.get("image_reader_writer", "")),
    )
    divisor = read.topology.divisor
    if any(n % d for n, d in zip(read.patch, divisor, strict=True)):
        raise ValueError(f"patch_size {read.patch} is not a multiple of the strides' product {divisor}")
    if min(read.spacing) <= 0:
        raise ValueError(f"spacing must be positive, got {read.spacing}")
    return read


def _resolve(configurations: Mapping[str, Any], name: str, seen: tuple[str, ...] = ()) -> dict[str, Any]:
    """A configuration with what it inherits."""
    if name not in configurations:
        known = ", ".join(sorted(configurations))
        raise ModelError(f"This nnU-Net model has no configuration {name}; it has: {known}.")
    if name in seen:
        raise ValueError(f"configuration {name} inherits from itself")
    own = dict(configurations[name])
    parent = own.pop("inherits_from", None)
    return own if parent is None else {**_resolve(configurations, str(parent), (*seen, name)), **own}


def _topology(content: Mapping[str, Any]) -> Topology:
    if "architecture" not in content:
        return _old_topology(content)
    name = str(content["architecture"]["network_class_name"]).rpartition(".")[2]
    if name not in NETWORKS:
        raise _refusal("network_class_name", name)
    kwargs = content["architecture"]["arch_kwargs"]
    for key, value in kwargs.items():
        if key not in _KNOWN and value not in (None, False):
            raise _refusal(f"{key} of {name}", str(value))
    _require(kwargs, "conv_op", "Conv3d")
    _require(kwargs, "norm_op", "InstanceNorm3d")
    if kwargs.get("block") is not None:
        _require(kwargs, "block", "BasicBlockD")
    norm = kwargs.get("norm_op_kwargs") or {}
    if norm.get("track_running_stats"):
        raise _refusal("norm_op_kwargs", "track_running_stats")
    nonlin = str(kwargs.get("nonlin")).rpartition(".")[2]
    if nonlin not in ("LeakyReLU", "ReLU"):
        raise _refusal("nonlin", nonlin)
    leaky = float((kwargs.get("nonlin_kwargs") or {}).get("negative_slope", 0.01))
    n = _stages(int(kwargs["n_stages"]))
    blocks = "n_conv_per_stage" if name == "PlainConvUNet" else "n_blocks_per_stage"
    stem = kwargs.get("stem_channels")
    return Topology(
        network=name,  # type: ignore[arg-type]
        features=_each(kwargs["features_per_stage"], n),
        kernels=_triples(kwargs["kernel_sizes"], n),
        strides=_triples(kwargs["strides"], n),
        encoder=_each(kwargs[blocks], n),
        decoder=_each(kwargs["n_conv_per_stage_decoder"], n - 1),
        bias=bool(kwargs.get("conv_bias", False)),
        eps=float(norm.get("eps", 1e-5)),
        affine=bool(norm.get("affine", False)),
        slope=leaky if nonlin == "LeakyReLU" else 0.0,
        stem=None if stem is None else int(stem),
    )


def _old_topology(content: Mapping[str, Any]) -> Topology:
    """The network of plans before nnU-Net 2.3.1, which name its numbers one by one."""
    name = str(content["UNet_class_name"])
    if name not in NETWORKS:
        raise _refusal("UNet_class_name", name)
    encoder = content["n_conv_per_stage_encoder"]
    n = _stages(len(encoder))
    base, most = int(content["UNet_base_num_features"]), int(content["unet_max_num_features"])
    return Topology(
        network=name,  # type: ignore[arg-type]
        features=tuple(min(base * 2**i, most) for i in range(n)),
        kernels=_triples(content["conv_kernel_sizes"], n),
        strides=_triples(content["pool_op_kernel_sizes"], n),
        encoder=_each(encoder, n),
        decoder=_each(content["n_conv_per_stage_decoder"], n - 1),
    )


def _stages(n: int) -> int:
    if not 2 <= n <= _MOST_STAGES:
        raise ValueError(f"a network must have 2 to {_MOST_STAGES} stages, got {n}")
    return n


def _normalisations(plans: Mapping[str, Any], content: Mapping[str, Any]) -> tuple[Normalisation, ...]:
    properties = plans.get("foreground_intensity_properties_per_channel") or plans.get(
        "foreground_intensity_properties_by_modality", {}
    )
    schemes, masks = content["normalization_schemes"], content["use_mask_for_norm"]
    read = []
    for channel, (scheme, mask) in enumerate(zip(schemes, masks, strict=True)):
        if scheme not in NORMALISATIONS:
            raise _refusal(f"normalisation of channel {channel}", str(scheme))
        known = properties.get(str(channel), {})
        if scheme == "CTNormalization" and not known:
            raise ValueError(f"no intensity properties of channel {channel} for CTNormalization")
        read.append(
            Normalisation(
                scheme=str(scheme),
                inside_only=bool(mask),
                mean=float(known.get("mean", 0)),
                std=float(known.get("std", 1)),
                low=float(known.get("percentile_00_5", 0)),
                high=float(known.get("percentile_99_5", 0)),
            )
        )
    return tuple(read)


def _resampling(content: Mapping[str, Any], kind: str, *, order: int) -> Resampling:
    key = f"resampling_fn_{kind}"
    function = str(content.get(key, "resample_data_or_seg_to_shape"))
    kwargs = dict(content.get(f"{key}_kwargs") or {})
    threshold = float(kwargs.get("separate_z_anisotropy_threshold", 3.0))
    force = kwargs.get("force_separate_z", None if function.startswith("resample_torch") else False)
    if function == "no_resampling_hack":
        return Resampling(order=0, identity=True)
    if kwargs.get("is_seg"):
        raise _refusal(f"{key}_kwargs", "is_seg")
    if function == "resample_torch_fornnunet":
        for name, usual in (("mode", "linear"), ("aniso_axis_mode", "nearest-exact")):
            if kwargs.get(name, usual) != usual:
                raise _refusal(f"{key}_kwargs {name}", str(kwargs[name]))
        return Resampling(order=1, separate=force, threshold=threshold, clip=False)
    if function != "resample_data_or_seg_to_shape":
        raise _refusal(key, function)
    if int(kwargs.get("order_z", 0)) != 0:
        raise _refusal(f"{key}_kwargs order_z", str(kwargs["order_z"]))
    order = int(kwargs.get("order", order))
    if order not in SPLINES:
        raise _refusal(f"{key}_kwargs order", str(order))
    return Resampling(order=order, separate=force, threshold=threshold)


def _refusal(where: str, what: str) -> ModelError:
    return ModelError(
        f"{where}: {what} is not supported by softcord. Run this nnU-Net model with nnU-Net itself."
    )


def _require(kwargs: Mapping[str, Any], key: str, name: str) -> None:
    found = str(kwargs.get(key)).rpartition(".")[2]
    if found != name:
        raise _refusal(key, found)


def _permutation(plans: Mapping[str, Any], key: str) -> Triple:
    axes = [int(axis) for axis in plans[key]]
    if sorted(axes) != [0, 1, 2]:
        raise ValueError(f"{key} must be a permutation of 0, 1, 2, got {axes}")
    return _three(axes)


def _each(value: Any, n: int) -> tuple[int, ...]:  # noqa: ANN401  JSON: a number or a list
    values = [value] * n if isinstance(value, int) else list(value)
    if len(values) != n:
        raise ValueError(f"expected {n} numbers, got {values}")
    return tuple(int(v) for v in values)


def _triples(value: Any, n: int) -> tuple[Triple, ...]:  # noqa: ANN401  as above, of each axis
    values = [value] * n if isinstance(value, int) else list(value)
    if len(values) != n:
        raise ValueError(f"expected {n} entries, got {values}")
    return tuple(_three([v] * 3 if isinstance(v, int) else [int(x) for x in v]) for v in values)


def _three(values: Sequence[Any]) -> tuple[Any, Any, Any]:
    i, j, k = values
    return i, j, k


def _product(values: Iterable[int]) -> int:
    result = 1
    for value in values:
        result *= value
    return result
