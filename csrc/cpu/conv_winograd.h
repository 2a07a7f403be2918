#pragma once
// Convolutions of few taps, of stride 1 or 2, with 23 to 60 % of the multiplications.
#include "core/conv.h"
#include "core/types.h"

namespace dd2424::cpu::DD2424_ISA {

enum class ConvPass { forward, input, weight };
bool uses_winograd(const ConvSizes& sizes,
                   ConvPass pass);  // whether it serves them, and faster than the direct kernels

Status winograd_forward(const ConvForward<float>& a, void* workspace);
Status winograd_input(const ConvInput<float>& a, void* workspace);
Status winograd_weight(const ConvWeight<float>& a, void* workspace);
std::size_t winograd_forward_workspace(const ConvSizes& sizes);  // bytes
std::size_t winograd_input_workspace(const ConvSizes& sizes);
std::size_t winograd_weight_workspace(const ConvSizes& sizes);

}  // namespace dd2424::cpu::DD2424_ISA
