#pragma once
#include "core/copy.h"
#include "cpu/elementwise.h"

namespace dd2424::cpu::DD2424_ISA {

// A block function that converts elements; one that moves them where the types have the same bits.
BlockFunction convert_block(DType from, DType to);

// Whether x is read across its rows while y is written along them; then copies it, by squares.
bool copy_transposed(const Copy& a, int bytes);

}  // namespace dd2424::cpu::DD2424_ISA
