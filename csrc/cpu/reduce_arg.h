#pragma once
#include "cpu/reduce.h"

namespace dd2424::cpu::DD2424_ISA {

template <class C>
struct Best {
  C value;
  Index index;  // -1 before there is one
};
template <class C>
struct Contest {
  Index (*find)(const C* x, Index n, C value);  // the first place of a term that is there
  void (*columns)(C* values, Index* indices, const C* x, Index width, Index term);
  bool (*better)(C x, C than);
};
template <class C>
const Contest<C>& contest(bool largest);

}  // namespace dd2424::cpu::DD2424_ISA
