#pragma once
// Arithmetic on sizes. The standard library's min and max could leave weak symbols.
#include "core/types.h"

namespace dd2424::cpu::DD2424_ISA {
namespace {

constexpr Index ceil_div(Index a, Index b) { return (a + b - 1) / b; }
constexpr Index smaller(Index a, Index b) { return b < a ? b : a; }
constexpr Index larger(Index a, Index b) { return b < a ? a : b; }
constexpr Index aligned(Index bytes) { return ceil_div(bytes, 64) * 64; }  // to lines of a cache

}  // namespace
}  // namespace dd2424::cpu::DD2424_ISA
