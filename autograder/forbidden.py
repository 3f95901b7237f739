"""Names that several exercises forbid: libraries that hold the answer, and the ways to the functions written by hand.

PyTorch has many names for one operation, and an exercise that left one out would give it away.
"""

LIBRARIES = ("cv2", "kornia", "pandas", "segedu", "skimage", "sklearn", "torchmetrics", "torchvision")

CONVOLUTIONS = (
    "numpy.convolve",
    "numpy.correlate",
    "torch._convolution",
    "torch.conv1d",
    "torch.conv2d",
    "torch.conv3d",
    "torch.conv_tbc",
    "torch.conv_transpose1d",
    "torch.conv_transpose2d",
    "torch.conv_transpose3d",
    "torch.convolution",
    "torch.nn.Conv1d",
    "torch.nn.Conv2d",
    "torch.nn.Conv3d",
    "torch.nn.ConvTranspose1d",
    "torch.nn.ConvTranspose2d",
    "torch.nn.ConvTranspose3d",
    "torch.nn.Fold",
    "torch.nn.LazyConv1d",
    "torch.nn.LazyConv2d",
    "torch.nn.LazyConv3d",
    "torch.nn.LazyConvTranspose1d",
    "torch.nn.LazyConvTranspose2d",
    "torch.nn.LazyConvTranspose3d",
    "torch.nn.functional.conv1d",
    "torch.nn.functional.conv2d",
    "torch.nn.functional.conv3d",
    "torch.nn.functional.conv_tbc",
    "torch.nn.functional.conv_transpose1d",
    "torch.nn.functional.conv_transpose2d",
    "torch.nn.functional.conv_transpose3d",
    "torch.nn.functional.fold",
    "torch.nn.grad.conv1d_input",
    "torch.nn.grad.conv2d_input",
    "torch.nn.grad.conv3d_input",
    "torch.ops.aten",
)

CROSS_ENTROPY = (
    "torch.nn.CrossEntropyLoss",
    "torch.nn.NLLLoss",
    "torch.nn.NLLLoss2d",
    "torch.nn.functional.cross_entropy",
    "torch.nn.functional.nll_loss",
)
