#pragma once
// 3 x 3 and 5 x 5 convolutions of stride 1 with a quarter, or 36 %, of the multiplications.
#include "core/conv.h"
#include "core/types.h"

namespace dd2424::cpu::DD2424_ISA {

bool uses_winograd(const ConvSizes& sizes);         // whether it serves them, and faster than the direct kernels do
bool weight_uses_winograd(const ConvSizes& sizes);  // likewise, for the gradient by the weights

Status winograd_forward(const ConvForward<float>& a, void* workspace);
Status winograd_input(const ConvInput<float>& a, void* workspace);
Status winograd_weight(const ConvWeight<float>& a, void* workspace);
std::size_t winograd_forward_workspace(const ConvSizes& sizes);  // bytes
std::size_t winograd_input_workspace(const ConvSizes& sizes);
std::size_t winograd_weight_workspace(const ConvSizes& sizes);

}  // namespace dd2424::cpu::DD2424_ISA
